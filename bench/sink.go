package main

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"mime/quotedprintable"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// What the receivers log in with where the sink asks for it.
const (
	smtpUser     = "bench"
	smtpPassword = "bench-password"
)

// sinkOptions say how the SMTP server behaves.
type sinkOptions struct {
	// TLS makes it offer STARTTLS, and nothing else without it and AUTH.
	TLS bool
	// RoundTrip puts a wire of that length in front of it.
	RoundTrip time.Duration
	// Hang makes it silent after the final dot of every mail.
	Hang bool
}

// sink is an SMTP server that accepts every mail, as cheaply as can be, and
// keeps count. A mail counts when it holds the code that belongs to its
// recipient, once.
type sink struct {
	options sinkOptions
	tls     *tls.Config

	connections atomic.Int64
	turns       atomic.Int64
	bytes       atomic.Int64
	waiting     atomic.Int64

	mutex sync.Mutex
	seen  map[int]struct{}
	wrong int
}

// counts are what a sink has seen since its start.
type counts struct {
	// Connections were opened.
	Connections int64
	// Turns are the times that a client had to wait for the server: a round trip
	// each. Those that open a connection are among them, TCP and TLS included;
	// QUIT, for which no mail waits, is not.
	Turns int64
	// Mails were right; Wrong are those without their code or with one that came
	// before.
	Mails, Wrong int
	// Bytes are those of the mails.
	Bytes int64
	// Waiting mails have been handed over to a server that hangs.
	Waiting int64
}

// runSink serves in a process of its own. It prints one line of JSON with its
// port and certificate, then one with its counts for each line on standard
// input, and ends with it.
func runSink(args []string, in io.Reader, out io.Writer) error {
	var options sinkOptions
	if err := json.Unmarshal([]byte(args[0]), &options); err != nil {
		return err
	}
	s := &sink{options: options, seen: make(map[int]struct{})}
	certificate, authority, err := selfSigned()
	if err != nil {
		return err
	}
	s.tls = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go s.accept(listener)
	if options.RoundTrip > 0 {
		wire, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		go lengthen(wire, listener.Addr().String(), options.RoundTrip)
		listener = wire
	}
	answers := json.NewEncoder(out)
	if err := answers.Encode(sinkAddress{listener.Addr().(*net.TCPAddr).Port, authority}); err != nil {
		return err
	}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		if err := answers.Encode(s.counts()); err != nil {
			return err
		}
	}
	return nil
}

// sinkAddress is where the sink listens and whom to trust for it, in PEM.
type sinkAddress struct {
	Port      int
	Authority string
}

func (s *sink) counts() counts {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return counts{
		Connections: s.connections.Load(), Turns: s.turns.Load(), Bytes: s.bytes.Load(),
		Waiting: s.waiting.Load(), Mails: len(s.seen), Wrong: s.wrong,
	}
}

func (s *sink) accept(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		s.connections.Add(1)
		s.turns.Add(1) // SYN
		go func() {
			c := &sinkConnection{sink: s}
			c.over(conn)
			defer func() { _ = c.conn.Close() }()
			c.serve()
		}()
	}
}

// sinkConnection is one client.
type sinkConnection struct {
	sink      *sink
	conn      net.Conn
	in        *bufio.Reader
	out       *bufio.Writer
	secure    bool
	recipient string
	data      []byte
}

func (c *sinkConnection) over(conn net.Conn) {
	c.conn, c.in, c.out = conn, bufio.NewReaderSize(conn, 64<<10), bufio.NewWriter(conn)
}

// reply answers a command. What the client sent together is answered together.
func (c *sinkConnection) reply(text string) {
	_, _ = c.out.WriteString(text)
	if c.in.Buffered() == 0 {
		c.sink.turns.Add(1)
		_ = c.out.Flush()
	}
}

func (c *sinkConnection) serve() {
	c.reply("220 sink ESMTP\r\n")
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil || len(line) < 4 {
			return
		}
		switch verb := strings.ToUpper(string(line[:4])); verb {
		case "EHLO":
			c.reply(c.offer())
		case "STAR":
			c.reply("220 go ahead\r\n")
			c.sink.turns.Add(1) // the handshake of TLS 1.3
			c.over(tls.Server(c.conn, c.sink.tls))
			c.secure = true
		case "AUTH":
			if !c.authenticate(string(line)) {
				return
			}
		case "MAIL":
			if c.sink.options.TLS && !c.secure {
				c.reply("530 5.7.0 STARTTLS first\r\n")
				continue
			}
			c.reply("250 2.1.0 Ok\r\n")
		case "RCPT":
			_, rest, _ := strings.Cut(string(line), "<")
			c.recipient, _, _ = strings.Cut(rest, ">")
			c.reply("250 2.1.5 Ok\r\n")
		case "DATA":
			c.reply("354 End data with <CR><LF>.<CR><LF>\r\n")
			if !c.readMail() {
				return
			}
		case "QUIT":
			_, _ = c.out.WriteString("221 2.0.0 Bye\r\n")
			_ = c.out.Flush()
			return
		default:
			c.reply("250 2.0.0 Ok\r\n")
		}
	}
}

