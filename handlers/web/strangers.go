package web

import (
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"

	"logto-email-relay/limits"
	"logto-email-relay/mail"
)

// Bounds for callers who have not shown that they may call.
var (
	// wrongValues is how many wrong Authorization values one network may send before
	// it is asked to wait.
	wrongValues = limits.Rate{Count: 20, Per: 10 * time.Minute}
	// toldOf is how often the log tells of a network that goes on all the same.
	toldOf = limits.Rate{Count: 1, Per: 10 * time.Minute}
	// strangersLines is how many lines all refused strangers together have in the log,
	// 30 MB a day at most.
	strangersLines = limits.Rate{Count: 600, Per: 10 * time.Minute}
)

// strangersKnown bounds the memory for their networks, at some 2 MB.
const strangersKnown = 1 << 16

// strangers bounds what callers cost who only have wrong values. A right one passes at
// any time and from any address, because Logto may share a proxy's with whoever
// attacks it. So this does not keep anybody from guessing: long tokens do.
type strangers struct {
	counter  *limits.Counter
	unlogged atomic.Int64 // refused requests since the last one in the log
}

func newStrangers() *strangers { return &strangers{counter: limits.NewCounter(strangersKnown)} }

// throttle returns what a request is refused with: for one wrong value too many the
// request to wait, else the failure that it has. Some services send no credentials
// before they are asked for them, so that having none counts for nothing.
func (s *strangers) throttle(c echo.Context, f *Failure) *Failure {
	if f.Reason != Unauthorized || c.Request().Header.Get("Authorization") == "" {
		return f
	}
	network := NetworkOf(c.RealIP())
	wait := s.counter.Take("wrong values of "+network, wrongValues)
	if wait == 0 {
		return f
	}
	throttled := &Failure{Reason: mail.RateLimited, RetryAfter: wait, Told: Unauthorized, Err: f,
		Detail: "too many wrong Authorization values from here: further ones are answered 429, and most are not logged; " + f.Detail}
	throttled.quiet = s.counter.Take("told of "+network, toldOf) > 0
	return throttled
}

// hasLine tells whether a refused request stands in the log, and how many before it
// do not.
func (s *strangers) hasLine(f *Failure) (has bool, unlogged int64) {
	if f.quiet || s.counter.Take("lines", strangersLines) > 0 {
		s.unlogged.Add(1)
		return false, 0
	}
	return true, s.unlogged.Swap(0)
}

// NetworkOf returns what one caller has for himself; the address as it is if it is
// none.
func NetworkOf(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return address
	}
	return limits.NetworkOf(ip)
}
