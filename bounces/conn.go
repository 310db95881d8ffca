package bounces

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/emersion/go-imap/v2"
)

// bounded is a connection that is cut when the server says too much.
type bounded struct {
	net.Conn
	left atomic.Int64 // in bytes
}

// Read implements net.Conn.
func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.Conn.Read(p)
	if b.left.Add(-int64(n)) < 0 {
		_ = b.Close()
		return 0, errTooMuch
	}
	return n, err
}

var errTooMuch = errors.New("the server says more than anybody would read")

// secured is a connection in TLS, which begins in clear text where STARTTLS is wanted.
func (m *Mailbox) secured(ctx context.Context, conn net.Conn) (net.Conn, error) {
	if m.STARTTLS {
		if err := startTLS(conn); err != nil {
			return nil, err
		}
	}
	secure := tls.Client(conn, m.TLS)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	if m.STARTTLS { // the greeting came before, and is not repeated
		return &prefixed{secure, io.MultiReader(strings.NewReader("* OK\r\n"), secure)}, nil
	}
	return secure, nil
}

// prefixed is a connection from which something else is read first.
type prefixed struct {
	net.Conn
	from io.Reader
}

// Read implements net.Conn.
func (p *prefixed) Read(b []byte) (int, error) { return p.from.Read(b) }

// startTLS asks for TLS (RFC 3501, 6.2.1). What the server says before is anybody's who is on the
// way, so that nothing of it is taken but its consent.
func startTLS(conn net.Conn) error {
	lines := bufio.NewReader(conn)
	if greeting, err := lines.ReadString('\n'); err != nil {
		return err
	} else if !strings.HasPrefix(strings.ToUpper(greeting), "* OK") { // nor is anybody signed in yet
		return said(strings.TrimPrefix(greeting, "* "))
	}
	if _, err := io.WriteString(conn, "S STARTTLS\r\n"); err != nil {
		return err
	}
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return err
		}
		switch tag, answer, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " "); {
		case tag != "S":
		case !strings.HasPrefix(strings.ToUpper(answer), "OK"):
			return said(answer)
		case lines.Buffered() > 0:
			return errors.New("the server speaks on before TLS")
		default:
			return nil
		}
	}
}

// said is an answer that is no consent.
func said(answer string) *imap.Error {
	kind, text, _ := strings.Cut(strings.TrimSpace(answer), " ")
	return &imap.Error{Type: imap.StatusResponseType(strings.ToUpper(kind)), Text: text}
}

// guarded is a connection that ends at a list of capabilities with a parenthesis, which none has.
// The library would look at it for ever. What mails say is passed over.
type guarded struct {
	net.Conn
	line     []byte // its beginning, up to the first parenthesis
	isPassed bool   // with that one, before which there is no list
	end      []byte // of the line so far
	literal  int    // how much of one is to come, in bytes
}

const (
	// maxLine bounds what is kept of a line, in bytes, and maxEnd what is kept of its end.
	maxLine = 8 << 10
	maxEnd  = 32
)

// capabilities is the beginning of a line that lists them (RFC 3501, 7.1 and 7.2.1; RFC 5161, 3.2),
// and literal the end of one that so many bytes of something else follow (RFC 3501, 4.3).
var (
	capabilities = regexp.MustCompile(`(?i)^(\* (CAPABILITY|ENABLED)\b|\S+ \w+ ?\[CAPABILITY\b[^\]]*$)`)
	literal      = regexp.MustCompile(`\{(\d{1,10})\+?\}\r?\n$`)
)

var errCapabilities = errors.New("the server's list of what it can is malformed")

// Read implements net.Conn.
func (g *guarded) Read(p []byte) (int, error) {
	n, err := g.Conn.Read(p)
	for rest := p[:n]; len(rest) > 0; {
		if g.literal > 0 {
			passed := min(g.literal, len(rest))
			g.literal, rest = g.literal-passed, rest[passed:]
			continue
		}
		end := bytes.IndexByte(rest, '\n') + 1
		isWhole := end > 0
		if !isWhole {
			end = len(rest)
		}
		if !g.takes(rest[:end], isWhole) {
			_ = g.Close()
			return 0, errCapabilities
		}
		rest = rest[end:]
	}
	return n, err
}

// takes looks at what there is of a line, to its end or not, and tells whether that is in order.
func (g *guarded) takes(part []byte, isWhole bool) bool {
	if !g.isPassed {
		before, _, found := bytes.Cut(part, []byte{'('})
		g.line = append(g.line, before[:min(len(before), maxLine-len(g.line))]...)
		if found && capabilities.Match(g.line) {
			return false
		}
		g.isPassed = found
	}
	g.end = append(g.end, part[max(0, len(part)-maxEnd):]...)
	g.end = g.end[max(0, len(g.end)-maxEnd):]
	if isWhole {
		length := literal.FindSubmatch(g.end)
		if g.isPassed = length != nil; g.isPassed { // the line goes on behind it
			g.literal, _ = strconv.Atoi(string(length[1]))
		}
		g.line, g.end = g.line[:0], g.end[:0]
	}
	return true
}
