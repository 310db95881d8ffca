package bounces

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// scripted is an IMAP server that answers as a test wants: with what answer returns for a
// command, "\x00" in it standing for the tag, and as usual if that is empty. It says no
// more at all after silence.
type scripted struct {
	answer func(command string) string
	mails  map[int]string // by UID
	// greeting replaces the usual one.
	greeting string
	read     atomic.Int64 // from the last connection, in bytes
}

const silence = "silence"

func (s *scripted) dial(context.Context) (net.Conn, error) {
	ours, theirs := net.Pipe()
	s.read.Store(0)
	go s.serve(theirs)
	return &counted{ours, &s.read}, nil
}

// counted is a connection that counts what is read.
type counted struct {
	net.Conn
	read *atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.read.Add(int64(n))
	return n, err
}

func (s *scripted) serve(conn net.Conn) {
	defer conn.Close()
	say := func(format string, values ...any) { _, _ = fmt.Fprintf(conn, format+"\r\n", values...) }
	switch s.greeting {
	case "":
		say("* OK [CAPABILITY IMAP4rev1 IDLE UIDPLUS] here")
	case silence:
	default:
		say("%s", s.greeting)
	}
	lines := bufio.NewScanner(conn)
	idle := ""
	for lines.Scan() {
		tag, command, _ := strings.Cut(lines.Text(), " ")
		if tag == "DONE" {
			tag, command = idle, "DONE"
		}
		said := s.answer(command)
		switch {
		case said == silence:
			for lines.Scan() {
			}
			return
		case said != "":
			say("%s", strings.ReplaceAll(said, "\x00", tag))
			continue
		}
		switch name := strings.ToUpper(strings.TrimPrefix(command, "UID ")); {
		case strings.HasPrefix(name, "SELECT"):
			say("* 1 EXISTS\r\n* OK [UIDVALIDITY 1] valid\r\n%s OK [READ-WRITE] done", tag)
		case strings.HasPrefix(name, "SEARCH"):
			var found []string
			for uid := range s.mails {
				found = append(found, fmt.Sprint(uid))
			}
			say("* SEARCH %s\r\n%s OK done", strings.Join(found, " "), tag)
		case strings.HasPrefix(name, "FETCH"):
			uid := 0
			_, _ = fmt.Sscan(strings.Fields(name)[1], &uid)
			mail := s.mails[uid]
			say(`* %d FETCH (UID %d INTERNALDATE "01-Jan-2000 00:00:00 +0000" BODY[]<0> {%d}`+"\r\n%s)\r\n%s OK done", uid, uid, len(mail), mail, tag)
		case name == "CAPABILITY":
			say("* CAPABILITY IMAP4rev1 IDLE UIDPLUS\r\n%s OK done", tag)
		case name == "IDLE":
			idle = tag
			say("+ idling")
		default:
			say("%s OK done", tag)
		}
	}
}

func (s *scripted) mailbox() *Mailbox {
	return &Mailbox{Dial: s.dial, Name: "INBOX", User: "bounces", Password: "never-print-this", Poll: time.Minute}
}