func (c *sinkConnection) offer() string {
	switch {
	case !c.sink.options.TLS:
		return "250-sink\r\n250-PIPELINING\r\n250-SIZE 10240000\r\n250 8BITMIME\r\n"
	case c.secure:
		return "250-sink\r\n250-PIPELINING\r\n250-SIZE 10240000\r\n250-AUTH PLAIN\r\n250 8BITMIME\r\n"
	}
	return "250-sink\r\n250-PIPELINING\r\n250-SIZE 10240000\r\n250-STARTTLS\r\n250 8BITMIME\r\n"
}

// authenticate takes AUTH PLAIN with its initial response (RFC 4954).
func (c *sinkConnection) authenticate(line string) bool {
	words := strings.Fields(line)
	given, err := base64.StdEncoding.DecodeString(words[len(words)-1])
	if err != nil || string(given) != "\x00"+smtpUser+"\x00"+smtpPassword {
		c.reply("535 5.7.8 no\r\n")
		return false
	}
	c.reply("235 2.7.0 Ok\r\n")
	return true
}

// readMail reads to the final dot.
func (c *sinkConnection) readMail() bool {
	c.data = c.data[:0]
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return false
		}
		if len(line) == 3 && line[0] == '.' {
			break
		}
		c.data = append(c.data, line...)
	}
	if c.sink.options.Hang {
		c.sink.waiting.Add(1)
		_, err := c.in.ReadByte() // until the client has had enough
		c.sink.waiting.Add(-1)
		return err == nil
	}
	c.sink.take(c.recipient, c.data)
	c.reply("250 2.0.0 Ok: queued as 4B1C2D3E4F\r\n")
	return true
}

// take counts a mail. The number in the recipient's name is that of the webhook,
// and its last six digits are the code.
func (s *sink) take(recipient string, data []byte) {
	s.bytes.Add(int64(len(data)))
	number, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(recipient, recipientPrefix), recipientSuffix))
	right := err == nil && holdsCode(data, codeOf(number))
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if _, again := s.seen[number]; again || !right {
		s.wrong++
		return
	}
	s.seen[number] = struct{}{}
}

// holdsCode looks for the code in the mail as it travels and, where an encoding
// may have broken it over two lines, in what a reader would see.
func holdsCode(data []byte, code string) bool {
	if bytes.Contains(data, []byte(code)) {
		return true
	}
	decoded, err := io.ReadAll(quotedprintable.NewReader(bytes.NewReader(data)))
	return err == nil && bytes.Contains(decoded, []byte(code))
}

// selfSigned makes a certificate for the loopback address that is its own
// authority.
func selfSigned() (tls.Certificate, string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, "", err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "bench sink"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, "", err
	}
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, string(authority), nil
}

// sinkProcess is a sink as the rest of the program sees it.
type sinkProcess struct {
	*child
	sinkAddress
	ask io.WriteCloser
	out *json.Decoder
}

// startSink starts this program again as a sink.
func startSink(options sinkOptions) (*sinkProcess, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(options)
	if err != nil {
		return nil, err
	}
	c := newChild("sink", exec.Command(self, "sink", string(text)))
	// One core is enough for it, and leaves the other to the receiver.
	c.cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	ask, err := c.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.start(); err != nil {
		return nil, err
	}
	p := &sinkProcess{child: c, ask: ask, out: json.NewDecoder(out)}
	if err := p.out.Decode(&p.sinkAddress); err != nil {
		c.kill()
		return nil, fmt.Errorf("the sink does not start: %w", err)
	}
	return p, nil
}

// counts asks the sink what it has seen.
func (p *sinkProcess) counts() (counts, error) {
	if _, err := io.WriteString(p.ask, "\n"); err != nil {
		return counts{}, err
	}
	var c counts
	err := p.out.Decode(&c)
	return c, err
}
