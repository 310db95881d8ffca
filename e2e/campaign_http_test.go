package e2e_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// httpFaultServer is a mail service with an HTTP API that misbehaves by plan and
// remembers every mail that it took. It speaks HTTP/1.1 by hand, because most of
// what it does is none.
type httpFaultServer struct {
	faultListener
	name    string
	dialect dialect
	ledger  *ledger
	mails   faultPlan
}

func (s *httpFaultServer) start(t testing.TB) {
	t.Helper()
	s.faultListener.start(t, func(conn *net.TCPConn) {
		reader := bufio.NewReader(conn)
		for {
			_ = conn.SetReadDeadline(time.Now().Add(2 * longestStall))
			request, err := http.ReadRequest(reader)
			if err != nil || s.obey(conn, request) != nil {
				return
			}
		}
	})
}

func (s *httpFaultServer) endpoint() string { return fmt.Sprintf("http://127.0.0.1:%d", s.port()) }

// elsewhere is the name of a server that nobody has configured: redirects lead
// to it, and a relay that follows one has sent a code to wherever an answer
// points.
const elsewhere = "elsewhere"

func (s *httpFaultServer) obey(conn *net.TCPConn, request *http.Request) error {
	if request.URL.Path == "/"+elsewhere {
		body, err := io.ReadAll(request.Body)
		if err != nil {
			return err
		}
		s.ledger.keep(numberIn(body), keptMail{server: elsewhere})
		_, err = io.WriteString(conn, "HTTP/1.1 "+s.dialect.accept)
		return err
	}
	if request.Method != http.MethodPost || request.URL.Path != s.dialect.path {
		_, err := io.WriteString(conn, "HTTP/1.1 "+response(http.StatusNotFound, "", "no such page"))
		return err
	}
	body, number, err := readNumber(request.Body)
	if err != nil {
		return err
	}
	f, faulty := s.mails.faultOf(number)
	if faulty && f.at == atRequest {
		s.ledger.meet(s.name, f, number)
		return misbehave(f.how, conn, conn, "")
	}
	rest, err := io.ReadAll(request.Body)
	if err != nil {
		return err
	}
	body = append(body, rest...)
	accept := "HTTP/1.1 " + s.dialect.accept
	if !faulty {
		s.ledger.confirm(s.keep(number, body))
		_, err := io.WriteString(conn, accept)
		return err
	}
	if f.kept {
		s.keep(number, body)
	}
	s.ledger.meet(s.name, f, number)
	switch f.how {
	case answers:
		_, err := io.WriteString(conn, "HTTP/1.1 "+f.reply)
		if strings.Contains(f.reply, cutShort) {
			return errDone // after less than it said
		}
		return err
	case dawdles:
		s.ledger.confirm(s.keep(number, body))
		time.Sleep(dawdling)
		_, err := io.WriteString(conn, accept)
		return err
	case drips:
		s.ledger.confirm(s.keep(number, body))
		return drip(conn, accept)
	case floods:
		head, _, _ := strings.Cut(accept, "\r\n")
		if _, err := io.WriteString(conn, head+"\r\nX-Message-Id: fault-server-id\r\nTransfer-Encoding: chunked\r\n\r\n"); err != nil {
			return err
		}
	}
	return misbehave(f.how, conn, conn, "400\r\n"+strings.Repeat("and so on ", 103)[:1024]+"\r\n")
}

// readNumber reads until it is known which mail this is.
func readNumber(body io.Reader) ([]byte, int, error) {
	var read []byte
	for chunk := make([]byte, 512); ; {
		n, err := body.Read(chunk)
		read = append(read, chunk[:n]...)
		if number := numberIn(read); number != nameless {
			return read, number, nil
		}
		if err != nil {
			return nil, nameless, fmt.Errorf("no recipient: %w", err)
		}
	}
}

func (s *httpFaultServer) keep(number int, body []byte) *keptMail {
	return s.ledger.keep(number, keptMail{server: s.name, ref: refIn(body), intact: bytes.Contains(body, []byte(code(number)))})
}