// A server that does not do what it should neither keeps the watch from going on nor
// makes it need much memory.
func TestMailboxOfAHostileServer(t *testing.T) {
	at := func(prefix, answer string) func(string) string {
		return func(command string) string {
			if strings.HasPrefix(strings.TrimPrefix(command, "UID "), prefix) {
				return answer
			}
			return ""
		}
	}
	much := strings.Repeat("a", 16<<20)
	for name, c := range map[string]struct {
		greeting string
		answer   func(string) string
		stage    string
	}{
		"no greeting":           {silence, at("-", ""), "connect"},
		"sends away":            {"* BYE too many", at("-", ""), "connect"},
		"nonsense":              {"220 smtp.example.org ESMTP", at("-", ""), "connect"},
		"endless greeting":      {"* OK " + much, at("-", ""), "connect"},
		"silent at the login":   {"", at("LOGIN", silence), "login"},
		"refuses the login":     {"", at("LOGIN", "\x00 NO [AUTHENTICATIONFAILED] no"), "login"},
		"busy at the login":     {"", at("LOGIN", "\x00 NO [UNAVAILABLE] later"), "login"},
		"no such mailbox":       {"", at("SELECT", "\x00 NO there is none"), "mailbox"},
		"silent at the mailbox": {"", at("SELECT", silence), "mailbox"},
		"silent at NOOP":        {"", at("NOOP", silence), "read"},
		"silent at the search":  {"", at("SEARCH", silence), "read"},
		"endless search":        {"", at("SEARCH", "* SEARCH"+strings.Repeat(" 4000000000", 1<<20)+"\r\n\x00 OK done"), "read"},
		"four thousand million": {"", at("SEARCH", "* ESEARCH (TAG \"\x00\") UID ALL 1:4294967295\r\n\x00 OK done"), "read"},
		"any number of mails":   {"", at("SEARCH", "* ESEARCH (TAG \"\x00\") UID ALL 1:*\r\n\x00 OK done"), "read"},
		"endless mail":          {"", at("FETCH", "* 1 FETCH (UID 1 BODY[]<0> {16777216}\r\n"+much+")\r\n\x00 OK done"), "read"},
		"a mail that never was": {"", at("FETCH", "* 1 FETCH (UID 1 BODY[]<0> {9223372036854775807}\r\n"+much), "read"},
		"endless line":          {"", at("FETCH", "* 1 FETCH (UID 1 BODY[]<0> \""+much), "read"},
		"silent at IDLE":        {"", at("IDLE", silence), "read"},
		"IDLE dies":             {"", at("DONE", silence), "read"},
		"endless IDLE":          {"", at("IDLE", "+ idling\r\n"+strings.Repeat("* OK still here\r\n", 1<<20)), "read"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &scripted{greeting: c.greeting, answer: c.answer, mails: map[int]string{1: "Subject: hello\r\n\r\nhello\r\n"}}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				begin := time.Now()
				ended := make(chan struct{})
				failed := make(chan error, 100)
				go func() {
					defer close(ended)
					s.mailbox().Watch(ctx, func(context.Context, []byte) (Verdict, error) { return Ignored, nil }, func(err error) {
						if err != nil {
							failed <- err
						}
					})
				}()
				err := <-failed
				var e *Error
				if !errors.As(err, &e) || e.Stage != c.stage || strings.Contains(err.Error(), "never-print") {
					t.Errorf("%v after %v", err, time.Since(begin))
				}
				if took := time.Since(begin); took > idleTime+stepTime {
					t.Errorf("it took %v", took)
				}
				if read := s.read.Load(); read > 2*stepSize {
					t.Errorf("%d bytes were read", read)
				}
				<-failed // the next try fails as well, and nothing is left of the first
				if name == "refuses the login" && time.Since(begin) < longest {
					t.Error("the login is tried again at once")
				}
				if name != "refuses the login" && e.Stage != "read" && time.Since(begin) > longest/2 {
					t.Errorf("the next try is after %v", time.Since(begin))
				}
				cancel()
				<-ended
			})
		})
	}
}

// What was taken is marked, and nothing that somebody else has marked is deleted.
func TestMailboxDeletesItsOwnAlone(t *testing.T) {
	const plain, able = "IMAP4rev1 IDLE", "IMAP4rev1 IDLE UIDPLUS"
	const marked, copied = `UID STORE 1 +FLAGS.SILENT (\Deleted)`, `UID COPY 1 "Done"`
	deletes, moves := func(m *Mailbox) { m.Delete = true }, func(m *Mailbox) { m.MoveTo = "Done" }
	for name, c := range map[string]struct {
		capabilities, refuses string
		set                   func(*Mailbox)
		commands              []string
	}{
		"seen":                         {able, "", func(*Mailbox) {}, []string{`UID STORE 1 +FLAGS.SILENT (\Seen)`}},
		"deleted":                      {able, "", deletes, []string{marked, "UID EXPUNGE 1"}},
		"without UIDPLUS":              {plain, "", deletes, []string{marked}},
		"not marked":                   {able, "STORE", deletes, []string{marked}},
		"moved":                        {able + " MOVE", "", moves, []string{`UID MOVE 1 "Done"`}},
		"moved without MOVE":           {able, "", moves, []string{copied, marked, "UID EXPUNGE 1"}},
		"moved without both":           {plain, "", moves, []string{copied, marked}}, // as hMailServer
		"not moved":                    {able + " MOVE", "MOVE", moves, []string{`UID MOVE 1 "Done"`}},
		"not copied, so not deleted":   {able, "COPY", moves, []string{copied}},
		"not copied, and without both": {plain, "COPY", moves, []string{copied}},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &scripted{greeting: "* OK [CAPABILITY " + c.capabilities + "] here", mails: map[int]string{1: "Subject: hello\r\n\r\nhello\r\n"}}
			var commands []string
			s.answer = func(command string) string {
				switch {
				case command == "CAPABILITY":
					return "* CAPABILITY " + c.capabilities + "\r\n\x00 OK done"
				case c.refuses != "" && strings.Contains(command, c.refuses):
					commands = append(commands, command)
					return "\x00 NO [OVERQUOTA] done"
				case strings.Contains(command, " STORE "), strings.Contains(command, " COPY "), strings.Contains(command, " MOVE "), strings.Contains(command, "EXPUNGE"):
					commands = append(commands, command)
				}
				return ""
			}
			m := s.mailbox()
			c.set(m)
			ctx, cancel := context.WithCancel(t.Context())
			m.Watch(ctx, func(context.Context, []byte) (Verdict, error) { return Taken, nil }, func(err error) {
				if (err == nil) != (c.refuses == "") {
					t.Errorf("%s: %v", name, err)
				}
				cancel()
			})
			if !slices.Equal(commands, c.commands) {
				t.Errorf("%s: %q", name, commands)
			}
		})
	}
}

