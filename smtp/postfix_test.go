package smtp

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"logto-email-relay/smtp/smtptest"
)

// startPostfix runs a Postfix that also refuses mail to unknown@example.net. More lines
// may be added to its main.cf.
func startPostfix(t *testing.T, more ...string) (port int) {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port = free.Addr().(*net.TCPAddr).Port
	free.Close()
	smtptest.Postfix(t, port, `myhostname = postfix.example
smtpd_recipient_restrictions = check_recipient_access inline:{ {unknown@example.net = 550 5.1.1 no such user} }, permit
`+strings.Join(more, "\n"), "")
	return port
}

// flightConn counts how often the client waits for the server after it has
// written something, which is what a round trip is.
type flightConn struct {
	*net.TCPConn
	wrote   bool
	flights *atomic.Int32
}

func (c *flightConn) Write(b []byte) (int, error) {
	c.wrote = true
	return c.TCPConn.Write(b)
}

func (c *flightConn) Read(b []byte) (int, error) {
	if c.wrote {
		c.flights.Add(1)
		c.wrote = false
	}
	return c.TCPConn.Read(b)
}

// Postfix takes two round trips a mail, also after it has refused a recipient.
func TestPostfix(t *testing.T) {
	port := startPostfix(t)
	var flights, connections atomic.Int32
	dialer := Dialer{Network: "tcp", Address: fmt.Sprintf("127.0.0.1:%d", port)}
	pool := testPool(t, new(fakeServer).prepare(t), func(c *Config) {
		c.Dial = func(ctx context.Context) (net.Conn, error) {
			conn, err := dialer.Dial(ctx)
			if err != nil {
				return nil, err
			}
			connections.Add(1)
			return &flightConn{TCPConn: conn.(*net.TCPConn), flights: &flights}, nil
		}
	})
	if _, err := send(t, pool, testMessage()); err != nil {
		t.Fatal(err)
	}
	warm := flights.Load()
	const mails = 50
	for i := range mails {
		message := testMessage()
		if i%10 == 5 {
			message.To = "unknown@example.net"
			_, err := send(t, pool, message)
			if e := failed(t, err); e.Stage != AtRCPT || e.Reply.Code != 550 || e.Reply.Enhanced != "5.1.1" {
				t.Error(err)
			}
			continue
		}
		if i%10 == 7 {
			message.To = `"foo."@docomo.ne.jp`
		}
		reply, err := send(t, pool, message)
		if err != nil {
			t.Fatal(err)
		}
		if reply.QueueID() == "" {
			t.Errorf("%+v", reply)
		}
	}
	perMail := float64(flights.Load()-warm) / mails
	t.Logf("%.2f round trips a mail, %d connections", perMail, connections.Load())
	if perMail > 2.1 || connections.Load() != 1 {
		t.Errorf("%.2f round trips a mail over %d connections", perMail, connections.Load())
	}
}

// A burst of messages at a Postfix that allows few connections from one client.
func TestPostfixLimitOfConnections(t *testing.T) {
	port := startPostfix(t, "smtpd_client_connection_count_limit = 5", "smtpd_client_event_limit_exceptions =")
	dialer := Dialer{Network: "tcp", Address: fmt.Sprintf("127.0.0.1:%d", port)}
	pool := testPool(t, new(fakeServer).prepare(t), func(c *Config) { c.Dial = dialer.Dial })
	sendAtOnce(t, pool, 200)
	if open := pool.connections.Load(); open > 5 {
		t.Errorf("%d connections", open)
	}
}
