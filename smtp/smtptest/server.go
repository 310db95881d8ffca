// Package smtptest plays the far end of SMTP for tests: a server that follows a
// script, a forward proxy before it, and a real Postfix.
package smtptest

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// What a server does at a stage instead of answering.
const (
	Stall = "stall" // says nothing until the client goes away
	EOF   = "EOF"   // closes the connection
	Reset = "RST"   // resets it
)

// The stages that the script knows, as package smtp names them in its errors, which
// imports this package in its tests. Other commands, such as RSET, have no name.
const (
	AtTLS      = "TLS"
	AtGreeting = "greeting"
	AtEHLO     = "EHLO"
	AtSTARTTLS = "STARTTLS"
	AtAUTH     = "AUTH"
	AtMAIL     = "MAIL FROM"
	AtRCPT     = "RCPT TO"
	AtDATA     = "DATA"
	AtBody     = "body"
	AtDot      = "final dot"
)

// Server is a scripted server. It plays the part of a friendly one unless Answer says
// otherwise.
type Server struct {
	Extensions []string
	TLS        *tls.Config // for STARTTLS
	Implicit   bool
	Nagle      bool // sends small writes one after the other, as many servers do
	// Answer returns the reply to a stage, one of the stunts above, or an empty
	// text for the usual reply. It is told the number of the connection and of
	// the mail on it, both from 1.
	Answer func(stage string, connection, mail int) string
	// Converse takes over after "AUTH …" and returns the last reply.
	Converse func(command string, ask func(challenge string) string) string

	listener net.Listener
	wait     sync.WaitGroup
	gone     chan struct{} // closed when the test is over

	mutex       sync.Mutex
	open        map[net.Conn]bool
	connections int
	peers       []string
	reads       int // reads that returned something: one a flight of the client
	secured     int // mails that came in TLS
	commands    []string
	mails       []string
}

// Start makes the server listen on a real socket.
func (f *Server) Start(t testing.TB) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.Serve(t, listener)
}

// Serve serves all connections of a listener, until the test is over.
func (f *Server) Serve(t testing.TB, listener net.Listener) {
	f.listener = listener
	f.Prepare(t)
	f.wait.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			f.Take(conn)
		}
	})
}

// Prepare readies a server without a network, for Take. It ends with the test.
func (f *Server) Prepare(t testing.TB) {
	f.open, f.gone = map[net.Conn]bool{}, make(chan struct{})
	t.Cleanup(func() {
		if f.listener != nil {
			f.listener.Close()
		}
		close(f.gone)
		f.HangUp()
		f.wait.Wait()
	})
}

// Listens tells whether the server has a socket.
func (f *Server) Listens() bool { return f.listener != nil }

// Addr is where the server listens, Port its port.
func (f *Server) Addr() net.Addr { return f.listener.Addr() }

// Port is that of Addr.
func (f *Server) Port() int { return f.listener.Addr().(*net.TCPAddr).Port }

// Close ends the listening: no client comes any more.
func (f *Server) Close() { f.listener.Close() }

// Take serves one connection, in the background.
func (f *Server) Take(conn net.Conn) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if socket, isTCP := conn.(*net.TCPConn); isTCP && f.Nagle {
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

// HangUp closes all connections, as a server does that restarts.
func (f *Server) HangUp() {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	for conn := range f.open {
		conn.Close()
	}
}

// Shout writes a line to all connections, unasked.
func (f *Server) Shout(line string) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	for conn := range f.open {
		_, _ = io.WriteString(conn, line+"\r\n")
	}
}

// Seen is what came so far: connections, command lines and messages.
func (f *Server) Seen() (connections int, commands, mails []string) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return f.connections, slices.Clone(f.commands), slices.Clone(f.mails)
}

// Flights is how many reads returned something: one for each flight of the client.
func (f *Server) Flights() int {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return f.reads
}

// Secured is how many mails came in TLS.
func (f *Server) Secured() int {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return f.secured
}

// Peers are the addresses of the clients, in the order of their connections.
func (f *Server) Peers() []string {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return slices.Clone(f.peers)
}

// OpenConnections is how many clients are still there.
func (f *Server) OpenConnections() int {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return len(f.open)
}

type countingReader struct {
	io.Reader
	f *Server
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

func (f *Server) serve(raw net.Conn, number int) {
	conn, extensions := raw, f.Extensions
	mails := 1
	perform := func(stage string, usual string) bool {
		reply := ""
		if f.Answer != nil {
			reply = f.Answer(stage, number, mails)
		}
		switch reply {
		case Stall:
			if stage == AtBody { // reading on would take the message
				<-f.gone
				return false
			}
			_, _ = io.Copy(io.Discard, raw)
			return false
		case EOF:
			return false
		case Reset:
			_ = raw.(*net.TCPConn).SetLinger(0)
			return false
		case "":
			reply = usual
		}
		reply, ends := strings.CutSuffix(reply, "\r\n"+EOF)
		_, err := io.WriteString(conn, reply+"\r\n")
		return err == nil && !ends
	}
	if f.Implicit {
		if f.Answer != nil {
			if stunt := f.Answer(AtTLS, number, mails); stunt != "" && !perform(AtTLS, "") {
				return
			}
		}
		conn = tls.Server(raw, f.TLS)
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
			if going && f.TLS != nil && (f.Answer == nil || f.Answer(AtSTARTTLS, number, mails) == "") {
				if f.Answer != nil {
					if stunt := f.Answer(AtTLS, number, mails); stunt != "" && !perform(AtTLS, "") {
						return
					}
				}
				secured := tls.Server(raw, f.TLS)
				conn = secured
				reader = bufio.NewReaderSize(countingReader{conn, f}, 64<<10)
				extensions = slices.DeleteFunc(slices.Clone(extensions), func(e string) bool { return e == "STARTTLS" })
			}
		case "AUTH":
			last := "235 2.7.0 welcome"
			if f.Converse != nil {
				last = f.Converse(line, func(challenge string) string {
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
			going = perform("", "250 2.0.0 Ok")
		case "DATA":
			reply := ""
			if f.Answer != nil {
				reply = f.Answer(AtDATA, number, mails)
			}
			if going = perform(AtDATA, "354 go ahead"); !going || reply != "" && !strings.HasPrefix(reply, "354") {
				break
			}
			if f.Answer != nil {
				if stunt := f.Answer(AtBody, number, mails); stunt != "" {
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
			if _, ok := conn.(*tls.Conn); ok {
				f.secured++
			}
			f.mutex.Unlock()
			going = perform(AtDot, "250 2.0.0 Ok: queued as FAKE"+strconv.Itoa(number)+"X"+strconv.Itoa(mails))
			mails++
		case "QUIT":
			perform("", "221 2.0.0 bye")
			return
		default:
			going = perform("", "500 5.5.2 what?")
		}
		if !going {
			return
		}
	}
}