// A server may leave out that the numbers of mails are valid, and tell of mails that
// nobody has asked for.
func TestMailboxOfATalkativeServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{mails: map[int]string{1: "Subject: hello\r\n\r\nhello\r\n"}}
		s.answer = func(command string) string {
			switch {
			case strings.HasPrefix(command, "LOGIN"):
				return "* 7 EXISTS\r\n\x00 OK done"
			case strings.HasPrefix(command, "SELECT"):
				return "* 1 EXISTS\r\n\x00 OK [READ-WRITE] done"
			}
			return ""
		}
		if err := s.mailbox().Check(t.Context()); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		s.mailbox().Watch(ctx, func(context.Context, []byte) (Verdict, error) { return Ignored, nil }, func(err error) {
			if err != nil {
				t.Error(err)
			}
			cancel()
		})
	})
}

// A server that cuts connections again and again keeps no mail from being looked at, and
// none is looked at twice.
func TestMailboxGoesOnWhereItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{mails: make(map[int]string)}
		for uid := range 10 {
			s.mails[uid+1] = fmt.Sprintf("Subject: %d\r\n\r\nhello\r\n", uid)
		}
		var fetches atomic.Int64
		s.answer = func(command string) string {
			if strings.HasPrefix(command, "UID FETCH") {
				if fetches.Add(1)%4 == 0 {
					return silence
				}
			}
			return ""
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		seen := make(map[string]int)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			s.mailbox().Watch(ctx, func(_ context.Context, mail []byte) (Verdict, error) {
				if seen[string(mail)]++; len(seen) == len(s.mails) {
					cancel()
				}
				return Ignored, nil
			}, func(error) {})
		}()
		<-ended
		for mail, n := range seen {
			if n != 1 {
				t.Errorf("%q was handed over %d times", mail, n)
			}
		}
		if len(seen) != 10 {
			t.Errorf("%d mails", len(seen))
		}
	})
}

// A mail that the server cannot hand out keeps no other from being read, and is asked for again later:
// Dovecot hangs up over one whose file has another size than its name says.
func TestMailboxWithADamagedMail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const damaged = 30
		s := &scripted{mails: make(map[int]string)}
		for uid := 1; uid <= damaged+2; uid++ {
			s.mails[uid] = fmt.Sprintf("Subject: %d\r\n\r\nhello\r\n", uid)
		}
		const mended = 2 * time.Hour
		start := time.Now()
		s.answer = func(command string) string {
			uid := 0
			if _, err := fmt.Sscanf(command, "UID FETCH %d ", &uid); err == nil && uid <= damaged && time.Since(start) < mended {
				return "\x00 NO [SERVERBUG] no"
			}
			return ""
		}
		seen, told := make(map[string]time.Duration), ""
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			s.mailbox().Watch(ctx, func(_ context.Context, mail []byte) (Verdict, error) {
				seen[string(mail)] = time.Since(start)
				if len(seen) == len(s.mails) {
					cancel()
				}
				return Ignored, nil
			}, func(err error) {
				if err != nil {
					told += err.Error()
				}
			})
		}()
		<-ended
		for uid, mail := range s.mails {
			if at := seen[mail]; (at >= mended) != (uid <= damaged) || at > mended+longestPostponement+time.Minute {
				t.Errorf("%d was read after %v", uid, at)
			}
		}
		if !strings.Contains(told, "UID 1:") || !strings.Contains(told, "UID 2:") {
			t.Error(told)
		}
	})
}

