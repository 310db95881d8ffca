package limits_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"logto-email-relay/limits"
	"logto-email-relay/mail"
	"logto-email-relay/settings"
)

// log is a log that many goroutines write.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *log) count(words string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), words)
}

func (l *log) logger() *slog.Logger { return slog.New(slog.NewJSONHandler(l, nil)) }

func rate(t testing.TB, text string) *limits.Rate {
	t.Helper()
	r := new(limits.Rate)
	if err := r.UnmarshalText([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return r
}

func limiter(t testing.TB, s limits.Settings) *limits.Limiter {
	t.Helper()
	l, err := limits.New(s, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close(nil) })
	return l
}

func rules(t testing.TB, recipient, ip, domain, total string) limits.Rules {
	return limits.Rules{Recipient: rate(t, recipient), IP: rate(t, ip), Domain: rate(t, domain), Total: rate(t, total)}
}

func to(address string) limits.Mail { return limits.Mail{To: address} }

// passed counts how many of some mails in a row are let through.
func passed(t testing.TB, l *limits.Limiter, mails int, m limits.Mail) (n int) {
	t.Helper()
	for range mails {
		if l.Take(t.Context(), m) == nil {
			n++
		}
	}
	return n
}

func TestALimitRefillsEvenly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limiter(t, limits.DefaultSettings())
		ada := to("ada@example.org")
		if n := passed(t, l, 14, ada); n != 10 {
			t.Fatalf("%d of 14 passed", n)
		}
		if n := passed(t, l, 14, to("bob@example.org")); n != 10 {
			t.Fatalf("%d of 14 to another passed", n)
		}
		r := l.Take(t.Context(), ada)
		if r == nil || r.Limit != "limits.recipient" || r.Wait != time.Minute {
			t.Fatalf("refused by %+v", r)
		}
		time.Sleep(59 * time.Second)
		if r := l.Take(t.Context(), ada); r == nil || r.Wait != time.Second {
			t.Fatalf("after 59 s: %+v", r)
		}
		time.Sleep(time.Second)
		if n := passed(t, l, 3, ada); n != 1 {
			t.Errorf("%d of 3 passed after the wait: refusals must not count", n)
		}
		time.Sleep(3*time.Minute + 30*time.Second)
		if n := passed(t, l, 9, ada); n != 3 {
			t.Errorf("%d of 9 passed after three and a half minutes", n)
		}
		time.Sleep(24 * time.Hour)
		if n := passed(t, l, 14, ada); n != 10 {
			t.Errorf("%d of 14 passed a day later", n)
		}
	})
}

func TestAMailCountsForAllLimitsOrForNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limiter(t, limits.Settings{Rules: rules(t, "2/10m", "", "4/10m", "5/20m")})
		if n := passed(t, l, 50, to("ada@example.org")); n != 2 {
			t.Errorf("%d to one recipient", n)
		}
		if n := passed(t, l, 1, to("bob@example.org")) + passed(t, l, 50, to("eve@example.org")); n != 2 {
			t.Errorf("%d more to one domain", n)
		}
		if n := passed(t, l, 1, to("ada@example.net")) + passed(t, l, 1, to("bob@example.net")); n != 1 {
			t.Errorf("%d more at all", n)
		}
		// Two limits refuse; the wait is that of the stricter one.
		if r := l.Take(t.Context(), to("ada@example.org")); r == nil || r.Limit != "limits.recipient" || r.Wait != 5*time.Minute {
			t.Errorf("refused by %+v", r)
		}
		if r := l.Take(t.Context(), to("cy@example.com")); r == nil || r.Limit != "limits.total" || r.Wait != 4*time.Minute {
			t.Errorf("refused by %+v", r)
		}
	})
}

