package smtp

import (
	"regexp"
	"time"
)

// What servers allow, found out by what they refuse.

// How many messages go through a connection if nobody has said. Exim accepts more,
// but leaves all beyond smtp_accept_queue_per_connection, which is 10 unless set, to
// its next queue run, half an hour later:
// https://www.exim.org/exim-html-current/doc/html/spec_html/ch-main_configuration.html
const (
	usualMessages = 1000
	eximMessages  = 10
)

// ofMessages are words of a 421 that ends a connection for its messages. Without them it is
// that of a server that restarts, or was not asked for long.
var ofMessages = regexp.MustCompile(`(?i)message|mails|transaction`)

// Two refusals after the same number of messages within sameLimit are a limit, which is
// kept to for limitHolds: then a connection may show again that more go through.
const (
	sameLimit  = 10 * time.Minute
	limitHolds = time.Hour
)

// learn notes after how many messages a connection took no more, while a fresh one
// did. Once may be chance, twice the same is a limit.
func (p *Pool) learn(carried int) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	now := time.Now()
	if p.refusedAfter == carried && now.Sub(p.refused) < sameLimit {
		p.mostMessages, p.learned = carried, now
	}
	p.refusedAfter, p.refused = carried, now
}

// maxMessages is how many messages a connection may carry, zero for any number.
func (p *Pool) maxMessages(s *session) int {
	most := p.config.MaxMessages
	switch {
	case most < 0:
		most = 0
	case most == 0 && s.isExim:
		most = eximMessages
	case most == 0:
		most = usualMessages
	}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.mostMessages > 0 && time.Since(p.learned) < limitHolds && (most == 0 || p.mostMessages < most) {
		return p.mostMessages
	}
	return most
}

// holdTime is how long places stay empty after the server refused a connection. One of
// them may be tried after probeTime: a server that was only tired for a moment takes it, and
// each that it takes frees two more.
const (
	holdTime  = 15 * time.Second
	probeTime = time.Second
	// refusedPause is how long one stays empty where there should be room: a connection may
	// still be on its way out.
	refusedPause = 100 * time.Millisecond
)

// holdPlaces makes the pool as small as the server wants it, after it refused a
// connection. The caller's place is one of those that stay empty then. It tells
// whether there are connections to wait for; without any the pool stays as it is.
func (p *Pool) holdPlaces() bool {
	connections := p.connections.Load()
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if connections == 0 || p.closed {
		return false
	}
	surplus := int64(p.config.MaxConnections) - connections - p.held
	if surplus < 1 { // the others' places are held already, and this one is waited with
		time.AfterFunc(refusedPause, func() { p.places.Release(1) })
		return true
	}
	if p.held == 0 {
		time.AfterFunc(probeTime, func() { p.freePlaces(1) })
		time.AfterFunc(holdTime, func() { p.freePlaces(int64(p.config.MaxConnections)) })
	}
	for p.held++; surplus > 1 && p.places.TryAcquire(1); surplus-- {
		p.held++
	}
	return true
}

// freePlaces lets up to n held places be used again.
func (p *Pool) freePlaces(n int64) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	n = min(n, p.held)
	p.held -= n
	p.places.Release(n)
}
