package smtp

import (
	"context"
	"crypto/hmac"
	"crypto/md5"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	sasl "github.com/wneessen/go-mail/smtp"
)

const testUser, testPassword = "relay", "pa55-word-of-the-relay"

func encode(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

func decode(text string) string { b, _ := base64.StdEncoding.DecodeString(text); return string(b) }

func verdict(ok bool) string {
	if ok {
		return "235 2.7.0 welcome"
	}
	return "535 5.7.8 no"
}

// conversation is the server's side of a login.
type conversation = func(command string, ask func(challenge string) string) string

// scramServer knows the password, and signs at its end as sign says.
func scramServer(h func() hash.Hash, sign func(signature string) string) conversation {
	return func(_ string, ask func(string) string) string {
		bare, ok := strings.CutPrefix(decode(ask("")), "n,,")
		_, nonce, _ := strings.Cut(bare, ",r=")
		challenge := "r=" + nonce + "server,s=" + encode("salt") + ",i=4096"
		without, proof, _ := strings.Cut(decode(ask(encode(challenge))), ",p=")
		message := bare + "," + challenge + "," + without
		mac := func(key []byte, text string) []byte { m := hmac.New(h, key); m.Write([]byte(text)); return m.Sum(nil) }
		salted, _ := pbkdf2.Key(h, testPassword, []byte("salt"), 4096, h().Size())
		client := mac(salted, "Client Key")
		stored := h()
		stored.Write(client)
		signature := mac(stored.Sum(nil), message)
		for i := range signature {
			signature[i] ^= client[i]
		}
		if !ok || !strings.HasPrefix(bare, "n="+testUser+",") || decode(proof) != string(signature) {
			ask(encode("e=invalid-proof"))
			return verdict(false)
		}
		if last := sign("v=" + encode(string(mac(mac(salted, "Server Key"), message)))); last != "" {
			ask(encode(last))
		}
		return verdict(true)
	}
}

func signs(signature string) string { return signature }

func plainServer(command string, _ func(string) string) string {
	return verdict(command == "AUTH PLAIN "+encode("\x00"+testUser+"\x00"+testPassword))
}

func loginServer(command string, ask func(string) string) string {
	return verdict(command == "AUTH LOGIN" && decode(ask(encode("Username:"))) == testUser && decode(ask(encode("Password:"))) == testPassword)
}

// Each way to log in, with the right and a wrong password.
func TestAuthentication(t *testing.T) {
	cram := func(command string, ask func(string) string) string {
		m := hmac.New(md5.New, []byte(testPassword))
		m.Write([]byte("<1.2@fake.example>"))
		return verdict(command == "AUTH CRAM-MD5" && decode(ask(encode("<1.2@fake.example>"))) == fmt.Sprintf("%s %x", testUser, m.Sum(nil)))
	}
	for _, test := range []struct {
		name, offer, mechanism, want string
		converse                     conversation
	}{
		{"what every server can do", "AUTH LOGIN PLAIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256", "", "AUTH PLAIN", plainServer},
		{"SCRAM-SHA-256", "AUTH CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256", "", "AUTH SCRAM-SHA-256", scramServer(sha256.New, signs)},
		{"SCRAM-SHA-1", "AUTH SCRAM-SHA-1", "", "AUTH SCRAM-SHA-1", scramServer(sha1.New, signs)},
		{"PLAIN", "AUTH LOGIN PLAIN CRAM-MD5 XOAUTH2", "", "AUTH PLAIN", plainServer},
		{"LOGIN", "AUTH NTLM LOGIN", "", "AUTH LOGIN", loginServer},
		{"CRAM-MD5", "AUTH CRAM-MD5 GSSAPI", "", "AUTH CRAM-MD5", cram},
		{"asked for", "AUTH PLAIN LOGIN", "LOGIN", "AUTH LOGIN", loginServer},
		{"lower case", "auth plain", "", "AUTH PLAIN", plainServer},
		{"old form", "AUTH=LOGIN PLAIN", "", "AUTH PLAIN", plainServer},
		{"old form in lower case", "auth=login", "", "AUTH LOGIN", loginServer},
	} {
		t.Run(test.name, func(t *testing.T) {
			fake := (&fakeServer{extensions: []string{test.offer, "PIPELINING"}, converse: test.converse}).start(t)
			pool := testPool(t, fake, withLogin, func(c *Config) { c.Login.Mechanism = test.mechanism })
			if _, err := send(t, pool, testMessage()); err != nil {
				t.Error(err)
			}
			_, commands, _ := fake.Seen()
			if countCommands(commands, test.want) != 1 || countCommands(commands, "AUTH") != 1 {
				t.Errorf("%q", commands)
			}
			pool = testPool(t, fake, withLogin, func(c *Config) { c.Login.Mechanism, c.Login.Password = test.mechanism, "wrong-secret" })
			_, err := send(t, pool, testMessage())
			if e := failed(t, err); e.Stage != AtAUTH || e.Reply.Code != 535 || strings.Contains(fmt.Sprintf("%+v", err), "wrong-secret") {
				t.Error(err)
			}
			// One refusal of the credentials is enough, and nothing follows it.
			eventually(t, "the connection is closed", func() bool { return fake.OpenConnections() <= 1 })
			_, commands, _ = fake.Seen()
			if countCommands(commands, "AUTH") != 2 || countCommands(commands, "*") != 0 {
				t.Errorf("%q", commands)
			}
		})
	}
}

// A login that the server's offer does not allow is not begun.
func TestAuthenticationNotOffered(t *testing.T) {
	for _, test := range []struct{ offer, mechanism, words string }{
		{"SIZE", "", "does not offer AUTH"},
		{"AUTH GSSAPI NTLM", "", "known here: GSSAPI NTLM"},
		{"AUTH PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-256, only PLAIN"},
	} {
		fake := (&fakeServer{extensions: []string{test.offer}}).start(t)
		_, err := send(t, testPool(t, fake, withLogin, func(c *Config) { c.Login.Mechanism = test.mechanism }), testMessage())
		if wanted := new(MechanismError); !errors.As(err, &wanted) || failed(t, err).Stage != AtAUTH || !strings.Contains(err.Error(), test.words) {
			t.Errorf("%s: %v", test.offer, err)
		}
		if _, commands, _ := fake.Seen(); countCommands(commands, "AUTH") != 0 {
			t.Errorf("%q", commands)
		}
	}
	fake := (&fakeServer{extensions: []string{"AUTH PLAIN"}}).start(t)
	_, err := send(t, testPool(t, fake, withLogin, func(c *Config) { c.ClearTextLogin = false }), testMessage())
	if !errors.Is(err, ErrClearText) || failed(t, err).Stage != AtAUTH {
		t.Error(err)
	}
	if _, commands, _ := fake.Seen(); countCommands(commands, "AUTH") != 0 {
		t.Errorf("%q", commands)
	}
}

// A server that refuses a mechanism that it offers gets the next one; one that
// refuses the credentials does not.
func TestAuthenticationNextMechanism(t *testing.T) {
	for _, test := range []struct {
		reply string
		next  bool
	}{
		{"504 5.5.4 Unrecognized authentication type", true},
		{"504 no", true},
		{"502 5.5.1 not implemented", true},
		{"501 5.5.2 cannot decode", true},
		{"500 5.5.6 line too long", true},
		{"432 4.7.12 a password transition is needed", true},
		{"535 5.7.4 security features not supported", true},
		{"535 5.7.8 Error: authentication failed: no mechanism available", true},
		{"535 Mechanism not supported", true},
		{"534 5.7.9 Authentication mechanism is too weak", true},
		{"535 Unsupported authentication method", true},
		{"554 5.5.0 line too long", true},
		{"535 5.7.8 authentication failed for mechanism PLAIN", false},
		{"535 5.7.8 Username and Password not accepted", false},
		{"535 authentication failed", false},
		{"535 5.7.139 Authentication unsuccessful, basic authentication is disabled", false},
		{"534 5.7.9 Application-specific password required", false},
		{"538 5.7.11 encryption required for requested authentication mechanism", false},
		{"454 4.7.0 temporary authentication failure", false},
		{"421 4.7.0 too many errors", false},
		{"550 5.7.1 access denied", false},
	} {
		for _, explicit := range []bool{false, true} {
			t.Run(fmt.Sprint(test.reply, " ", explicit), func(t *testing.T) {
				fake := (&fakeServer{extensions: []string{"AUTH LOGIN PLAIN CRAM-MD5"}, converse: func(command string, ask func(string) string) string {
					if strings.HasPrefix(command, "AUTH PLAIN") {
						return test.reply
					}
					return loginServer(command, ask)
				}}).start(t)
				_, err := send(t, testPool(t, fake, withLogin, func(c *Config) {
					if explicit {
						c.Login.Mechanism = "PLAIN"
					}
				}), testMessage())
				wantErr, wantTries := !test.next || explicit, 1
				if !wantErr {
					wantTries = 2
				}
				if (err != nil) != wantErr || err != nil && failed(t, err).Reply.String() != test.reply {
					t.Error(err)
				}
				connections, commands, _ := fake.Seen()
				if connections != 1 || countCommands(commands, "AUTH") != wantTries || countCommands(commands, "*")+countCommands(commands, "RSET") != 0 {
					t.Errorf("%d connections, %q", connections, commands)
				}
			})
		}
	}
}

// An initial response goes into the AUTH line where that has at most 512 bytes,
// its end included, and waits for the server's challenge elsewhere.
func TestAuthenticationLineLength(t *testing.T) {
	response := []byte(strings.Repeat("x", 375)) // 500 characters
	for name, whole := range map[string]bool{"FOUR": true, "FIVE5": false, "EIGHT678": false} {
		line, rest := authLine(name, response)
		if length := len("AUTH  \r\n") + len(name) + 500; whole && length != 512 || (rest == nil) != whole || (len(line)+2 == length) != whole {
			t.Errorf("%d bytes: %d left, %q", length, len(rest), line)
		}
	}
	for _, password := range []string{strings.Repeat("x", 365), strings.Repeat("x", 366), strings.Repeat("x", 369), strings.Repeat("x", 2000)} {
		response := encode("\x00" + testUser + "\x00" + password)
		want := "AUTH PLAIN " + response
		if len(want)+2 > 512 {
			want = "AUTH PLAIN"
		}
		fake := (&fakeServer{extensions: []string{"AUTH PLAIN"}, converse: func(command string, ask func(string) string) string {
			if command == "AUTH PLAIN" {
				return verdict(ask("") == response)
			}
			return verdict(command == "AUTH PLAIN "+response)
		}}).start(t)
		if _, err := send(t, testPool(t, fake, withLogin, func(c *Config) { c.Login.Password = password }), testMessage()); err != nil {
			t.Error(err)
		}
		if _, commands, _ := fake.Seen(); commands[1] != want {
			t.Errorf("%d characters: %q", len(response), commands[1])
		}
	}
}

// testTokens hands out its tokens one after the other.
type testTokens struct {
	tokens []string
	isNew  bool
	drops  []string
}

func (s *testTokens) Token(context.Context) (string, bool, error) {
	if len(s.tokens) == 0 {
		return "", false, errors.New("no more")
	}
	return s.tokens[0], s.isNew, nil
}

func (s *testTokens) Drop(token string) {
	s.drops = append(s.drops, token)
	s.tokens, s.isNew = s.tokens[1:], true
}

// A refused token is dropped, and one that was not new is replaced, once.
func TestTokens(t *testing.T) {
	for _, test := range []struct {
		name        string
		tokens      testTokens
		reply       string
		connections int
		drops       int
		works       bool
	}{
		{"good", testTokens{tokens: []string{"good"}}, "535 5.7.8 no", 1, 0, true},
		{"stale", testTokens{tokens: []string{"stale", "good"}}, "535 5.7.8 no", 2, 1, true},
		{"new and bad", testTokens{tokens: []string{"bad", "good"}, isNew: true}, "535 5.7.8 no", 1, 1, false},
		{"all bad", testTokens{tokens: []string{"bad", "worse", "good"}}, "535 5.7.8 no", 2, 2, false},
		{"not about the token", testTokens{tokens: []string{"stale", "good"}}, "500 5.5.6 line too long", 1, 0, false},
		{"for now", testTokens{tokens: []string{"stale", "good"}}, "454 4.7.0 later", 1, 0, false},
		{"none", testTokens{}, "", 1, 0, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			fake := (&fakeServer{extensions: []string{"AUTH PLAIN XOAUTH2"}, converse: func(command string, ask func(string) string) string {
				if command == "AUTH XOAUTH2 "+encode("user=relay\x01auth=Bearer good\x01\x01") {
					return verdict(true)
				}
				if answer := ask(encode(`{"status":"401"}`)); answer != "" {
					return "501 5.5.2 the challenge wants an empty answer"
				}
				return test.reply
			}}).start(t)
			tokens := test.tokens
			_, err := send(t, testPool(t, fake, func(c *Config) { c.Login = &Login{User: testUser, Tokens: &tokens} }), testMessage())
			if (err == nil) != test.works || err != nil && (failed(t, err).Stage != AtAUTH || strings.Contains(err.Error(), "bad")) {
				t.Error(err)
			}
			connections, commands, _ := fake.Seen()
			if connections != test.connections || len(tokens.drops) != test.drops || countCommands(commands, "*") != 0 {
				t.Errorf("%d connections, dropped %q: %q", connections, tokens.drops, commands)
			}
		})
	}
}

