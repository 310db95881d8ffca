// Package limits counts mails against abuse: how many one recipient gets, and how
// many one client address, all recipients of a domain and everybody together may
// cause in a time.
//
// # Counting
//
// A limit such as "10/10m" lets 10 mails through at once and refills evenly, one
// a minute. That is GCRA, the leaky bucket of ATM networks, whose whole state is
// one moment: when the bucket will be empty again. A mail is held against all
// limits together. It either counts for each of them or, if one refuses it, for
// none: somebody who keeps asking does not wait longer for that. A mail that was
// let through counts whatever becomes of it.
//
// # Where
//
// In memory (memory.go), or in a Redis that replicas share (redis.go). What Redis
// counts is counted in memory too, so that a Redis that fails in the middle of an
// attack does not give the attacker a new start.
package limits

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"time"

	"logto-email-relay/mail"
)

// Mail is what the limits have to know of a mail.
type Mail struct {
	// To is the recipient, as mail.ParseRecipient returns it.
	To string
	// IP is the address of whoever asked for the mail as Logto gave it, which may be
	// any text.
	IP string
	// Invitation tells that the mail was sent on behalf of somebody else than its
	// reader, by a server of the operator's, whose address says nothing.
	Invitation bool
	// Route is the route of the mail as an index, and Own the limits that it has itself;
	// nil if none. RouteKey is what is counted under: that of a route stays the same where
	// others come and go.
	Route    int
	RouteKey string
	Own      *Rules
}

// Refusal is why a mail may not be sent now.
type Refusal struct {
	// Limit is the key of the limit in the configuration.
	Limit string
	// Wait is how long it takes until there is room again.
	Wait time.Duration
}

// Limiter counts mails. It is safe for use by many goroutines at a time.
type Limiter struct {
	settings Settings
	memory   *memory
	redis    *shared // nil where there is none
	refusals *refusals
	logger   *slog.Logger
}

// New makes a limiter from checked settings. It goes on from the counts of an
// earlier one, if there is one, and over the same connections to Redis.
func New(s Settings, earlier *Limiter, logger *slog.Logger) (*Limiter, error) {
	l := &Limiter{settings: s, logger: logger}
	if earlier != nil {
		l.memory, l.refusals = earlier.memory, earlier.refusals
	} else {
		l.memory, l.refusals = newMemory(maxKeys), new(refusals)
	}
	url := s.Redis.Reveal()
	switch {
	case url == "":
	case earlier != nil && earlier.redis != nil && earlier.redis.url == url:
		l.redis = earlier.redis
	default:
		var err error
		if l.redis, err = newShared(url, logger); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// Close lets go of the connections to Redis, unless the next limiter has them.
func (l *Limiter) Close(next *Limiter) error {
	if l == nil || l.redis == nil || next != nil && next.redis == l.redis {
		return nil
	}
	return l.redis.pool.Close()
}

// IsShared tells whether the counts are meant to be in a Redis, and alone, if they are not
// for now, why.
func (l *Limiter) IsShared() (shared bool, alone string) {
	if l == nil || l.redis == nil {
		return false, ""
	}
	if why := l.redis.why.Load(); l.redis.failed.Load() && why != nil {
		l.redis.lookAgain() // though no mail comes
		alone = *why
	}
	return true, alone
}

// CheckRedis asks Redis as a mail would, within two seconds, and returns why it cannot be used;
// nil if it can, or if there is none.
func (l *Limiter) CheckRedis() error {
	if l == nil || l.redis == nil {
		return nil
	}
	if err := l.redis.probe(); err != nil {
		return errors.New(l.redis.words(err))
	}
	return nil
}

// count is one limit as it concerns one mail. Equal ones have one counter, so that
// a limit that is changed begins anew.
type count struct {
	// limit is its key in the configuration, and route the RouteKey for one that a route has
	// itself. of is which of its counters it is: an address, a domain.
	limit, route, of string
	rate             Rate
}

// mostCounts is how many limits a mail is held against: one of each key.
const mostCounts = 4

// none is the index of no count.
const none = -1

// Take counts a mail against all limits, or returns why it may not be sent now.
func (l *Limiter) Take(ctx context.Context, m Mail) *Refusal {
	var room [mostCounts]count
	counts := l.counts(room[:0], &m)
	if len(counts) == 0 {
		return nil
	}
	refused, wait, known := none, time.Duration(0), false
	if l.redis != nil {
		if refused, wait, known = l.redis.take(ctx, counts); known && refused == none {
			l.memory.add(counts)
		}
	}
	if !known {
		refused, wait = l.memory.take(counts)
	}
	if refused == none {
		return nil
	}
	exceeded := &counts[refused]
	if exceeded.limit == byIP {
		l.warnOfProxy(exceeded.of)
	}
	limit := exceeded.limit
	if exceeded.route != "" {
		limit = "routes[" + strconv.Itoa(m.Route) + "]." + limit
	}
	return &Refusal{Limit: limit, Wait: wait}
}

// The keys of the limits.
const (
	byRecipient = "limits.recipient"
	byIP        = "limits.ip"
	byDomain    = "limits.domain"
	inTotal     = "limits.total"
)

// counts lists the limits that a mail is held against. A route's own limit takes
// the place of the general one, and counts the mails of this route alone.
func (l *Limiter) counts(list []count, m *Mail) []count {
	general, own := &l.settings.Rules, m.Own
	if own == nil {
		own = &Rules{}
	}
	for _, limit := range [mostCounts]struct {
		key          string
		general, own *Rate
	}{
		{byRecipient, general.Recipient, own.Recipient},
		{byIP, general.IP, own.IP},
		{byDomain, general.Domain, own.Domain},
		{inTotal, general.Total, own.Total},
	} {
		rate, route := limit.general, ""
		if limit.own != nil {
			rate, route = limit.own, m.RouteKey
		}
		if rate == nil || rate.Count == 0 {
			continue
		}
		if of := l.counterOf(limit.key, m); of != "" {
			list = append(list, count{limit.key, route, of, *rate})
		}
	}
	return list
}

// counterOf returns which of a limit's counters a mail counts in; empty for none.
func (l *Limiter) counterOf(limit string, m *Mail) string {
	switch limit {
	case byRecipient:
		return mailbox(m.To, l.settings.FoldPlusTags)
	case byIP:
		if m.Invitation {
			return ""
		}
		return network(m.IP)
	case byDomain:
		return mail.Domain(m.To)
	}
	return "everybody"
}
