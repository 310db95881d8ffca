package recipients

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/miekg/dns"

	"logto-email-relay/mail"
)

const (
	// patience is how long a mail waits for an answer.
	patience = 300 * time.Millisecond
	// longestQuery is how long an answer is waited for that no mail waits for any
	// more, and longestTry how long for that of one server.
	longestQuery = 2 * time.Second
	longestTry   = 700 * time.Millisecond
	// rest is how long DNS is not asked after it gave no answer, and a domain not
	// after it had none.
	rest = 30 * time.Second
	// disbelief is how long DNS is not asked after it denied a domain at which millions
	// have an address: it knows the names of an inner network alone, where what is outside
	// is reached through a proxy.
	disbelief = time.Hour
)

// The bounds of how long answers are kept, whatever they say themselves.
const (
	leastTTL       = time.Minute
	mostTTL        = time.Hour
	mostRefusedTTL = 5 * time.Minute // somebody may be mending it
	// mostDomains are kept twice, see remember.
	mostDomains = 10_000
)

// Domains knows from DNS which domains take mail. A mail is refused by a clear
// answer alone. Where there is none (a server that fails, no network) it is let
// through, and so are those after it for a while, so that dead DNS costs one mail
// its patience and not each of them. It is safe for use by many goroutines.
type Domains struct {
	servers []string // host:port
	logger  *slog.Logger

	mu         sync.Mutex
	first      int // index of the server that answered last
	resume     time.Time
	unbelieved time.Time // until when nothing that DNS says is believed
	// What is known, and what was known before that grew too large.
	known, earlier map[string]answer
}

// answer is what is known of a domain.
type answer struct {
	refusal string // why it takes no mail; empty if it does, or nobody knows
	until   time.Time
}

// NewDomains asks these servers, as host:port; without any those of the system. The
// logger is told of servers that are not to be believed.
func NewDomains(logger *slog.Logger, servers ...string) *Domains {
	if len(servers) == 0 {
		// Without the file, as on other systems than Unix, nothing is asked.
		if system, err := dns.ClientConfigFromFile("/etc/resolv.conf"); err == nil {
			for _, server := range system.Servers {
				servers = append(servers, net.JoinHostPort(server, system.Port))
			}
		}
	}
	return &Domains{servers: servers, logger: logger, known: make(map[string]answer)}
}

// Refusal returns why a domain takes no mail; empty if it does, or if DNS does not
// say so in time.
func (d *Domains) Refusal(ctx context.Context, domain string) string {
	refusal, ask := d.recall(domain)
	if !ask {
		return refusal
	}
	answered := make(chan string, 1)
	go func() {
		// An answer that comes too late for this mail is kept for the next.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), longestQuery)
		defer cancel()
		answered <- d.find(ctx, domain)
	}()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case refusal = <-answered:
	case <-timer.C:
		d.pause()
	case <-ctx.Done():
	}
	return refusal
}

// recall returns what is known of a domain, and whether it has to be asked for.
func (d *Domains) recall(domain string) (refusal string, ask bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	if now.Before(d.unbelieved) {
		return "", false
	}
	for _, memory := range []map[string]answer{d.known, d.earlier} {
		if a := memory[domain]; now.Before(a.until) {
			return a.refusal, false
		}
	}
	return "", len(d.servers) > 0 && !now.Before(d.resume)
}

// disbelieve leaves DNS alone for long, which denies this domain.
func (d *Domains) disbelieve(domain, refusal string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	if !now.Before(d.unbelieved) {
		d.logger.Warn("recipients.checkDomain: DNS is not believed for an hour, no domain is refused; let it know the names of the Internet, or turn checkDomain off",
			"domain", domain, "answer", refusal)
	}
	d.unbelieved = now.Add(disbelief) // which is longer than a refusal is kept
}

// pause lets DNS rest, until it rests no more or gives an answer.
func (d *Domains) pause() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.resume = time.Now().Add(rest)
}

