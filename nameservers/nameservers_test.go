package nameservers

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// The first name server takes questions and never answers; there is no time to wait for it as
// long as Go would.
func TestANameServerThatDoesNotAnswer(t *testing.T) {
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
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, question *dns.Msg) {
		answer := new(dns.Msg).SetReply(question)
		answer.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: question.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(192, 0, 2, 7)}}
		_ = w.WriteMsg(answer)
	})
	for _, server := range []*dns.Server{{PacketConn: answering, Handler: handler}, {Listener: answeringTCP, Handler: handler}} {
		go func() { _ = server.ActivateAndServe() }()
	}
	for _, network := range []string{"udp", "tcp"} { // TCP by "options use-vc", or after an answer that is too long
		r := Resolver()
		r.PreferGo = true
		asked, dial := atomic.Int32{}, r.Dial
		r.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) { // instead of the system's
			if asked.Add(1) == 1 {
				return dial(ctx, network, silent.LocalAddr().String())
			}
			return dial(ctx, network, answering.LocalAddr().String())
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
		defer cancel()
		found, err := r.LookupNetIP(ctx, "ip4", "smtp.acme.example.")
		if err != nil || len(found) != 1 || found[0].String() != "192.0.2.7" || asked.Load() != 2 {
			t.Errorf("%s: %v, %v, %d questions", network, found, err, asked.Load())
		}
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
	conn, err := dial(t.Context(), "udp", "127.0.0.1:9")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("nobody has answered")
	}
}
