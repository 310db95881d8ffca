package providers

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"logto-email-relay/mail"
	"logto-email-relay/settings"
	"logto-email-relay/smtp"
)

// What a fake server does at a stage instead of answering.
const (
	fakeStall = "stall" // says nothing until the client goes away
	fakeEOF   = "EOF"   // closes the connection
	fakeReset = "RST"   // resets it
)

// fakeSMTP is a scripted server. It plays the part of a friendly one unless
// answer says otherwise.
type fakeSMTP struct {
	extensions []string
	tls        *tls.Config // for STARTTLS
	implicit   bool
	// answer returns the reply to a stage, one of the stunts above, or an empty
	// text for the usual reply. It is told the number of the connection and of
	// the mail on it, both from 1.
	answer func(stage smtp.Stage, connection, mail int) string
	// converse takes over after "AUTH …" and returns the last reply.
	converse func(command string, ask func(challenge string) string) string

	listener net.Listener
	wait     sync.WaitGroup
	gone     chan struct{} // closed when the test is over

	mutex       sync.Mutex
	open        map[net.Conn]bool
	connections int
	peers       []string
	secured     int // mails that came in TLS
	commands    []string
	mails       []string
}

// start makes the server listen on a real socket.
func (f *fakeSMTP) start(t testing.TB) *fakeSMTP {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return f.serveOn(t, listener)
}

func (f *fakeSMTP) serveOn(t testing.TB, listener net.Listener) *fakeSMTP {
	f.listener = listener
	f.open, f.gone = map[net.Conn]bool{}, make(chan struct{})
	t.Cleanup(func() {
		listener.Close()
		close(f.gone)
		f.hangUp()
		f.wait.Wait()
	})
	f.wait.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			f.take(conn)
		}
	})
	return f
}

func (f *fakeSMTP) take(conn net.Conn) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.connections++
	number := f.connections
	f.open[conn] = true
	f.peers = append(f.peers, conn.RemoteAddr().String())
	f.wait.Go(func() {
		f.serve(conn, number)
		conn.Close()
		f.mutex.Lock()
		defer f.mutex.Unlock()
		delete(f.open, conn)
	})
}

// hangUp closes all connections, as a server does that restarts.
func (f *fakeSMTP) hangUp() {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	for conn := range f.open {
		conn.Close()
	}
}

func (f *fakeSMTP) port() int { return f.listener.Addr().(*net.TCPAddr).Port }

func (f *fakeSMTP) seen() (connections int, commands, mails []string) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return f.connections, slices.Clone(f.commands), slices.Clone(f.mails)
}

// openConnections is how many clients are still there.
func (f *fakeSMTP) openConnections() int {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return len(f.open)
}

