package limits

import (
	"cmp"
	"errors"
	"strconv"
	"strings"
	"time"

	"logto-email-relay/settings"
)

// Settings are the "limits" section.
type Settings struct {
	Rules
	// FoldPlusTags counts ada+1@ and ada+2@ as one recipient at every domain, as
	// they always are at Gmail.
	FoldPlusTags bool `json:"foldPlusTags"`
	// Redis is the URL of a Redis or Valkey in which replicas count together.
	Redis settings.Secret `json:"redis"`
}

// Rules are the limits themselves, the general ones or those of a route. What is
// not written is nil; what is written empty is off.
type Rules struct {
	// Recipient is how many mails one address gets.
	Recipient *Rate `json:"recipient"`
	// IP is how many mails one client address causes, of IPv6 one /64 network.
	IP *Rate `json:"ip"`
	// Domain is how many mails all recipients of one domain get.
	Domain *Rate `json:"domain"`
	// Total is how many mails there are.
	Total *Rate `json:"total"`
}

// With lays limits of a route over the general ones.
func (r Rules) With(own *Rules) Rules {
	if own == nil {
		return r
	}
	return Rules{cmp.Or(own.Recipient, r.Recipient), cmp.Or(own.IP, r.IP), cmp.Or(own.Domain, r.Domain), cmp.Or(own.Total, r.Total)}
}

// String lists the limits as an operator writes them.
func (r Rules) String() string {
	var all []string
	for _, limit := range []struct {
		key  string
		rate *Rate
	}{{"recipient", r.Recipient}, {"ip", r.IP}, {"domain", r.Domain}, {"total", r.Total}} {
		if limit.rate != nil && limit.rate.Count > 0 {
			all = append(all, limit.key+" "+limit.rate.String())
		}
	}
	return strings.Join(all, ", ")
}

// DefaultSettings are Logto's own bound, 10 mails to a recipient in 10 minutes.
func DefaultSettings() Settings {
	return Settings{Rules: Rules{Recipient: &Rate{10, 10 * time.Minute}}}
}

// Check wants the address of a Redis.
func (s *Settings) Check() []settings.Problem {
	if url := s.Redis.Reveal(); url != "" {
		if _, err := parseServer(url); err != nil {
			return []settings.Problem{{Key: "redis", Text: `write an address such as "redis://:${REDIS_PASSWORD}@redis.example.com:6379/0", with a password behind a colon if there is an @, special characters of it percent-encoded (/ as %2F); rediss:// is for TLS`}}
		}
	}
	return nil
}

// Rate is how many in which time, "10/10m". The zero Rate is no limit.
type Rate struct {
	Count int
	Per   time.Duration
}

// UnmarshalText reads a number and a time; an empty text is no limit.
func (r *Rate) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*r = Rate{}
		return nil
	}
	number, span, _ := strings.Cut(string(text), "/")
	count, err := strconv.ParseUint(number, 10, 32)
	var per settings.Duration
	if err != nil || per.UnmarshalText([]byte(span)) != nil || count == 0 || per == 0 {
		return errors.New(`write a number and a time such as "10/10m"`)
	}
	*r = Rate{int(count), time.Duration(per)}
	if r.interval() < time.Microsecond {
		return errors.New("write at most a million a second")
	}
	return nil
}

// String writes a rate as UnmarshalText reads it.
func (r Rate) String() string {
	span := r.Per.String()
	for _, nothing := range []string{"m0s", "h0m"} { // 10m0s is 10m
		if rest, found := strings.CutSuffix(span, nothing); found {
			span = rest + nothing[:1]
		}
	}
	return strconv.Itoa(r.Count) + "/" + span
}

// interval is the time in which there is room for one more.
func (r Rate) interval() time.Duration { return r.Per / time.Duration(r.Count) }
