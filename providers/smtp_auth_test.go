package providers

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"hash"
	"strings"
	"testing"

	"logto-email-relay/settings"
)

// Each way to log in, with the right and a wrong password.
func TestSMTPAuthentication(t *testing.T) {
	const user, pass = "relay", "pa55-word-of-the-relay"
	encode := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	decode := func(s string) string { b, _ := base64.StdEncoding.DecodeString(s); return string(b) }
	verdict := func(ok bool) string {
		if ok {
			return "235 2.7.0 welcome"
		}
		return "535 5.7.8 no"
	}
	scram := func(h func() hash.Hash) func(string, func(string) string) string {
		return func(command string, ask func(string) string) string {
			first := decode(ask(""))
			bare, ok := strings.CutPrefix(first, "n,,")
			_, nonce, _ := strings.Cut(bare, ",r=")
			challenge := "r=" + nonce + "server,s=" + encode("salt") + ",i=4096"
			final := decode(ask(encode(challenge)))
			without, proof, _ := strings.Cut(final, ",p=")
			message := bare + "," + challenge + "," + without
			mac := func(key []byte, text string) []byte { m := hmac.New(h, key); m.Write([]byte(text)); return m.Sum(nil) }
			salted, _ := pbkdf2.Key(h, pass, []byte("salt"), 4096, h().Size())
			client := mac(salted, "Client Key")
			stored := h()
			stored.Write(client)
			signature := mac(stored.Sum(nil), message)
			for i := range signature {
				signature[i] ^= client[i]
			}
			if !ok || !strings.HasPrefix(bare, "n="+user+",") || decode(proof) != string(signature) {
				return verdict(false)
			}
			ask(encode("v=" + encode(string(mac(mac(salted, "Server Key"), message)))))
			return verdict(true)
		}
	}
	plain := func(command string, _ func(string) string) string {
		return verdict(command == "AUTH PLAIN "+encode("\x00"+user+"\x00"+pass))
	}
	login := func(command string, ask func(string) string) string {
		return verdict(command == "AUTH LOGIN" && decode(ask(encode("Username:"))) == user && decode(ask(encode("Password:"))) == pass)
	}
	cram := func(command string, ask func(string) string) string {
		m := hmac.New(md5.New, []byte(pass))
		m.Write([]byte("<1.2@fake.example>"))
		return verdict(command == "AUTH CRAM-MD5" && decode(ask(encode("<1.2@fake.example>"))) == fmt.Sprintf("%s %x", user, m.Sum(nil)))
	}
	for _, test := range []struct {
		name, offer, method, want string
		converse                  func(string, func(string) string) string
	}{
		{"best", "AUTH LOGIN PLAIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256", "", "AUTH SCRAM-SHA-256", scram(sha256.New)},
		{"SCRAM-SHA-1", "AUTH PLAIN SCRAM-SHA-1", "", "AUTH SCRAM-SHA-1", scram(sha1.New)},
		{"PLAIN", "AUTH LOGIN PLAIN CRAM-MD5 XOAUTH2", "", "AUTH PLAIN", plain},
		{"LOGIN", "AUTH NTLM LOGIN", "", "AUTH LOGIN", login},
		{"CRAM-MD5", "AUTH CRAM-MD5 GSSAPI", "", "AUTH CRAM-MD5", cram},
		{"asked for", "AUTH PLAIN LOGIN", "login", "AUTH LOGIN", login},
		{"lower case", "AUTH plain", "", "AUTH PLAIN", plain},
	} {
		t.Run(test.name, func(t *testing.T) {
			fake := (&fakeSMTP{extensions: []string{test.offer, "PIPELINING"}, converse: test.converse}).start(t)
			provider := openSMTP(t, fake.port(), withLogin, func(s *SMTPSettings) { s.Auth.Method = test.method })
			if _, err := provider.Send(shortly(t), smtpMessage()); err != nil {
				t.Error(err)
			}
			_, commands, _ := fake.seen()
			if countCommands(commands, test.want) != 1 {
				t.Errorf("%q", commands)
			}
			provider = openSMTP(t, fake.port(), withLogin, func(s *SMTPSettings) {
				s.Auth.Method, s.Auth.Pass = test.method, settings.NewSecret("wrong-secret")
			})
			_, err := provider.Send(shortly(t), smtpMessage())
			if failure := asSMTPError(t, err); failure.Kind != Configuration || !strings.Contains(failure.Hint, "auth.pass") ||
				strings.Contains(fmt.Sprintf("%+v", err), "wrong-secret") {
				t.Error(err)
			}
		})
	}
	for offer, hint := range map[string]string{
		"SIZE":             "remove auth",
		"AUTH GSSAPI NTLM": "",
	} {
		fake := (&fakeSMTP{extensions: []string{offer}}).start(t)
		_, err := openSMTP(t, fake.port(), withLogin).Send(shortly(t), smtpMessage())
		if failure := asSMTPError(t, err); failure.Kind != Configuration || !strings.Contains(failure.Hint, hint) {
			t.Error(err)
		}
	}
	fake := (&fakeSMTP{extensions: []string{"AUTH PLAIN"}}).start(t)
	_, err := openSMTP(t, fake.port(), withLogin, func(s *SMTPSettings) { s.AuthMethod = "SCRAM-SHA-256" }).Send(shortly(t), smtpMessage())
	if failure := asSMTPError(t, err); failure.Kind != Configuration || !strings.Contains(failure.Detail, "SCRAM-SHA-256") {
		t.Error(err)
	}
}
