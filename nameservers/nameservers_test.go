package nameservers

import (
	"context"
	"errors"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// The first name server takes questions and never answers; there is no time to wait for it as
// long as Go would.
func TestANameServerThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	silent, silentTCP := listen(t)
	go func() { // takes connections, too
		for {
			conn, err := silentTCP.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = conn.Close() })
		}
	}()
	answering, answeringTCP := listen(t)
	handler := dns.HandlerFunc(answer)
	for _, server := range []*dns.Server{{PacketConn: answering, Handler: handler}, {Listener: answeringTCP, Handler: handler}} {
		go func() { _ = server.ActivateAndServe() }()
	}
	for _, network := range []string{"udp", "tcp"} { // TCP by "options use-vc", or after an answer that is too long
		asked := atomic.Int32{}
		r := resolver(func() (string, string) { // the dead one first, each time
			if asked.Add(1)%2 == 1 {
				return network, silent.LocalAddr().String()
			}
			return network, answering.LocalAddr().String()
		})
		expect(t, r, 2*patience)
		expect(t, r, patience-impatience) // it is known by now
		if asked.Load() != 4 {
			t.Errorf("%s: %d questions", network, asked.Load())
		}
	}
}

// A lone server that is slow is waited for, the next time from the start.
func TestALoneNameServerThatIsSlow(t *testing.T) {
	t.Parallel()
	slow, _ := listen(t)
	server := &dns.Server{PacketConn: slow, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, question *dns.Msg) {
		time.Sleep(patience + patience/5)
		answer(w, question)
	})}
	go func() { _ = server.ActivateAndServe() }()
	r := resolver(func() (string, string) { return "udp", slow.LocalAddr().String() })
	expect(t, r, 3*patience)
	expect(t, r, 2*patience)
}

// A lone server may be quick with names of the inner network, and slow with those for which it asks
// others. However often it is asked for the former, it is waited for.
func TestALoneNameServerThatIsQuickWithSomeNames(t *testing.T) {
	t.Parallel()
	server, stream := listen(t)
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, question *dns.Msg) {
		if question.Question[0].Name == "smtp.acme.example." {
			time.Sleep(patience + patience/5)
		}
		answer(w, question)
	})
	for _, one := range []*dns.Server{{PacketConn: server, Handler: handler}, {Listener: stream, Handler: handler}} {
		go func() { _ = one.ActivateAndServe() }()
	}
	for _, network := range []string{"udp", "tcp"} {
		r := resolver(func() (string, string) { return network, server.LocalAddr().String() })
		for range 2 {
			if _, err := r.LookupNetIP(t.Context(), "ip4", "redis.internal."); err != nil {
				t.Error(err)
			}
			expect(t, r, 3*patience)
		}
	}
}

// What was quick and is no longer in the system's list is no reason not to wait for the one that is.
func TestANameServerThatHasLeft(t *testing.T) {
	t.Parallel()
	now := time.Now()
	s := newServers()
	ask := func(server string) *question {
		q := &question{servers: s, server: server}
		q.begin() // of the way there
		q.name = "name"
		q.begin()
		return q
	}
	age := func(server string, by time.Duration) {
		known := s.known[server]
		known.quick, known.late, known.asked = known.quick.Add(-by), known.late.Add(-by), known.asked.Add(-by)
		s.known[server] = known
	}
	ask("quick").note(func(one *speed) { one.quick = now })
	ask("slow").note(func(one *speed) { one.late = now })
	if q := ask("slow"); q.bound != impatience {
		t.Errorf("beside a quick one: %v", q.bound)
	}
	age("quick", memory)
	if q := ask("slow"); q.bound != 0 {
		t.Errorf("where the quick one was not asked again: %v", q.bound)
	}
	ask("quick").note(func(one *speed) { one.quick = now })
	age("slow", memory)
	if q := ask("slow"); q.bound != patience {
		t.Errorf("another time: %v", q.bound)
	}
}

// A second server that answers at once, and knows nothing, is no reason not to wait for the first.
func TestANameServerThatIsOfNoUse(t *testing.T) {
	t.Parallel()
	slow, _ := listen(t)
	fails, _ := listen(t)
	for server, handler := range map[net.PacketConn]dns.HandlerFunc{
		slow: func(w dns.ResponseWriter, question *dns.Msg) {
			time.Sleep(patience + patience/5)
			answer(w, question)
		},
		fails: func(w dns.ResponseWriter, question *dns.Msg) {
			_ = w.WriteMsg(new(dns.Msg).SetRcode(question, dns.RcodeServerFailure))
		},
	} {
		go func() { _ = (&dns.Server{PacketConn: server, Handler: handler}).ActivateAndServe() }()
	}
	asked := atomic.Int32{}
	r := resolver(func() (string, string) {
		if asked.Add(1)%2 == 1 {
			return "udp", slow.LocalAddr().String()
		}
		return "udp", fails.LocalAddr().String()
	})
	_, _ = r.LookupNetIP(t.Context(), "ip4", "smtp.acme.example.") // the system's list may be too short for another round
	expect(t, r, 3*patience)
}

// A server that leaves questions for IPv6 unanswered is not a slow one.
func TestANameServerThatDropsIPv6(t *testing.T) {
	t.Parallel()
	drops, _ := listen(t)
	server := &dns.Server{PacketConn: drops, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, question *dns.Msg) {
		if question.Question[0].Qtype == dns.TypeA {
			answer(w, question)
		}
	})}
	go func() { _ = server.ActivateAndServe() }()
	r := resolver(func() (string, string) { return "udp", drops.LocalAddr().String() })
	for range 2 {
		ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
		defer cancel()
		if found, err := r.LookupNetIP(ctx, "ip", "smtp.acme.example."); err != nil || len(found) != 1 {
			t.Errorf("%v, %v", found, err)
		}
	}
}

// answer answers every question by an address.
func answer(w dns.ResponseWriter, question *dns.Msg) {
	m := new(dns.Msg).SetReply(question)
	m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: question.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(192, 0, 2, 7)}}
	_ = w.WriteMsg(m)
}

// resolver is ours with other servers than the system's.
func resolver(next func() (network, address string)) *net.Resolver {
	r := Resolver()
	dial := r.Dial
	r.PreferGo = true
	r.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
		network, address := next()
		return dial(ctx, network, address)
	}
	return r
}

// expect wants the address within a time.
func expect(t *testing.T, r *net.Resolver, within time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	if found, err := r.LookupNetIP(ctx, "ip4", "smtp.acme.example."); err != nil || len(found) != 1 || found[0].String() != "192.0.2.7" {
		t.Errorf("%v, %v", found, err)
	}
}

// listen returns a port for UDP and TCP.
func listen(t *testing.T) (net.PacketConn, net.Listener) {
	t.Helper()
	for {
		stream, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		packets, err := net.ListenPacket("udp", stream.Addr().String())
		if err != nil { // taken by somebody else
			_ = stream.Close()
			continue
		}
		t.Cleanup(func() {
			_ = packets.Close()
			_ = stream.Close()
		})
		return packets, stream
	}
}

// A deadline that is sooner stays.
func TestTheDeadlineOfAQuestion(t *testing.T) {
	conn, err := Resolver().Dial(t.Context(), "udp", "127.0.0.1:9")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
}
