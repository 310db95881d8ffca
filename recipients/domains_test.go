package recipients_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"logto-email-relay/recipients"
)

// nameServer is a DNS server on a port of this machine.
type nameServer struct {
	address string
	queries atomic.Int32
	// delay is how long it takes to answer, in nanoseconds.
	delay atomic.Int64
	// fails makes every answer SERVFAIL.
	fails atomic.Bool
}

// startNameServer answers with these records; names ending in .fails are SERVFAIL, and
// others that have none do not exist. Answers on truncated.test are cut, and the address
// of half.test; for lame.test others are to be asked.
func startNameServer(t testing.TB, records ...string) *nameServer {
	t.Helper()
	return startNameServerAt(t, "127.0.0.1:0", records...)
}

func startNameServerAt(t testing.TB, address string, records ...string) *nameServer {
	t.Helper()
	zone := make(map[string][]dns.RR)
	for _, text := range records {
		if !strings.Contains(text, " ") { // a name that exists without anything
			zone[text] = nil
			continue
		}
		record, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		zone[record.Header().Name] = append(zone[record.Header().Name], record)
	}
	conn, err := net.ListenPacket("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	s := &nameServer{address: conn.LocalAddr().String()}
	server := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, question *dns.Msg) {
		delay := time.Duration(s.delay.Load())
		s.queries.Add(1)
		time.Sleep(delay)
		r := new(dns.Msg).SetReply(question)
		name, kind := question.Question[0].Name, question.Question[0].Qtype
		found, exists := zone[name]
		r.RecursionAvailable = !strings.HasSuffix(name, "lame.test.")
		r.Truncated = name == "truncated.test." || name == "half.test." && kind == dns.TypeA
		switch {
		case s.fails.Load(), strings.HasSuffix(name, ".fails."):
			r.Rcode = dns.RcodeServerFailure
		case !exists:
			r.Rcode = dns.RcodeNameError
		}
		for _, record := range found {
			switch record.Header().Rrtype {
			case kind:
				r.Answer = append(r.Answer, record)
			case dns.TypeNS, dns.TypeSOA:
				r.Ns = append(r.Ns, record)
			}
		}
		_ = w.WriteMsg(r)
	})}
	started := make(chan struct{})
	server.NotifyStartedFunc = func() { close(started) }
	go func() { _ = server.ActivateAndServe() }()
	<-started
	t.Cleanup(func() { _ = server.Shutdown() })
	return s
}

// silent is a DNS server that never answers.
func silent(t testing.TB) (address string) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn.LocalAddr().String()
}

// calm is longer than any answer of this machine takes, also of a busy one.
const calm = 200 * time.Millisecond

func TestDomains(t *testing.T) {
	server := startNameServer(t, "mx.test. 300 IN MX 10 mail.mx.test.", "a.test. 300 IN A 192.0.2.1", "aaaa.test. 300 IN AAAA 2001:db8::1",
		"null.test. 300 IN MX 0 .", "text.test. 300 IN TXT hello", "empty.test.",
		"truncated.test.", "half.test.", "lame.test.", "both.test. 300 IN MX 0 .", "both.test. 300 IN MX 10 mail.mx.test.")
	domains := recipients.NewDomains(slog.New(slog.DiscardHandler), server.address)
	for domain, test := range map[string]struct {
		refusal string
		queries int32
	}{
		"mx.test": {"", 1}, "a.test": {"", 2}, "aaaa.test": {"", 3},
		"null.test": {"the domain takes no mail (RFC 7505)", 1},
		"nx.test":   {"the domain does not exist", 1},
		"text.test": {"the domain has no mail server and no address", 3}, "empty.test": {"the domain has no mail server and no address", 3},
		"any.fails": {"", 1}, "both.test": {"", 1}, "truncated.test": {"", 1}, "lame.test": {"", 1}, "half.test": {"", 2},
	} {
		before := server.queries.Load()
		for range 3 { // what is known is not asked again
			if got := domains.Refusal(t.Context(), domain); got != test.refusal {
				t.Errorf("%s: %q", domain, got)
			}
		}
		if n := server.queries.Load() - before; n != test.queries {
			t.Errorf("%s: %d queries, want %d", domain, n, test.queries)
		}
	}
	before := server.queries.Load()
	for _, domain := range []string{"mx.test", "a.test", "null.test", "nx.test"} { // nor what other domains came after
		domains.Refusal(t.Context(), domain)
	}
	if n := server.queries.Load() - before; n != 0 {
		t.Errorf("%d queries for what is known", n)
	}
}

