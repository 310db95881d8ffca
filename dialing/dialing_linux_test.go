package dialing

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// A host of which most addresses are dead is reached through the one that is not.
func TestDeadAddresses(t *testing.T) {
	t.Parallel()
	listener := listen(t, "127.0.9.1:0")
	port := listener.Addr().(*net.TCPAddr).Port
	for _, ip := range []string{"127.0.9.2", "127.0.9.3", "127.0.9.4"} {
		takeNobody(t, ip, port)
	}
	for _, test := range []struct {
		addresses string
		within    time.Duration
		taken     string // empty for none
	}{
		{"127.0.9.1 127.0.9.2 127.0.9.3", headStart, "127.0.9.1"},
		{"127.0.9.2 127.0.9.1", 2 * headStart, "127.0.9.1"},
		{"127.0.9.2 127.0.9.3 127.0.9.4 127.0.9.1", 4 * headStart, "127.0.9.1"},
		{"127.0.9.9 127.0.9.8 127.0.9.7 127.0.9.6 127.0.9.5 127.0.9.10 127.0.9.11 127.0.9.12 127.0.9.1", headStart, "127.0.9.1"}, // which refuse
		{"127.0.9.9 127.0.9.2 127.0.9.1", 2 * headStart, "127.0.9.1"},
		{"127.0.9.2 127.0.9.3", 0, ""},
	} {
		d := &Dialer{Timeout: 5 * time.Second, Resolver: resolver(t, test.addresses)}
		if test.taken == "" {
			d.Timeout = 2 * headStart
		}
		start := time.Now()
		conn, err := d.DialContext(t.Context(), "tcp", net.JoinHostPort("smtp.acme.example.", portOf(listener)))
		if test.taken == "" {
			if took := time.Since(start); !isTimeout(err) || took > d.Timeout+time.Second {
				t.Errorf("%s: %v, %v after %s", test.addresses, conn, err, took)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", test.addresses, err)
			continue
		}
		if ip := conn.RemoteAddr().(*net.TCPAddr).IP.String(); ip != test.taken {
			t.Errorf("%s: connected to %s", test.addresses, ip)
		}
		// More than Go's share of two seconds for one would mean that they were tried in turn.
		if took := time.Since(start); took > test.within+time.Second {
			t.Errorf("%s: took %s", test.addresses, took)
		}
		_ = conn.Close()
	}
}

// The first failure is the one that is told, as by net.Dialer.
func TestNobodyThere(t *testing.T) {
	t.Parallel()
	listener := listen(t, "127.0.9.1:0")
	_ = listener.Close()
	d := &Dialer{Timeout: 5 * time.Second, Resolver: resolver(t, "127.0.9.1 127.0.9.5")}
	_, err := d.DialContext(t.Context(), "tcp", net.JoinHostPort("smtp.acme.example.", portOf(listener)))
	var op *net.OpError
	if !errors.Is(err, syscall.ECONNREFUSED) || !errors.As(err, &op) || op.Op != "dial" || !strings.HasPrefix(op.Addr.String(), "127.0.9.1:") {
		t.Error(err)
	}
}

// A name server that says nothing is waited for no longer than LookupTimeout, which is no bound
// of a connection.
func TestLookupTimeout(t *testing.T) {
	t.Parallel()
	silent := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	d := &Dialer{Timeout: time.Minute, LookupTimeout: time.Millisecond, Resolver: silent}
	start := time.Now()
	_, err := d.DialContext(t.Context(), "tcp", "smtp.acme.example.:25")
	var lookup *net.DNSError
	if took := time.Since(start); !errors.As(err, &lookup) || !lookup.IsTimeout || took > time.Second {
		t.Errorf("%v after %s", err, took)
	}
	listener := listen(t, "127.0.9.1:0")
	takeNobody(t, "127.0.9.2", listener.Addr().(*net.TCPAddr).Port)
	d = &Dialer{LookupTimeout: headStart, Resolver: resolver(t, "127.0.9.2 127.0.9.1")}
	conn, err := d.DialContext(t.Context(), "tcp", net.JoinHostPort("smtp.acme.example.", portOf(listener)))
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
}

func TestUsable(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ found, local, usable string }{
		{"10.0.0.1 10.0.0.2", "", "10.0.0.1 10.0.0.2"},
		{"fd00::1 fd00::2 10.0.0.1", "", "fd00::1 10.0.0.1 fd00::2"},
		{"10.0.0.1 fd00::1 fd00::2 fd00::3", "", "10.0.0.1 fd00::1 fd00::2 fd00::3"},
		{"fd00::1 ::ffff:10.0.0.1", "10.0.0.9", "10.0.0.1"},
		{"fd00::1 10.0.0.1", "fd00::9", "fd00::1"},
		{"fd00::1", "10.0.0.9", ""},
	} {
		var found []netip.Addr
		for _, ip := range strings.Fields(test.found) {
			found = append(found, netip.MustParseAddr(ip))
		}
		var local net.Addr
		if test.local != "" {
			local = &net.TCPAddr{IP: net.ParseIP(test.local)}
		}
		var list []string
		for _, ip := range usable(found, local) {
			list = append(list, ip.String())
		}
		if got := strings.Join(list, " "); got != test.usable {
			t.Errorf("%s from %q: %s, want %s", test.found, test.local, got, test.usable)
		}
	}
}

// resolver knows every host by these addresses, in this order.
func resolver(t *testing.T, addresses string) *net.Resolver {
	t.Helper()
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	answer := func(w dns.ResponseWriter, question *dns.Msg) {
		m := new(dns.Msg).SetReply(question)
		for _, ip := range strings.Fields(addresses) {
			if question.Question[0].Qtype == dns.TypeA {
				m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: question.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.ParseIP(ip)})
			}
		}
		_ = w.WriteMsg(m)
	}
	go func() { _ = (&dns.Server{PacketConn: server, Handler: dns.HandlerFunc(answer)}).ActivateAndServe() }()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", server.LocalAddr().String())
	}}
}

func listen(t *testing.T, address string) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener
}

func portOf(listener net.Listener) string {
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	return port
}

func isTimeout(err error) bool {
	var failure net.Error
	return errors.As(err, &failure) && failure.Timeout()
}

// takeNobody makes an address at which connections come to nothing: its queue is full, so that
// Linux drops what else arrives.
func takeNobody(t *testing.T, ip string, port int) {
	t.Helper()
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(socket) })
	err = errors.Join(
		syscall.Bind(socket, &syscall.SockaddrInet4{Port: port, Addr: netip.MustParseAddr(ip).As4()}),
		syscall.Listen(socket, 0),
	)
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		conn, err := net.DialTimeout("tcp", net.JoinHostPort(ip, strconv.Itoa(port)), 50*time.Millisecond)
		if isTimeout(err) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	t.Fatal("the queue is never full")
}
