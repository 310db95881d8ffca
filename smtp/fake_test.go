package smtp

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// What a fake server does at a stage instead of answering.
const (
	fakeStall = "stall" // says nothing until the client goes away
	fakeEOF   = "EOF"   // closes the connection
	fakeReset = "RST"   // resets it
)

// fakeServer is a scripted server. It plays the part of a friendly one unless
// answer says otherwise.
type fakeServer struct {
	extensions []string
	tls        *tls.Config // for STARTTLS
	implicit   bool
	nagle      bool // sends small writes one after the other, as many servers do
	// answer returns the reply to a stage, one of the stunts above, or an empty
	// text for the usual reply. It is told the number of the connection and of
	// the mail on it, both from 1.
	answer func(stage Stage, connection, mail int) string
	// converse takes over after "AUTH …" and returns the last reply.
	converse func(command string, ask func(challenge string) string) string

	listener net.Listener
	wait     sync.WaitGroup
	gone     chan struct{} // closed when the test is over

	mutex       sync.Mutex
	open        map[net.Conn]bool
	connections int
	peers       []string
	reads       int // reads that returned something: one a flight of the client
	commands    []string
	mails       []string
}

// start makes the server listen on a real socket.
func (f *fakeServer) start(t testing.TB) *fakeServer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.listener = listener
	f.prepare(t)
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

// prepare readies a server without a network.
func (f *fakeServer) prepare(t testing.TB) *fakeServer {
	f.open, f.gone = map[net.Conn]bool{}, make(chan struct{})
	t.Cleanup(func() {
		if f.listener != nil {
			f.listener.Close()
		}
		close(f.gone)
		f.hangUp()
		f.wait.Wait()
	})
	return f
}

// dial connects to the server: without a network, which lets time be fake, if it
// does not listen.
func (f *fakeServer) dial(ctx context.Context) (net.Conn, error) {
	if f.listener != nil {
		return (&Dialer{Network: "tcp", Address: f.listener.Addr().String()}).Dial(ctx)
	}
	client, server := net.Pipe()
	f.take(server)
	return client, nil
}

func (f *fakeServer) take(conn net.Conn) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if socket, isTCP := conn.(*net.TCPConn); isTCP && f.nagle {
		_ = socket.SetNoDelay(false)
	}
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
func (f *fakeServer) hangUp() {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	for conn := range f.open {
		conn.Close()
	}
}

// shout writes a line to all connections, unasked.
func (f *fakeServer) shout(line string) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	for conn := range f.open {
		_, _ = io.WriteString(conn, line+"\r\n")
	}
}

func (f *fakeServer) seen() (connections int, commands, mails []string) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return f.connections, slices.Clone(f.commands), slices.Clone(f.mails)
}

func (f *fakeServer) flights() int {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return f.reads
}

// openConnections is how many clients are still there.
func (f *fakeServer) openConnections() int {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return len(f.open)
}

type countingReader struct {
	io.Reader
	f *fakeServer
}

func (c countingReader) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	if n > 0 {
		c.f.mutex.Lock()
		c.f.reads++
		c.f.mutex.Unlock()
	}
	return n, err
}