// An answer is kept for as long as it says, within bounds.
func TestAnAnswerIsKeptForItsTime(t *testing.T) {
	server := startNameServer(t, "mx.test. 300 IN MX 10 mail.mx.test.", "short.test. 10 IN MX 10 mail.mx.test.", "long.test. 86400 IN MX 10 mail.mx.test.",
		"ns.test. 300 IN MX 10 mail.mx.test.", "ns.test. 90 IN NS ns.test.", "null.test. 7200 IN MX 0 .", "soa.test. 300 IN SOA a. b. 1 2 3 4 120")
	for domain, kept := range map[string]time.Duration{
		"mx.test": 5 * time.Minute, "short.test": time.Minute, "long.test": time.Hour, "ns.test": 5 * time.Minute,
		"null.test": 5 * time.Minute, "soa.test": 2 * time.Minute, "nx.test": 5 * time.Minute, "any.fails": 30 * time.Second,
	} {
		t.Run(domain, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				domains := recipients.NewDomains(slog.New(slog.DiscardHandler), server.address)
				queries := func() int32 {
					before := server.queries.Load()
					domains.Refusal(t.Context(), domain)
					return server.queries.Load() - before
				}
				if queries() == 0 {
					t.Fatal("not asked")
				}
				if time.Sleep(kept - time.Second); queries() != 0 {
					t.Errorf("asked again before %v", kept)
				}
				if time.Sleep(2 * time.Second); queries() == 0 {
					t.Errorf("not asked again after %v", kept)
				}
			})
		})
	}
}

// Nobody waits longer than 300 ms, and only the first one does.
func TestDeadDNSCostsOneMailItsPatience(t *testing.T) {
	for name, servers := range map[string][]string{"silent": {silent(t)}, "two silent": {silent(t), silent(t)}, "closed": {"127.0.0.1:1"}} {
		t.Run(name, func(t *testing.T) {
			domains := recipients.NewDomains(slog.New(slog.DiscardHandler), servers...)
			begin := time.Now()
			if got := domains.Refusal(t.Context(), "first.test"); got != "" {
				t.Errorf("refused: %s", got)
			}
			if took := time.Since(begin); took > 300*time.Millisecond+calm {
				t.Errorf("the first one took %v", took)
			}
			begin = time.Now()
			for i := range 100 {
				if got := domains.Refusal(t.Context(), fmt.Sprintf("%d.test", i)); got != "" {
					t.Errorf("refused: %s", got)
				}
			}
			if took := time.Since(begin); took > calm {
				t.Errorf("a hundred more took %v", took)
			}
		})
	}
}

// DNS that is back is asked again after a while.
func TestDNSIsAskedAgain(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := conn.LocalAddr().String()
	_ = conn.Close()
	back, isBack := make(chan bool), make(chan bool)
	go func() { // aside, where time is real
		defer close(isBack)
		<-back
		startNameServerAt(t, address)
	}()
	synctest.Test(t, func(t *testing.T) {
		domains := recipients.NewDomains(slog.New(slog.DiscardHandler), address)
		refused := func() bool { return domains.Refusal(t.Context(), "nx.test") != "" }
		if refused() {
			t.Error("refused by nobody")
		}
		close(back)
		<-isBack
		if time.Sleep(29 * time.Second); refused() {
			t.Error("DNS does not rest")
		}
		if time.Sleep(2 * time.Second); !refused() {
			t.Error("DNS is not asked again")
		}
	})
}

// A system without servers for names refuses nobody.
func TestNoDNS(t *testing.T) {
	if got := new(recipients.Domains).Refusal(t.Context(), "nx.test"); got != "" {
		t.Errorf("refused: %s", got)
	}
}

// An answer that is too late for its own mail is there for the next one, and shows
// that DNS is alive.
func TestALateAnswerIsKept(t *testing.T) {
	server := startNameServer(t, "mx.test. 300 IN MX 10 mail.mx.test.")
	server.delay.Store(int64(400 * time.Millisecond))
	domains := recipients.NewDomains(slog.New(slog.DiscardHandler), server.address)
	if got := domains.Refusal(t.Context(), "nx.test"); got != "" {
		t.Fatalf("refused after 300 ms: %s", got)
	}
	server.delay.Store(0)
	for deadline := time.Now().Add(10 * time.Second); domains.Refusal(t.Context(), "nx.test") == ""; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the answer is lost")
		}
	}
	if got := domains.Refusal(t.Context(), "other.test"); got == "" {
		t.Error("DNS is not asked any more")
	}
}

