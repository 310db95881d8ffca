package providers

import (
	"bytes"
	"cmp"
	"encoding/json"
	"math"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"time"

	"logto-email-relay/mail"
)

// What an answer means where the service's own table says no more.

const (
	// soonest is how long a service is left alone that says it may be asked again now.
	soonest = 300 * time.Millisecond
	// maxRetryAfter bounds how long a service can ask to be left alone.
	maxRetryAfter = time.Hour
)

// refusal returns nil if the service answered 2xx, and otherwise the failure.
// The service's own table says what an answer means; where it says nothing (a
// zero Kind), the status does. err is what the client returned.
func (x *exchange) refusal(m *mail.Message, err error, table func(*exchange) Error) *Error {
	if x.status == 0 {
		return x.networkError(err)
	}
	if x.is2xx() {
		return nil
	}
	return x.failure(m, err, table(x))
}

// is2xx tells whether the status is one of success.
func (x *exchange) is2xx() bool { return x.status/100 == 2 }

// verdict is refusal for a request of Verify, where there is no mail that could
// be at fault or on its way.
func (x *exchange) verdict(err error, table func(*exchange) Error) *Error {
	e := x.refusal(nil, err, table)
	if e == nil {
		return nil
	}
	switch e.Kind {
	case Uncertain:
		e.Kind = Temporary
	case Recipient, Content:
		e.Kind = Configuration
	}
	return e
}

// unfit is a 2xx to a request of Verify that lets no mail through.
func (x *exchange) unfit(detail, hint string) *Error {
	return x.finish(nil, Error{Kind: Configuration, Detail: detail, Hint: hint})
}

// foreign is a 2xx to another request than that of a mail, which is not the service's.
func (x *exchange) foreign() *Error {
	return x.unfit("the answer is not the API's", "check endpoint")
}

// failure completes what a service's table said of an answer.
func (x *exchange) failure(m *mail.Message, err error, e Error) *Error {
	if e.Kind == 0 {
		e.Kind = x.kindOfStatus()
		// With the service's own words a 502 says that the service failed. With anything else it
		// is a proxy in front of it, which cannot know.
		if x.status == http.StatusBadGateway && (!x.isObject() || e.Code+e.Detail == "") {
			e.Kind = Uncertain
		}
		if e.Kind == Content && (isAboutOperator(e.Detail) || refusesAddress(e.Detail)) {
			e.Kind = Configuration
			e.Hint = cmp.Or(e.Hint, "see what it says of the sender, its domain or the account")
		}
		e.Filtered = e.Kind == Content // what a status says of the mail may be about anything else
		if x.status == http.StatusNotFound {
			e.Hint = cmp.Or(e.Hint, "the service knows no such path: check endpoint, or url")
		}
		// The page of a proxy or a firewall may be about this mail alone, or gone in a moment.
		e.Unplaced = e.Kind == Configuration && x.isPage()
	}
	if x.status/100 == 3 {
		e = Error{Kind: Configuration, Hint: "the service redirects elsewhere; check endpoint"}
	}
	e.Err = err
	return x.finish(m, e)
}

// finish gives an error what all errors of an answer have, and takes from it
// what a log must not hold.
func (x *exchange) finish(m *mail.Message, e Error) *Error {
	e.Stage = x.method
	if !isMachineWord(e.Code) || x.quotesLogin(e.Code) || m != nil && PrivateOf(m).isQuotedIn(e.Code) {
		e.Code = strconv.Itoa(x.status)
	}
	if e.Detail == "" && isStatus(e.Code) {
		e.Detail = http.StatusText(x.status)
	}
	if coding := x.header.Get("Content-Encoding"); coding != "" && !x.isJSONOrEmpty() {
		e.Detail = "the answer came in the coding " + coding + ", which was not asked for and is not read"
	}
	e.Detail = redactFor(m, e.Detail, x.logins)
	switch {
	case e.Quota:
		e.Hint = cmp.Or(e.Hint, "the quota is spent: raise it at the service, or add another provider")
	case e.Kind == RateLimited && m != nil:
		e.Hint = cmp.Or(e.Hint, "the service throttles: set maxConcurrent lower, or have the rate raised there")
	}
	if e.RetryAfter == 0 && (e.Kind == RateLimited || e.Kind == Temporary) {
		e.RetryAfter = retryAfter(x.header.Get("Retry-After"), time.Now())
	}
	e.RetryAfter = min(e.RetryAfter, maxRetryAfter)
	if e.Kind == Recipient && !e.Suppressed && m != nil && !plainLocalPart.MatchString(m.To) {
		e.Filtered = true // services have rules of their own for such addresses
	}
	e.isUnknownToProxy = x.status == http.StatusNotFound && x.isPage()
	e.Momentary = e.Kind == Temporary && slices.Contains(away, x.status)
	if e.Momentary && e.RetryAfter == soonest {
		e.RetryAfter = 0 // which is heeded once, while this is asked as often as the time allows
	}
	return &e
}