// A server that does not prove that it knows the password is no server of ours, and
// the password is not given to it by another mechanism.
func TestSCRAMServerProvesItself(t *testing.T) {
	nonce := func(first string) string { _, nonce, _ := strings.Cut(decode(first), ",r="); return nonce }
	empty := func(key []byte, text string) []byte {
		m := hmac.New(sha256.New, key)
		m.Write([]byte(text))
		return m.Sum(nil)
	}
	for name, converse := range map[string]conversation{
		"no signature":    scramServer(sha256.New, func(string) string { return "" }),
		"wrong signature": scramServer(sha256.New, func(string) string { return "v=" + encode("made up") }),
		"at once":         func(string, func(string) string) string { return verdict(true) },
		"after the first": func(_ string, ask func(string) string) string { ask(""); return verdict(true) },
		"after its error": scramServer(sha256.New, func(string) string { return "e=other-error" }),
		"another challenge": func(_ string, ask func(string) string) string {
			ask("")
			ask(encode("x=1"))
			return verdict(true)
		},
		"signature of an empty key": func(_ string, ask func(string) string) string {
			ask("")
			ask("")
			ask(encode("v=" + encode(string(empty(empty(nil, "Server Key"), "")))))
			return verdict(true)
		},
		"signature of an empty key after its error": func(_ string, ask func(string) string) string {
			ask("")
			ask(encode("e=other-error"))
			ask(encode("v=" + encode(string(empty(empty(nil, "Server Key"), "")))))
			return verdict(true)
		},
		"more after its signature": func(command string, ask func(string) string) string {
			end := scramServer(sha256.New, signs)(command, ask)
			ask(encode("v=more"))
			return end
		},
		"no word of iterations": func(_ string, ask func(string) string) string {
			ask(encode("r=" + nonce(ask("")) + "server,s=" + encode("salt")))
			return verdict(true)
		},
		"not base64": func(_ string, ask func(string) string) string { ask("?"); return verdict(true) },
		"without end": func(_ string, ask func(string) string) string {
			for range 20 {
				ask(encode("e=more"))
			}
			return verdict(true)
		},
		"two billion iterations": func(_ string, ask func(string) string) string {
			ask(encode("r=" + nonce(ask("")) + "server,s=" + encode("salt") + ",i=2000000000"))
			return verdict(true)
		},
		"one more than is done": func(_ string, ask func(string) string) string {
			ask(encode("r=" + nonce(ask("")) + "server,s=" + encode("salt") + ",i=" + strconv.Itoa(maxIterations+1)))
			return verdict(true)
		},
		"no iteration": func(_ string, ask func(string) string) string {
			ask(encode("r=" + nonce(ask("")) + "server,s=" + encode("salt") + ",i=0"))
			return verdict(true)
		},
		"more than a number holds": func(_ string, ask func(string) string) string {
			ask(encode("r=" + nonce(ask("")) + "server,s=" + encode("salt") + ",i=99999999999999999999"))
			return verdict(true)
		},
	} {
		t.Run(name, func(t *testing.T) {
			fake := (&fakeServer{extensions: []string{"AUTH PLAIN SCRAM-SHA-256"}, converse: converse}).start(t)
			started := time.Now()
			wanted := func(c *Config) { c.Login.Mechanism = "SCRAM-SHA-256" }
			_, err := send(t, testPool(t, fake, withLogin, wanted), testMessage())
			if wrong := new(AuthError); !errors.As(err, &wrong) || failed(t, err).Stage != AtAUTH || wrong.Mechanism != "SCRAM-SHA-256" {
				t.Error(err)
			}
			if took := time.Since(started); took > 5*time.Second {
				t.Errorf("took %v", took)
			}
			connections, commands, mails := fake.Seen()
			if connections != 1 || countCommands(commands, "AUTH") != 1 || countCommands(commands, "*") != 0 || len(mails) != 0 {
				t.Errorf("%d connections, %d mails, %q", connections, len(mails), commands)
			}
		})
	}
}