func TestTheNextServerIsAsked(t *testing.T) {
	server, failing := startNameServer(t), startNameServer(t)
	failing.fails.Store(true)
	for name, first := range map[string]string{"closed": "127.0.0.1:1", "failing": failing.address} {
		domains := recipients.NewDomains(slog.New(slog.DiscardHandler), first, server.address)
		if got := domains.Refusal(t.Context(), "nx.test"); got != "the domain does not exist" {
			t.Errorf("%s: %q", name, got)
		}
	}
	// A silent one takes the first mail's patience; then the other is the first.
	domains := recipients.NewDomains(slog.New(slog.DiscardHandler), silent(t), server.address)
	domains.Refusal(t.Context(), "nx.test")
	for deadline := time.Now().Add(10 * time.Second); domains.Refusal(t.Context(), "nx.test") == ""; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the second server is not asked")
		}
	}
	begin := time.Now()
	if got := domains.Refusal(t.Context(), "other.test"); got == "" || time.Since(begin) > calm {
		t.Errorf("%q after %v", got, time.Since(begin))
	}
}

// Whatever comes from where a DNS server is looked for, nobody waits longer for it and
// a refusal is one of those that there are.
func FuzzAnswerOfDNS(f *testing.F) {
	for _, text := range []string{"mx.test. 300 IN MX 10 mail.mx.test.", "mx.test. 300 IN MX 0 .", "mx.test. 0 IN A 192.0.2.1", "mx.test. 300 IN SOA a. b. 1 2 3 4 5"} {
		record, err := dns.NewRR(text)
		if err != nil {
			f.Fatal(err)
		}
		r := new(dns.Msg).SetReply(new(dns.Msg).SetQuestion("mx.test.", dns.TypeMX))
		r.Answer = []dns.RR{record}
		packet, err := r.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packet[2:])
	}
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = conn.Close() })
	var answer atomic.Pointer[[]byte]
	go func() {
		question := make([]byte, 4096)
		for {
			n, from, err := conn.ReadFrom(question)
			if err != nil {
				return
			}
			if rest := answer.Load(); n > 2 { // under the number of the question, else it is passed over
				_, _ = conn.WriteTo(append(question[:2:2], *rest...), from)
			}
		}
	}()
	f.Fuzz(func(t *testing.T, rest []byte) {
		if len(rest) > 4096 {
			t.Skip()
		}
		answer.Store(&rest)
		begin := time.Now()
		switch got := recipients.NewDomains(slog.New(slog.DiscardHandler), conn.LocalAddr().String()).Refusal(t.Context(), "mx.test"); got {
		case "", "the domain does not exist", "the domain takes no mail (RFC 7505)", "the domain has no mail server and no address":
		default:
			t.Errorf("refused: %s", got)
		}
		if took := time.Since(begin); took > 300*time.Millisecond+10*calm {
			t.Errorf("took %v", took)
		}
	})
}

// Without a server, as where there is no /etc/resolv.conf, nothing is asked and nobody
// refused.
func TestNothingIsAskedWithoutAServer(t *testing.T) {
	if got := new(recipients.Domains).Refusal(t.Context(), "nx.test"); got != "" {
		t.Errorf("refused: %s", got)
	}
}

// DNS that denies a domain at which millions have an address knows an inner network alone:
// nothing that it says is believed, and nobody is asked whether gmail.com was meant.
func TestDNSOfAnInnerNetwork(t *testing.T) {
	server := startNameServer(t, "acme.test. 60 IN MX 10 mail.acme.test.")
	var told bytes.Buffer
	domains := recipients.NewDomains(slog.New(slog.NewTextHandler(&told, nil)), server.address)
	if got := domains.Refusal(t.Context(), "customer.test"); got == "" {
		t.Error("a domain that does not exist is not refused")
	}
	for _, domain := range []string{"gmail.com", "customer.test", "other.test", "qq.com", "acme.test"} {
		if got := domains.Refusal(t.Context(), domain); got != "" {
			t.Errorf("%s: %s", domain, got)
		}
	}
	if n := strings.Count(told.String(), "DNS is not believed"); n != 1 || !strings.Contains(told.String(), "gmail.com") {
		t.Errorf("told is %s", &told)
	}
	if got := recipients.Suggest("gmail.com"); got != "" {
		t.Errorf("for gmail.com %s is suggested", got)
	}
}

// What was asked before counts as little as what is asked later.
func TestDNSIsDisbelievedMeanwhile(t *testing.T) {
	server := startNameServer(t)
	domains := recipients.NewDomains(slog.New(slog.DiscardHandler), server.address)
	server.delay.Store(int64(100 * time.Millisecond))
	before := make(chan string)
	go func() { before <- domains.Refusal(t.Context(), "customer.test") }()
	for server.queries.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	server.delay.Store(0)
	if got := domains.Refusal(t.Context(), "gmail.com"); got != "" {
		t.Error(got)
	}
	if got := <-before; got != "" {
		t.Error(got)
	}
}