func TestWhoseMailsCountTogether(t *testing.T) {
	ip := func(text string) limits.Mail { return limits.Mail{To: "x@example.org", IP: text} }
	invitation := ip("198.51.100.7")
	invitation.Invitation = true
	byRecipient := limits.Settings{Rules: limits.Rules{Recipient: rate(t, "1/1h")}}
	byIP := limits.Settings{Rules: limits.Rules{IP: rate(t, "1/1h")}}
	folding := byRecipient
	folding.FoldPlusTags = true
	for name, test := range map[string]struct {
		settings    limits.Settings
		first, next limits.Mail
		together    bool
	}{
		"case":                        {byRecipient, to("Ada@example.org"), to("aDA@example.org"), true},
		"case beyond ASCII":           {byRecipient, to("ÄDA@example.org"), to("äda@example.org"), true},
		"a dot":                       {byRecipient, to("a.da@example.org"), to("ada@example.org"), false},
		"Gmail's dots":                {byRecipient, to("a.d.a@gmail.com"), to("ada@gmail.com"), true},
		"one or two characters":       {byRecipient, to("zo\u00eb@example.org"), to("ZOE\u0308@example.org"), true},
		"Gmail's tags":                {byRecipient, to("ada+1@gmail.com"), to("ADA+2@googlemail.com"), true},
		"tags":                        {byRecipient, to("ada+1@example.org"), to("ada+2@example.org"), false},
		"tags, folded":                {folding, to("ada+1@example.org"), to("ada+2@example.org"), true},
		"a tag alone":                 {folding, to("+1@example.org"), to("+2@example.org"), false},
		"dots with tags folded":       {folding, to("a.da@example.org"), to("ada@example.org"), false},
		"one IPv4 address":            {byIP, ip("198.51.100.7"), ip("198.51.100.7"), true},
		"its neighbour":               {byIP, ip("198.51.100.7"), ip("198.51.100.8"), false},
		"IPv4 in IPv6":                {byIP, ip("198.51.100.7"), ip("::ffff:198.51.100.7"), true},
		"a network of IPv6":           {byIP, ip("2001:db8:1:2::7"), ip("2001:db8:1:2:ffff::8"), true},
		"a zone":                      {byIP, ip("2001:db8:1:2::7%eth0"), ip("2001:db8:1:2::7"), true},
		"another network":             {byIP, ip("2001:db8:1:2::7"), ip("2001:db8:1:3::7"), false},
		"a private address":           {byIP, ip("10.1.2.3"), ip("10.1.2.3"), false},
		"a private address, mapped":   {byIP, ip("::ffff:192.168.1.2"), ip("::ffff:192.168.1.2"), false},
		"a provider's shared address": {byIP, ip("100.64.1.2"), ip("100.64.1.2"), false},
		"a unique local address":      {byIP, ip("fd00::1"), ip("fd00::1"), false},
		"a link-local address":        {byIP, ip("fe80::1%eth0"), ip("fe80::1%eth0"), false},
		"the loopback address":        {byIP, ip("127.0.0.1"), ip("127.0.0.1"), false},
		"no address":                  {byIP, to("x@example.org"), to("x@example.org"), false},
		"a port":                      {byIP, ip("198.51.100.7:51234"), ip("198.51.100.7"), true},
		"a port behind IPv6":          {byIP, ip("[2001:db8:1:2::7]:443"), ip("2001:db8:1:2::7"), true},
		"markup":                      {byIP, ip("<script>"), ip("<script>"), false},
		"two addresses":               {byIP, ip("198.51.100.7, 198.51.100.8"), ip("198.51.100.7, 198.51.100.8"), false},
		"half an address":             {byIP, ip("198.51.100"), ip("198.51.100"), false},
		"invitations":                 {byIP, invitation, invitation, false},
	} {
		t.Run(name, func(t *testing.T) {
			l := limiter(t, test.settings)
			if l.Take(t.Context(), test.first) != nil {
				t.Fatal("the first one is refused")
			}
			if refused := l.Take(t.Context(), test.next) != nil; refused != test.together {
				t.Errorf("refused: %v", refused)
			}
		})
	}
}

func TestARouteCountsForItself(t *testing.T) {
	l := limiter(t, limits.Settings{Rules: rules(t, "3/1h", "", "", "100/1h")})
	ada, routed := to("ada@example.org"), to("ada@example.org")
	routed.Route, routed.RouteKey, routed.Own = 1, "a", &limits.Rules{Total: rate(t, "2/1h")}
	// The general limit of recipients holds on the route too.
	if n := passed(t, l, 1, ada) + passed(t, l, 5, routed); n != 3 {
		t.Errorf("%d to one recipient", n)
	}
	routed.To = "bob@example.org"
	if r := l.Take(t.Context(), routed); r == nil || r.Limit != "routes[1].limits.total" {
		t.Errorf("refused by %+v", r)
	}
	routed.Own = &limits.Rules{Recipient: new(limits.Rate), Total: new(limits.Rate)}
	if n := passed(t, l, 20, routed); n != 20 {
		t.Errorf("%d of 20 passed without limits", n)
	}
}

// Where a route stands changes as others come and go. Its count stays its own.
func TestARouteKeepsItsCount(t *testing.T) {
	l := limiter(t, limits.Settings{})
	own := &limits.Rules{Total: rate(t, "2/1h")}
	a := limits.Mail{To: "ada@example.org", Route: 0, RouteKey: "a", Own: own}
	b := limits.Mail{To: "ada@example.org", Route: 1, RouteKey: "b", Own: own}
	if n := passed(t, l, 3, a) + passed(t, l, 1, b); n != 3 {
		t.Errorf("%d passed", n)
	}
	b.Route = 0 // a is taken out
	if n := passed(t, l, 3, b); n != 1 {
		t.Errorf("%d more of b's passed", n)
	}
	a.Route = 1 // and put behind it
	if r := l.Take(t.Context(), a); r == nil || r.Limit != "routes[1].limits.total" {
		t.Errorf("refused by %+v", r)
	}
}