// A server may ask for as many iterations as anybody recommends, and for no more.
func TestSCRAMIterations(t *testing.T) {
	for count, want := range map[int]bool{0: false, 1: true, 4096: true, maxIterations: true, maxIterations + 1: false} {
		mechanism := scram{Auth: quickMechanism{}, step: 1}
		if _, err := mechanism.Next([]byte("r=nonce,s=salt,i="+strconv.Itoa(count)), true); (err == nil) != want {
			t.Errorf("%d iterations: %v", count, err)
		}
	}
}

// quickMechanism computes nothing.
type quickMechanism struct{ sasl.Auth }

func (quickMechanism) Next([]byte, bool) ([]byte, error) { return nil, nil }

// The context ends the wait for a computation too.
func TestSCRAMUnderContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	begun := make(chan struct{})
	slow := slowMechanism{begun: begun, end: make(chan struct{})}
	defer close(slow.end)
	go func() { <-begun; cancel() }()
	if _, err := respond(ctx, slow, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// slowMechanism computes until the test is over.
type slowMechanism struct {
	sasl.Auth
	begun, end chan struct{}
}

func (m slowMechanism) Next([]byte, bool) ([]byte, error) {
	close(m.begun)
	<-m.end
	return nil, nil
}

// FuzzLogin lets a server say anything to a login. One without the password never
// passes for the right one where the mechanism can tell, and none gets to see the
// password where it is not to be sent.
func FuzzLogin(f *testing.F) {
	mechanisms := Mechanisms()
	for i := range mechanisms {
		f.Add(uint8(i), "\nr=x,s=c2FsdA==,i=4096\nv=AAAA", "235 2.7.0 welcome")
		f.Add(uint8(i), "Username:\nPassword:", "535-5.7.8 no\r\n535 5.7.8 at all")
		f.Add(uint8(i), "<1.2@fake.example>", "334 \r\n334 \r\n334 \r\n334 \r\n334 \r\n334 ")
		f.Add(uint8(i), "\nr=%s,s=,i=1\ne=other-error", "421 bye")
	}
	slow, whole := regexp.MustCompile(`i=\d{5}`), regexp.MustCompile(`(^|\n)\d{3}( [^\n]*)?$`)
	f.Fuzz(func(t *testing.T, mechanism uint8, challenges, last string) {
		name := mechanisms[int(mechanism)%len(mechanisms)]
		if slow.MatchString(challenges) { // to compute it may take half a second
			t.Skip()
		}
		if !whole.MatchString(last) { // a reply without end is waited for
			last += "\r\n421 bye"
		}
		nonce := ""
		fake := (&fakeServer{extensions: []string{"AUTH " + name}, converse: func(_ string, ask func(string) string) string {
			for challenge := range strings.SplitSeq(challenges, "\n") {
				answer := decode(ask(encode(strings.ReplaceAll(challenge, "%s", nonce))))
				if _, after, found := strings.Cut(answer, ",r="); found {
					nonce = after
				}
			}
			return last
		}}).prepare(t)
		pool := testPool(t, fake, withLogin, func(c *Config) { c.Login.Mechanism, c.ReplyTimeout = name, 20*time.Millisecond }) // some replies have no end
		_, err := send(t, pool, testMessage())
		var failure *Error
		if err != nil && (!errors.As(err, &failure) || strings.Contains(fmt.Sprintf("%+v", err), testPassword)) {
			t.Errorf("%v", err)
		}
		if !strings.HasPrefix(name, "SCRAM") && name != "CRAM-MD5" {
			return
		}
		_, commands, mails := fake.Seen()
		if strings.HasPrefix(name, "SCRAM") && (err == nil || len(mails) > 0) {
			t.Errorf("%s believes a server without the password", name)
		}
		for _, command := range commands {
			if text := command + decode(command); strings.Contains(text, testPassword) {
				t.Errorf("%s sends the password", name)
			}
		}
	})
}