// find asks DNS for a domain and keeps the answer.
func (d *Domains) find(ctx context.Context, domain string) string {
	refusal, ttl, err := d.ask(ctx, domain)
	switch {
	case errors.Is(err, errRefused): // DNS is there, and does not know
		refusal, ttl = "", rest
	case err != nil:
		d.pause()
		return ""
	case refusal != "" && mail.IsWellKnown(domain):
		d.disbelieve(domain, refusal)
		return ""
	case refusal != "":
		ttl = min(max(ttl, leastTTL), mostRefusedTTL)
	default:
		ttl = min(max(ttl, leastTTL), mostTTL)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.resume = time.Time{}
	if time.Now().Before(d.unbelieved) { // which began meanwhile
		return ""
	}
	if len(d.known) >= mostDomains {
		d.known, d.earlier = make(map[string]answer), d.known
	}
	d.known[domain] = answer{refusal, time.Now().Add(ttl)}
	return refusal
}

// ask follows RFC 5321 section 5.1: the mail servers of a domain, else its own
// addresses. A single mail server without a name says that there is none (RFC 7505).
func (d *Domains) ask(ctx context.Context, domain string) (refusal string, ttl time.Duration, err error) {
	r, err := d.query(ctx, domain, dns.TypeMX)
	if err != nil {
		return "", 0, err
	}
	if r.Rcode == dns.RcodeNameError {
		return "the domain does not exist", ttlOf(r), nil
	}
	servers, named := 0, 0
	for _, record := range r.Answer {
		if mx, ok := record.(*dns.MX); ok {
			servers++
			if mx.Mx != "." {
				named++
			}
		}
	}
	switch {
	case named > 0:
		return "", ttlOf(r), nil
	case servers > 0:
		return "the domain takes no mail (RFC 7505)", ttlOf(r), nil
	}
	for _, kind := range []uint16{dns.TypeA, dns.TypeAAAA} {
		if r, err = d.query(ctx, domain, kind); err != nil {
			return "", 0, err
		}
		for _, record := range r.Answer {
			if record.Header().Rrtype == kind {
				return "", ttlOf(r), nil
			}
		}
	}
	return "the domain has no mail server and no address", ttlOf(r), nil
}

// errRefused is an answer that says nothing of the domain, or is cut short before it does.
var errRefused = errors.New("DNS gave no answer")

// query asks the servers in order, first the one that answered last.
func (d *Domains) query(ctx context.Context, domain string, kind uint16) (r *dns.Msg, err error) {
	question := new(dns.Msg)
	question.SetQuestion(dns.Fqdn(domain), kind)
	question.SetEdns0(1232, false) // what passes everywhere in one piece
	d.mu.Lock()
	first := d.first
	d.mu.Unlock()
	client := &dns.Client{Timeout: longestTry}
	for i := range d.servers {
		place := (first + i) % len(d.servers)
		r, _, failure := client.ExchangeContext(ctx, question, d.servers[place])
		switch {
		case failure != nil:
			err = cmp.Or(err, failure)
		case r.Rcode != dns.RcodeNameError && (r.Rcode != dns.RcodeSuccess || r.Truncated || isLame(r)):
			err = errRefused
		default:
			d.mu.Lock()
			d.first = place
			d.mu.Unlock()
			return r, nil
		}
	}
	return nil, err
}

// isLame tells whether a server neither has the domain nor asks others for it: its answer is
// that somebody else knows.
func isLame(r *dns.Msg) bool {
	return len(r.Answer) == 0 && !r.Authoritative && !r.RecursionAvailable
}

// ttlOf is how long an answer holds; one of nothing says it in the SOA (RFC 2308).
func ttlOf(r *dns.Msg) time.Duration {
	seconds := uint32(mostTTL / time.Second)
	for _, record := range append(r.Answer, r.Ns...) {
		ttl := record.Header().Ttl
		if soa, ok := record.(*dns.SOA); ok {
			ttl = min(ttl, soa.Minttl)
		} else if record.Header().Rrtype == dns.TypeNS {
			continue
		}
		seconds = min(seconds, ttl)
	}
	return time.Duration(seconds) * time.Second
}