func TestAReloadForgetsNothing(t *testing.T) {
	before := limiter(t, limits.DefaultSettings())
	passed(t, before, 8, to("ada@example.org"))
	after, err := limits.New(limits.DefaultSettings(), before, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if n := passed(t, after, 14, to("ada@example.org")); n != 2 {
		t.Errorf("%d passed after 8 before", n)
	}
}

func TestManyAtATimeAreCountedExactly(t *testing.T) {
	l := limiter(t, limits.Settings{Rules: rules(t, "10/1h", "", "", "")})
	if n := together(t, 14, l); n != 10 {
		t.Errorf("%d of 14 passed", n)
	}
}

// together lets some mails to one recipient go through limiters at the same time.
func together(t testing.TB, mails int, over ...*limits.Limiter) (passed int) {
	t.Helper()
	results := make(chan bool, mails)
	address := mail.NewID() + "@example.org"
	for i := range mails {
		go func() { results <- over[i%len(over)].Take(t.Context(), to(address)) == nil }()
	}
	for range mails {
		if <-results {
			passed++
		}
	}
	return passed
}

// A flood of recipients neither fills the memory nor frees the one who is bombed.
func TestMemoryIsBounded(t *testing.T) {
	before := heapInUse()
	l := limiter(t, limits.Settings{Rules: rules(t, "10/10h", "", "", "")})
	bombed := to("ada@example.org")
	passed(t, l, 10, bombed)
	const million = 1_000_000
	for i := range 2 * million {
		if l.Take(t.Context(), to(fmt.Sprintf("%d@example.org", i))) != nil {
			t.Fatalf("recipient %d is refused", i)
		}
		if i%100_000 == 0 && l.Take(t.Context(), bombed) == nil {
			t.Errorf("the bombed one gets a mail after %d others", i)
		}
		if i == million {
			if n := passed(t, l, 10, to("1@example.org")); n > 9 {
				t.Errorf("the first of a million is forgotten: %d of 10 passed", n)
			}
			if used := heapInUse() - before; used > 26e6 {
				t.Errorf("a million keys take %d bytes", used)
			} else {
				t.Logf("%d bytes a key at a million", used/million)
			}
		}
	}
	if used := heapInUse() - before; used > 26e6 {
		t.Errorf("after two million keys: %d bytes", used)
	}
	runtime.KeepAlive(l)
}

// What is forgotten after a limit's period is over anyway, and nothing else is.
func TestWhatIsCountedIsKeptForItsPeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limiter(t, limits.Settings{Rules: rules(t, "2/1h", "", "", "")})
		passed(t, l, 1, to("before@example.org"))
		time.Sleep(61 * time.Minute)
		passed(t, l, 2, to("ada@example.org"))
		for i := range 10 {
			passed(t, l, 1, to(fmt.Sprintf("%d@example.org", i)))
		}
		if n := passed(t, l, 2, to("ada@example.org")); n != 0 {
			t.Errorf("%d of 2 passed after 2 before", n)
		}
	})
}

func TestMostRefusalsOfOneAddressAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told log
		l, err := limits.New(limits.Settings{Rules: limits.Rules{IP: rate(t, "1/10h")}}, nil, told.logger())
		if err != nil {
			t.Fatal(err)
		}
		refuse := func(times int, ip string) {
			passed(t, l, times+1, limits.Mail{To: "x@example.org", IP: ip})
		}
		const words = "more than all others together"
		for i := range 30 { // an attack from many addresses
			refuse(2, fmt.Sprintf("198.51.100.%d", i))
		}
		if told.count(words) != 0 {
			t.Error("told without reason")
		}
		refuse(100, "203.0.113.9")
		if told.count(words) != 1 || told.count("203.0.113.9") != 1 {
			t.Errorf("told %d times:\n%s", told.count(words), &told.text)
		}
		time.Sleep(time.Hour)
		if refuse(100, "203.0.113.9"); told.count(words) != 1 {
			t.Errorf("told %d times within an hour", told.count(words))
		}
		time.Sleep(2 * time.Hour)
		passed(t, l, 19, limits.Mail{To: "x@example.org", IP: "203.0.113.9"})
		if told.count(words) != 1 {
			t.Error("told of a few refusals")
		}
		if passed(t, l, 1, limits.Mail{To: "x@example.org", IP: "203.0.113.9"}); told.count(words) != 2 {
			t.Errorf("told %d times after 20 refusals in another hour", told.count(words))
		}
		time.Sleep(2 * time.Hour)
		for _, refused := range []struct {
			times int
			ip    string
		}{{1, "198.51.100.1"}, {1, "198.51.100.2"}, {10, "203.0.113.9"}, {9, "198.51.100.3"}, {1, "203.0.113.9"}} {
			passed(t, l, refused.times, limits.Mail{To: "x@example.org", IP: refused.ip})
		}
		if told.count(words) != 2 {
			t.Error("told of half of the refusals")
		}
	})
}