func (f *fakeSMTP) serve(raw net.Conn, number int) {
	conn, extensions := raw, f.extensions
	mails := 1
	perform := func(stage smtp.Stage, usual string) bool {
		reply := ""
		if f.answer != nil {
			reply = f.answer(stage, number, mails)
		}
		switch reply {
		case fakeStall:
			if stage == smtp.AtBody { // reading on would take the message
				<-f.gone
				return false
			}
			_, _ = io.Copy(io.Discard, raw)
			return false
		case fakeEOF:
			return false
		case fakeReset:
			_ = raw.(*net.TCPConn).SetLinger(0)
			return false
		case "":
			reply = usual
		}
		_, err := io.WriteString(conn, reply+"\r\n")
		return err == nil
	}
	if f.implicit {
		if f.answer != nil {
			if stunt := f.answer(smtp.AtTLS, number, mails); stunt != "" && !perform(smtp.AtTLS, "") {
				return
			}
		}
		conn = tls.Server(raw, f.tls)
	}
	if !perform(smtp.AtGreeting, "220 fake.example ESMTP") {
		return
	}
	reader := bufio.NewReaderSize(conn, 64<<10)
	readLine := func() (string, bool) {
		line, err := reader.ReadString('\n')
		return strings.TrimRight(line, "\r\n"), err == nil
	}
	for {
		line, ok := readLine()
		if !ok {
			return
		}
		f.mutex.Lock()
		f.commands = append(f.commands, line)
		f.mutex.Unlock()
		verb, _, _ := strings.Cut(strings.ToUpper(line), ":")
		verb, _, _ = strings.Cut(verb, " ")
		var going bool
		switch verb {
		case "EHLO", "HELO":
			lines := append([]string{"fake.example"}, extensions...)
			for i := range lines {
				separator := "-"
				if i == len(lines)-1 {
					separator = " "
				}
				lines[i] = "250" + separator + lines[i]
			}
			going = perform(smtp.AtEHLO, strings.Join(lines, "\r\n"))
		case "STARTTLS":
			going = perform(smtp.AtSTARTTLS, "220 go ahead")
			if going && f.tls != nil && (f.answer == nil || f.answer(smtp.AtSTARTTLS, number, mails) == "") {
				if f.answer != nil {
					if stunt := f.answer(smtp.AtTLS, number, mails); stunt != "" && !perform(smtp.AtTLS, "") {
						return
					}
				}
				secured := tls.Server(raw, f.tls)
				conn = secured
				reader = bufio.NewReaderSize(conn, 64<<10)
				extensions = slices.DeleteFunc(slices.Clone(extensions), func(e string) bool { return e == "STARTTLS" })
			}
		case "AUTH":
			last := "235 2.7.0 welcome"
			if f.converse != nil {
				last = f.converse(line, func(challenge string) string {
					_, _ = io.WriteString(conn, "334 "+challenge+"\r\n")
					answer, _ := readLine()
					return answer
				})
			}
			going = perform(smtp.AtAUTH, last)
		case "MAIL":
			going = perform(smtp.AtMAIL, "250 2.1.0 Ok")
		case "RCPT":
			going = perform(smtp.AtRCPT, "250 2.1.5 Ok")
		case "RSET":
			going = perform(0, "250 2.0.0 Ok")
		case "DATA":
			reply := ""
			if f.answer != nil {
				reply = f.answer(smtp.AtDATA, number, mails)
			}
			if going = perform(smtp.AtDATA, "354 go ahead"); !going || reply != "" && !strings.HasPrefix(reply, "354") {
				break
			}
			if f.answer != nil {
				if stunt := f.answer(smtp.AtBody, number, mails); stunt != "" {
					if _, ok := readLine(); !ok || !perform(smtp.AtBody, "") {
						return
					}
				}
			}
			body, err := textproto.NewReader(reader).ReadDotBytes()
			if err != nil {
				return
			}
			f.mutex.Lock()
			f.mails = append(f.mails, string(body))
			if _, ok := conn.(*tls.Conn); ok {
				f.secured++
			}
			f.mutex.Unlock()
			going = perform(smtp.AtDot, "250 2.0.0 Ok: queued as FAKE"+strconv.Itoa(number)+"X"+strconv.Itoa(mails))
			mails++
		case "QUIT":
			perform(0, "221 2.0.0 bye")
			return
		default:
			going = perform(0, "500 5.5.2 what?")
		}
		if !going {
			return
		}
	}
}

// openSMTP opens a provider for the server, with changes to its settings.
func openSMTP(t testing.TB, port int, change ...func(*SMTPSettings)) *smtpProvider {
	t.Helper()
	s := newSMTPSettings()
	s.Type, s.Host, s.Port = "smtp", "127.0.0.1", port
	for _, c := range change {
		c(s)
	}
	if problems := s.Check(); len(problems) > 0 {
		t.Fatalf("settings: %v", problems)
	}
	provider, err := s.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { provider.(io.Closer).Close() })
	return provider.(*smtpProvider)
}

func withLogin(s *SMTPSettings) {
	s.Auth = &SMTPAuth{User: "relay", Pass: settings.NewSecret("pa55-word-of-the-relay")}
}

// smtpMessage is a mail as the relay makes them.
func smtpMessage() *mail.Message {
	return &mail.Message{
		ID:        "01jx2n8c5v7q0w3e4r5t6y7u8i",
		MessageID: "01jx2n8c5v7q0w3e4r5t6y7u8i@acme.example",
		Date:      time.Date(2026, 11, 20, 9, 30, 15, 0, time.FixedZone("", 3600)),
		From:      mail.Address{Name: "Acme", Address: "no-reply@acme.example"},
		ReplyTo:   mail.Address{Address: "help@acme.example"},
		To:        "ada@example.net",
		Subject:   "Your sign-in code",
		Text:      "Your code is 482913.\n\nIt is valid for 10 minutes.\n",
		HTML:      mail.Body{mail.OwnPart("<!DOCTYPE html>\n<html lang=\"en\"><body>\n<p>Your code is <strong>"), mail.OwnPart("482913"), mail.OwnPart("</strong>.</p>\n</body></html>\n")},
		Locale:    "en",
		Type:      "SignIn",
		Headers: []mail.Header{
			{Name: "Auto-Submitted", Value: "auto-generated"},
			{Name: "Content-Language", Value: "en"},
		},
	}
}

// bulkyMessage is larger than the buffers of two sockets.
func bulkyMessage() *mail.Message {
	m := smtpMessage()
	m.HTML = mail.Body{mail.OwnPart(strings.Repeat("<p>This paragraph is one of many, and they all are the same.</p>\n", 100_000))}
	return m
}

// shortly is a context that fails a test which would otherwise hang.
func shortly(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits for a condition that another goroutine brings about.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never came true: %s", what)
		}
	}
}