// A list of capabilities with a parenthesis ends the connection. The library would look at it for ever.
func TestMailboxWithMalformedCapabilities(t *testing.T) {
	for _, row := range []struct{ greeting, command, answer string }{
		{"* OK [CAPABILITY IMAP4rev1 (x) STARTTLS] hi", "", ""},
		{"* ok [capability(x)] hi", "", ""},
		{"* PREAUTH [CAPABILITY IMAP4rev1  (x] hi", "", ""},
		{"* OK hi", "CAPABILITY", "* CAPABILITY IMAP4rev1 (x)\r\n\x00 OK done"},
		{"* OK hi", "CAPABILITY", "* CAPABILITY(\r\n\x00 OK done"},
		{"* OK hi", "LOGIN", "\x00 OK [CAPABILITY IMAP4rev1 " + strings.Repeat("X", 2*maxLine) + " (x)] done"},
		{"* OK hi", "LOGIN", "* ENABLED (x)\r\n\x00 OK done"},
		{"* OK hi", "SELECT", "* NO [CAPABILITY (x)] done"},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &scripted{greeting: row.greeting, answer: func(command string) string {
				if row.command != "" && strings.HasPrefix(command, row.command) {
					return row.answer
				}
				return ""
			}}
			if err := s.mailbox().Check(t.Context()); err == nil {
				t.Errorf("%s %s", row.greeting, row.answer)
			}
		})
	}
	s := &scripted{greeting: "* OK [CAPABILITY IMAP4rev1] (hello)", answer: func(string) string { return "" }}
	if err := s.mailbox().Check(t.Context()); err != nil {
		t.Error(err)
	}
}

// It is looked for once in a line, whoever wrote it: a mail may have nothing but parentheses.
func TestParenthesesAreRead(t *testing.T) {
	ours, theirs := net.Pipe()
	go func() {
		defer theirs.Close()
		const mail = "\r\n* CAPABILITY (x)\r\nS OK [CAPABILITY (x)] {9}\r\n* ENABLED (x)\r\n"
		for _, text := range []string{
			strings.Repeat("(", 4*MaxSize), "\r\n* OK ([CAPABILITY (x)]\r\n",
			fmt.Sprintf("* 1 FETCH (UID 1 BODY[] {%d}\r\n%s) {%d", len(mail), mail, len(mail)), fmt.Sprintf("}\r\n%s", mail), ")\r\n",
			"* CAPABI", "LITY IMAP4rev1 (x)\r\n",
		} {
			_, _ = io.WriteString(theirs, text)
		}
	}()
	text, err := io.ReadAll(&guarded{Conn: ours})
	if !errors.Is(err, errCapabilities) || !strings.HasSuffix(string(text), "* CAPABI") {
		t.Errorf("%d bytes, %v", len(text), err)
	}
}

// Before TLS nothing of what a server says is taken but its consent to it.
func TestStartTLS(t *testing.T) {
	for _, row := range []struct{ greeting, answer, want string }{
		{"* OK [CAPABILITY IMAP4rev1 (x)] hi", "* BYE (x)\r\nS OK begin", ""},
		{"* ok", "S ok", ""},
		{"* PREAUTH hi", "S OK begin", "PREAUTH hi"},
		{"* BYE too many", "", "BYE too many"},
		{"* OK hi", "S NO not here", "NO not here"},
		{"* OK hi", "S BAD what", "BAD what"},
		{"* OK hi", "S OK begin\r\n* BYE", "speaks on"},
		{"* OK hi", "T OK begin", "EOF"},
	} {
		ours, theirs := net.Pipe()
		go func() {
			defer theirs.Close()
			_, _ = io.WriteString(theirs, row.greeting+"\r\n")
			if line, _ := bufio.NewReader(theirs).ReadString('\n'); line == "S STARTTLS\r\n" {
				_, _ = io.WriteString(theirs, row.answer+"\r\n")
			}
		}()
		if err := startTLS(ours); (err == nil) != (row.want == "") || err != nil && !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s, %s: %v", row.greeting, row.answer, err)
		}
		_ = ours.Close()
	}
}