func TestRates(t *testing.T) {
	for text, want := range map[string]limits.Rate{
		"": {}, "10/10m": {10, 10 * time.Minute}, "1/30d": {1, 30 * 24 * time.Hour}, "1/1h30m": {1, 90 * time.Minute}, "1000000/1s": {1_000_000, time.Second},
		"2/90s": {2, 90 * time.Second}, "3/10h": {3, 10 * time.Hour}, "4/20m": {4, 20 * time.Minute},
	} {
		got := *rate(t, text)
		if got != want {
			t.Errorf("%q is %+v", text, got)
		}
		if written := got.String(); want.Count > 0 && (*rate(t, written) != want || strings.HasSuffix(written, "m0s")) {
			t.Errorf("%q is written %q", text, written)
		}
	}
	for _, text := range []string{"10", "10/", "10/10", "/10m", "0/10m", "10/0s", "-1/10m", "+1/10m", "10/-1m", "10 / 10m", "ten/10m", "1000001/1s", "99999999999/1h"} {
		if new(limits.Rate).UnmarshalText([]byte(text)) == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

// A route's limits are those that it has itself, and the general ones for the rest.
func TestRulesOfARoute(t *testing.T) {
	general := limits.Rules{Recipient: rate(t, "10/10m"), Domain: rate(t, "5/1h")}
	for want, own := range map[string]*limits.Rules{
		"recipient 10/10m, domain 5/1h":           nil,
		"recipient 2/1m, domain 5/1h, total 9/1h": {Recipient: rate(t, "2/1m"), Total: rate(t, "9/1h")},
		"ip 1/1s, domain 5/1h":                    {Recipient: rate(t, ""), IP: rate(t, "1/1s")},
	} {
		if got := general.With(own).String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestTheRedisHasToBeAnAddress(t *testing.T) {
	for url, good := range map[string]bool{
		"": true, "redis://localhost": true, "rediss://:p@redis.example.com:6380/1": true, "unix:///run/redis.sock": true,
		"redis://relay:p@[::1]:6379": true, "unix://:p@/run/redis.sock?db=2": true, "unix://": false, "redis://localhost/one": false,
		"redis://one:6379,two:6379": false, "redis://:p@ss#w0rd@x": false, "redis://:p@ss?w0rd@x": false, "redis://:p@1/w0rd@x": false, "redis://:12?w0rd@x": false,
		"redis://:p@s.s?w0rd@x": false, "redis://:p%40ss%23w0rd@x": true, "redis://:6379": true, "redis://:p@ss@x": true, "redis://localhost?db=-1": false, "redis://:never-print-this@x:70000": false,
		"redis://never-print-this@x": false, "rediss://relay:@x": false, "unix://never-print-this@/run/redis.sock": false,
		"localhost:6379": false, "redis:6379": false, "http://:never-print-this@x": false, "redis://:never-print-this@x:y": false,
	} {
		s := limits.Settings{Redis: settings.NewSecret(url)}
		problems := s.Check()
		if (len(problems) == 0) != good || strings.Contains(fmt.Sprint(problems), "never-print-this") {
			t.Errorf("%q: %v", url, problems)
		}
	}
}

func FuzzRate(f *testing.F) {
	f.Add("10/10m")
	f.Fuzz(func(t *testing.T, text string) {
		var r limits.Rate
		if r.UnmarshalText([]byte(text)) == nil && r != (limits.Rate{}) && (r.Count < 1 || r.Per/time.Duration(r.Count) < time.Microsecond) {
			t.Errorf("%q is %+v", text, r)
		}
	})
}

func FuzzMail(f *testing.F) {
	f.Add("a.d.a+1@gmail.com", "203.0.113.7:51234")
	f.Add("@", "[fe80::1%eth0]:1")
	l := limiter(f, limits.Settings{Rules: rules(f, "1000000/1s", "1000000/1s", "1000000/1s", ""), FoldPlusTags: true})
	f.Fuzz(func(t *testing.T, to, ip string) { l.Take(t.Context(), limits.Mail{To: to, IP: ip}) })
}
