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
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	answering, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &dns.Server{PacketConn: answering, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, question *dns.Msg) {
		answer := new(dns.Msg).SetReply(question)
		answer.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: question.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(192, 0, 2, 7)}}
		_ = w.WriteMsg(answer)
	})}
	go func() { _ = server.ActivateAndServe() }()
	defer func() { _ = server.Shutdown() }()

	r := Resolver()
	r.PreferGo = true
	asked, dial := atomic.Int32{}, r.Dial
	r.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) { // instead of the system's
		if asked.Add(1) == 1 {
			return dial(ctx, network, silent.LocalAddr().String())
		}
		return dial(ctx, network, answering.LocalAddr().String())
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	found, err := r.LookupNetIP(ctx, "ip4", "smtp.acme.example.")
	if err != nil || len(found) != 1 || found[0].String() != "192.0.2.7" || asked.Load() != 2 {
		t.Errorf("%v, %v, %d questions", found, err, asked.Load())
	}
	if _, is := net.Conn(impatient{}).(net.PacketConn); !is {
		t.Error("Go would take it for TCP")
	}
}

// A deadline that is sooner stays.
func TestTheDeadlineOfAQuestion(t *testing.T) {
	conn, err := dial(t.Context(), "udp", "127.0.0.1:53")
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
