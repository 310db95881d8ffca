package limits

import (
	"sync"
	"time"
)

// refusals looks for one address that causes most refusals by a limit on
// addresses: behind a proxy that Logto does not trust all people have the
// proxy's, and lock each other out.
type refusals struct {
	mu    sync.Mutex
	since time.Time
	// suspect is the address that a majority must be of (Boyer and Moore's vote),
	// lead its lead, and own how often it was refused since it leads.
	suspect          string
	lead, own, total int
	told             bool
}

const (
	window = time.Hour
	// enough refusals to speak of most.
	enough = 20
)

// add notes a refusal, and tells once in a window that most are of this address.
func (r *refusals) add(address string) (most bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now(); now.Sub(r.since) > window {
		r.since, r.lead, r.own, r.total, r.told = now, 0, 0, 0, false
	}
	r.total++
	switch {
	case r.lead == 0:
		r.suspect, r.lead, r.own = address, 1, 1
	case r.suspect == address:
		r.lead++
		r.own++
	default:
		r.lead--
	}
	most = !r.told && r.suspect == address && r.total >= enough && 2*r.own > r.total
	r.told = r.told || most
	return most
}

func (l *Limiter) warnOfProxy(address string) {
	if l.refusals.add(address) {
		l.logger.Warn("limits.ip refuses one address more than all others together; if it is your proxy's, Logto takes it for everybody's",
			"address", address, "hint", "set TRUST_PROXY_HEADER=1 for Logto, or turn limits.ip off")
	}
}