// Coremail (163.com, 126.com) opens no mailbox before the client has said who it is. Others may
// refuse to listen.
func TestMailboxWantsAName(t *testing.T) {
	for _, refuses := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := &scripted{greeting: "* OK Coremail System IMap Server Ready(163com)", mails: map[int]string{1: "Subject: 1\r\n\r\nhello\r\n"}}
			var named atomic.Bool
			s.answer = func(command string) string {
				switch {
				case command == "CAPABILITY":
					return "* CAPABILITY IMAP4rev1 XLIST SPECIAL-USE ID LITERAL+ STARTTLS APPENDLIMIT=71680000 UIDPLUS\r\n\x00 OK CAPABILITY completed"
				case strings.HasPrefix(command, `ID ("name" "`) && refuses:
					return "\x00 BAD no such command"
				case strings.HasPrefix(command, `ID ("name" "`):
					named.Store(true)
					return `* ID ("name" "Coremail Imap" "vendor" "Mailtech")` + "\r\n\x00 OK ID completed"
				case strings.HasPrefix(command, "SELECT") && !named.Load() && !refuses:
					return "\x00 NO SELECT Unsafe Login. Please contact kefu@188.com for help"
				}
				return ""
			}
			if err := s.mailbox().Check(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// Where the numbers of mails are no longer what they were, all mails are looked at anew.
func TestMailboxWithOtherNumbers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{mails: map[int]string{1: "Subject: hello\r\n\r\nhello\r\n"}}
		sessions, looked := 0, make(map[int]int)
		s.answer = func(command string) string {
			switch {
			case strings.HasPrefix(command, "SELECT"):
				sessions++
				return fmt.Sprintf("* 1 EXISTS\r\n* OK [UIDVALIDITY %d] valid\r\n\x00 OK [READ-WRITE] done", (sessions+1)/2)
			case command == "IDLE":
				return silence
			}
			return ""
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			s.mailbox().Watch(ctx, func(context.Context, []byte) (Verdict, error) {
				looked[sessions]++
				return Ignored, nil
			}, func(error) {
				if sessions == 4 {
					cancel()
				}
			})
		}()
		<-ended
		if looked[1] != 1 || looked[3] != 1 || len(looked) != 2 {
			t.Errorf("looked at in these of four sessions: %v", looked)
		}
	})
}

// A token takes the place of the password, and a server that refuses it is not asked again
// at once.
func TestMailboxWithAToken(t *testing.T) {
	login := "AUTHENTICATE XOAUTH2 " + base64.StdEncoding.EncodeToString([]byte("user=bounces\x01auth=Bearer good\x01\x01"))
	s := &scripted{greeting: "* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2] here"}
	s.answer = func(command string) string {
		switch {
		case command == login:
			return "\x00 OK done"
		case strings.HasPrefix(command, "AUTHENTICATE"):
			return "\x00 NO [AUTHENTICATIONFAILED] no"
		case strings.HasPrefix(command, "LOGIN"):
			t.Error("it logs in by password")
		}
		return ""
	}
	for token, works := range map[string]bool{"good": true, "bad": false} {
		m := s.mailbox()
		m.Token = func(context.Context) (string, error) { return token, nil }
		err := m.Check(t.Context())
		var failed *Error
		if works && err != nil || !works && (!errors.As(err, &failed) || failed.Stage != "login" || !failed.Refused || failed.Code != "AUTHENTICATIONFAILED") {
			t.Errorf("%s: %v", token, err)
		}
	}
}

// A mail that may be known soon is looked at again for ten minutes after it came.
func TestMailboxLooksAgainForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{answer: func(string) string { return "" }, mails: map[int]string{1: "Subject: hello\r\n\r\nhello\r\n"}} // which came when time began
		ctx, cancel := context.WithCancel(t.Context())
		looked := 0
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			s.mailbox().Watch(ctx, func(context.Context, []byte) (Verdict, error) {
				looked++
				return Unknown, nil
			}, func(err error) {
				if err != nil {
					t.Error(err)
				}
			})
		}()
		time.Sleep(2 * young)
		cancel()
		<-ended
		if want := int(young/retryTime) + 1; looked != want {
			t.Errorf("looked at %d times, want %d", looked, want)
		}
	})
}