func (f *fakeServer) serve(raw net.Conn, number int) {
	conn, extensions := raw, f.extensions
	mails := 1
	perform := func(stage Stage, usual string) bool {
		reply := ""
		if f.answer != nil {
			reply = f.answer(stage, number, mails)
		}
		switch reply {
		case fakeStall:
			if stage == AtBody { // reading on would take the message
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
			if stunt := f.answer(AtTLS, number, mails); stunt != "" && !perform(AtTLS, "") {
				return
			}
		}
		conn = tls.Server(raw, f.tls)
	}
	if !perform(AtGreeting, "220 fake.example ESMTP") {
		return
	}
	reader := bufio.NewReaderSize(countingReader{conn, f}, 64<<10)
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
			going = perform(AtEHLO, strings.Join(lines, "\r\n"))
		case "STARTTLS":
			going = perform(AtSTARTTLS, "220 go ahead")
			if going && f.tls != nil && (f.answer == nil || f.answer(AtSTARTTLS, number, mails) == "") {
				if f.answer != nil {
					if stunt := f.answer(AtTLS, number, mails); stunt != "" && !perform(AtTLS, "") {
						return
					}
				}
				secured := tls.Server(raw, f.tls)
				conn = secured
				reader = bufio.NewReaderSize(countingReader{conn, f}, 64<<10)
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
			going = perform(AtAUTH, last)
		case "MAIL":
			going = perform(AtMAIL, "250 2.1.0 Ok")
		case "RCPT":
			going = perform(AtRCPT, "250 2.1.5 Ok")
		case "RSET":
			going = perform(0, "250 2.0.0 Ok")
		case "DATA":
			reply := ""
			if f.answer != nil {
				reply = f.answer(AtDATA, number, mails)
			}
			if going = perform(AtDATA, "354 go ahead"); !going || reply != "" && !strings.HasPrefix(reply, "354") {
				break
			}
			if f.answer != nil {
				if stunt := f.answer(AtBody, number, mails); stunt != "" {
					if _, ok := readLine(); !ok || !perform(AtBody, "") {
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
			f.mutex.Unlock()
			going = perform(AtDot, "250 2.0.0 Ok: queued as FAKE"+strconv.Itoa(number)+"X"+strconv.Itoa(mails))
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

// testPool makes a pool for the server, with changes to its configuration.
func testPool(t testing.TB, fake *fakeServer, change ...func(*Config)) *Pool {
	t.Helper()
	config := Config{Name: "relay.example", Dial: fake.dial, ClearTextLogin: true, MaxConnections: 50, MaxMessages: 1000,
		TLSTimeout: 4 * time.Second, GreetingTimeout: 5 * time.Second, ReplyTimeout: 4 * time.Second}
	for _, c := range change {
		c(&config)
	}
	pool := NewPool(config)
	t.Cleanup(pool.Close)
	return pool
}

// idleConnections is how many wait for a message.
func idleConnections(p *Pool) int {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return len(p.idle)
}

// atRest tells whether no place is taken or held.
func atRest(p *Pool) bool {
	all := int64(p.config.MaxConnections)
	if !p.places.TryAcquire(all) {
		return false
	}
	p.places.Release(all)
	return true
}

func withLogin(c *Config) { c.Login = &Login{User: "relay", Password: "pa55-word-of-the-relay"} }

// testCertificate returns what a server at 127.0.0.1 and its client need for TLS.
func testCertificate(t testing.TB) (server, client *tls.Config) {
	s := httptest.NewTLSServer(nil)
	s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return &tls.Config{Certificates: s.TLS.Certificates},
		&tls.Config{RootCAs: roots, ServerName: "127.0.0.1", ClientSessionCache: tls.NewLRUClientSessionCache(0)}
}

// send hands a message over within a time that only a hang exceeds.
func send(t testing.TB, pool *Pool, m *Message) (Reply, error) {
	t.Helper()
	return sendWithin(shortly(t), pool, m)
}

func sendWithin(ctx context.Context, pool *Pool, m *Message) (Reply, error) {
	return pool.Send(ctx, Envelope{From: m.From.Address, To: m.To, UTF8Header: !isASCII(m.ReplyTo.Address)}, m.AppendTo)
}

// failed asks for what every failed send promises.
func failed(t testing.TB, err error) *Error {
	t.Helper()
	e, ok := err.(*Error)
	if !ok {
		t.Fatalf("not an *Error: %v", err)
	}
	return e
}

// isTemporary tells whether a message that got no verdict may be sent again.
func isTemporary(e *Error) bool { return e.Reply.Code == 0 && e.Stage != AtDot }

// isUncertain tells whether a server may have the message.
func isUncertain(e *Error) bool { return e.Stage == AtDot && e.Reply.Code < 400 }

// testText is a body as simple as can be.
type testText string

func (text testText) lines() string { return strings.ReplaceAll(string(text), "\r\n", "\n") }

func (text testText) QuotedLen() int { return len(text.AppendQuoted(nil)) }
func (text testText) Base64Len() int { return len(text.AppendBase64(nil)) }

func (text testText) AppendQuoted(b []byte) []byte {
	lines, used := text.lines(), 0
	for i := range len(lines) {
		c := lines[i]
		if c == '\n' {
			b, used = append(b, "\r\n"...), 0
			continue
		}
		if used > 72 {
			b, used = append(b, "=\r\n"...), 0
		}
		if c > ' ' && c <= '~' && c != '=' && c != '.' || c == ' ' && i+1 < len(lines) && lines[i+1] != '\n' {
			b, used = append(b, c), used+1
		} else {
			b, used = fmt.Appendf(b, "=%02X", c), used+3
		}
	}
	return b
}

func (text testText) AppendBase64(b []byte) []byte {
	encoded := base64.StdEncoding.EncodeToString([]byte(strings.ReplaceAll(text.lines(), "\n", "\r\n")))
	for line := range slices.Chunk([]byte(encoded), 76) {
		b = append(append(b, line...), "\r\n"...)
	}
	return b
}

func testMessage() *Message {
	return &Message{
		From:     Mailbox{"Acme", "no-reply@acme.example"},
		ReplyTo:  Mailbox{Address: "help@acme.example"},
		To:       "ada@example.net",
		Subject:  "Your sign-in code",
		Date:     time.Date(2026, 11, 20, 9, 30, 15, 0, time.FixedZone("", 3600)),
		ID:       "01jx2n8c5v7q0w3e4r5t6y7u8i@acme.example",
		Boundary: "01jx2n8c5v7q0w3e4r5t6y7u8i",
		Headers:  []Header{{"Auto-Submitted", "auto-generated"}, {"Content-Language", "en"}},
		Text:     testText("Your code is 482913.\n\nIt is valid for 10 minutes.\n"),
		HTML:     testText("<!DOCTYPE html>\n<html lang=\"en\"><body>\n<p>Your code is <strong>482913</strong>.</p>\n</body></html>\n"),
	}
}

// bulkyMessage is larger than the buffers of two sockets.
func bulkyMessage() *Message {
	m := testMessage()
	m.HTML = testText(strings.Repeat("This paragraph is one of many and they all are the same\n", 100_000))
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