// plainLocalPart is one that every service knows as good. Aliyun takes no other from anybody:
// https://developer.aliyun.com/ask/278330
var plainLocalPart = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*@`)

// away are the statuses of a service that did not take a request up; those over 511 are
// Cloudflare's, which could not connect to it.
var away = []int{http.StatusServiceUnavailable, http.StatusMisdirectedRequest, http.StatusTooEarly, 521, 523}

// isMachineWord tells whether a code may stand in a log as it is. Its length is no part
// of the expression, which would take 50 KB.
func isMachineWord(code string) bool { return len(code) <= 64 && machineWord.MatchString(code) }

var machineWord = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9._-]*|\d{3}( [A-Za-z0-9._-]+)?)$`)

// unreadable is a 2xx without what the service documents to come with it. The
// mail may be on its way.
func (x *exchange) unreadable(m *mail.Message) *Error {
	return x.finish(m, Error{Kind: Uncertain, Detail: "the answer does not hold the id of the message"})
}

// calmDown is 429 from before there was one. Mailgun still answers it where a domain is over
// its limit: https://github.com/mailgun/mailgun-java/issues/50
const calmDown = 420

// kindOfStatus is what a status means where the service does not say more. Of a 502 failure
// knows better.
func (x *exchange) kindOfStatus() Kind {
	switch x.status {
	case http.StatusSwitchingProtocols: // whatever it is that answers
		return Uncertain
	case http.StatusRequestTimeout, http.StatusTooEarly:
		return Temporary
	case http.StatusMisdirectedRequest:
		if x.isObject() { // MailerSend under maintenance, and no proxy that does not know the host
			return Temporary
		}
	case http.StatusRequestEntityTooLarge:
		return Content
	case http.StatusOK, http.StatusBadRequest, http.StatusConflict, http.StatusUnprocessableEntity:
		if x.isObject() { // the service itself, and nothing in front of it
			return Content
		}
	case http.StatusTooManyRequests, calmDown:
		return RateLimited
	case http.StatusGatewayTimeout, 520, 524: // the last two are Cloudflare's
		return Uncertain // by definition of something that had no answer in time
	case http.StatusServiceUnavailable:
		if lostUpstream.Match(x.body) && !unsentUpstream.Match(x.body) {
			return Uncertain
		}
	}
	if x.status >= 500 {
		return Temporary
	}
	return Configuration
}

// What gateways (Envoy, Varnish, Fastly, Heroku and Akamai) say under 503 when the service behind
// them closed the connection while it had the request. unsentUpstream is what Envoy says when
// the connection was never made, so that the service had nothing.
var (
	lostUpstream   = regexp.MustCompile(`(?i)reset before headers|backend (fetch failed|read error)|first byte timeout|herokucdn\.com/error-pages/application-error|zero size object`)
	unsentUpstream = regexp.MustCompile(`(?i)reset before headers\W+reset reason: (remote |local )?(connection (failure|timeout)|overflow|refused stream)`)
)

// isObject tells whether the answer is a JSON object.
func (x *exchange) isObject() bool {
	var object map[string]json.RawMessage
	return json.Unmarshal(x.body, &object) == nil && object != nil
}

// isPage tells whether a refusal is that of a proxy or a firewall in front of the API, as far
// as that can be told. Services refuse a key in any form.
func (x *exchange) isPage() bool {
	return x.status != http.StatusUnauthorized && (!x.isObject() || noRoute.Match(x.body))
}

// noRoute is what Kong, Apache APISIX, Amazon's API Gateway, Railway, Spring and ASP.NET say in
// JSON of a path that they know no service for, as while they load their routes:
// https://github.com/Kong/kubernetes-ingress-controller/issues/861
// https://github.com/apache/apisix/issues/8134
// https://docs.spring.io/spring-boot/reference/web/servlet.html#web.servlet.spring-mvc.error-handling
// https://learn.microsoft.com/en-us/aspnet/core/web-api/handle-errors
var noRoute = regexp.MustCompile(`(?i)no route matched|404 route not found|application not found|"(error|title)"\s*:\s*"not found"|^\s*\{\s*"message"\s*:\s*"not found"\s*\}\s*$`)

// isJSONOrEmpty is the least to ask of an answer that has to have nothing in it:
// the pages of proxies and portals are neither.
func (x *exchange) isJSONOrEmpty() bool {
	return json.Valid(x.body) || len(bytes.TrimSpace(x.body)) == 0
}

// read decodes the answer; what is not JSON leaves the target as it is.
func (x *exchange) read(target any) { _ = json.Unmarshal(x.body, target) }

// retryAfter reads the header of that name in both of its forms, seconds and
// HTTP date (RFC 9110, 10.2.3); zero if it holds neither. Some services have fractions.
func retryAfter(value string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseFloat(value, 64); err == nil && !math.IsNaN(seconds) {
		seconds = math.Ceil(min(max(seconds, 0), maxRetryAfter.Seconds()))
		return max(time.Duration(seconds)*time.Second, soonest)
	}
	if date, err := http.ParseTime(value); err == nil {
		return min(max(date.Sub(now), soonest), maxRetryAfter)
	}
	return 0
}
