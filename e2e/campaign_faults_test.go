package e2e_test

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/http"
	"strings"
)

// manner is how a fault server misbehaves once it has got as far as a stage.
type manner string

const (
	answers    manner = "answers"    // with the reply of the fault, and goes on
	resets     manner = "resets"     // sends RST
	hangsUp    manner = "hangs up"   // sends FIN
	stalls     manner = "stalls"     // says nothing more, until the other side gives up
	babbles    manner = "babbles"    // says what is no reply
	floods     manner = "floods"     // begins a reply that has no end
	dawdles    manner = "dawdles"    // does what it should, but slowly
	drips      manner = "drips"      // says what it should, a few bytes at a time
	misnames   manner = "misnames"   // shows the certificate of another host
	offersNone manner = "offers not" // leaves the extension out of EHLO
	confirms   manner = "confirms"   // says what it should, then resets
)

// fault is one thing that a server does wrong.
type fault struct {
	at    string // the stage
	how   manner
	reply string // what it answers; for HTTP the head and body after the status
	// kept tells that the server keeps the mail, though nothing says so.
	kept bool
}

// cutShort marks an answer that ends before it should.
const cutShort = `{"cut`

// String names the fault in the report.
func (f fault) String() string {
	name := f.at + " " + string(f.how)
	if f.how == answers {
		code, _, _ := strings.Cut(f.reply, " ")
		name = f.at + " " + code + enhancedCode.FindString(f.reply)
		for mark, word := range map[string]string{htmlType: " HTML", "Retry-After": " Retry-After", cutShort: " cut short",
			"\r\nContent-Length: 0": " empty", "ErrorType: M": " refused", "ErrorType: T": " throttled"} {
			if strings.Contains(f.reply, mark) {
				name += word
			}
		}
	}
	if f.kept {
		name += ", mail kept"
	}
	return name
}

// faultPlan says which fault each number meets. That depends on the seed alone, not
// on what happened before.
type faultPlan struct {
	seed   uint64
	faults []fault
	// percent of the numbers meet one.
	percent uint64
}

func newFaultPlan(seed uint64, name string, percent uint64, faults []fault) faultPlan {
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(name))
	return faultPlan{seed ^ hash.Sum64(), faults, percent}
}

// faultOf returns the fault that a number meets, if any.
func (p faultPlan) faultOf(number int) (fault, bool) {
	source := rand.New(rand.NewPCG(p.seed, uint64(number)))
	if len(p.faults) == 0 || source.Uint64N(100) >= p.percent {
		return fault{}, false
	}
	return p.faults[source.IntN(len(p.faults))], true
}

func replies(at string, texts ...string) []fault {
	var faults []fault
	for _, text := range texts {
		faults = append(faults, fault{at: at, how: answers, reply: text})
	}
	return faults
}

func manners(at string, hows ...manner) []fault {
	var faults []fault
	for _, how := range hows {
		faults = append(faults, fault{at: at, how: how})
	}
	return faults
}

func join(lists ...[]fault) []fault {
	var faults []fault
	for _, list := range lists {
		faults = append(faults, list...)
	}
	return faults
}

// The stages of SMTP.
const (
	atGreeting = "greeting"
	atEHLO     = "EHLO"
	atSTARTTLS = "STARTTLS"
	atTLS      = "TLS"
	atAUTH     = "AUTH"
	atIdle     = "idle" // between two mails
	atMAIL     = "MAIL"
	atRCPT     = "RCPT"
	atDATA     = "DATA"
	atBody     = "body" // in the middle of it
	atDot      = "dot"  // once it is all there
)

// connectionFaults are met before a mail is named, by a connection as such.
func connectionFaults(s *smtpFaultServer) []fault {
	faults := join(
		replies(atGreeting, "421 4.3.2 too busy", "554 5.7.1 go away"),
		manners(atGreeting, resets, hangsUp, stalls, babbles, floods, dawdles),
		replies(atEHLO, "451 4.3.0 not now", "421 4.3.2 shutting down", "554 5.7.1 not you"),
		manners(atEHLO, resets, hangsUp, stalls, babbles, floods),
		replies(atIdle, "421 4.4.2 idle for too long"),
		manners(atIdle, resets, hangsUp),
	)
	if s.startTLS {
		faults = append(faults, join(
			replies(atSTARTTLS, "454 4.7.0 TLS not available", "501 5.5.4 no"),
			manners(atSTARTTLS, resets, hangsUp, stalls, babbles, offersNone))...)
	}
	if s.certificates != nil {
		faults = append(faults, manners(atTLS, misnames, babbles, resets, hangsUp, stalls)...)
	}
	if s.login {
		faults = append(faults, join(
			replies(atAUTH, "454 4.7.0 try later", "535 5.7.8 bad credentials", "421 4.7.0 too many login attempts"),
			manners(atAUTH, resets, hangsUp, stalls, babbles, offersNone))...)
	}
	return faults
}

// transactionFaults are met by MAIL FROM, when the recipient is not known yet.
var transactionFaults = join(
	replies(atMAIL, "451 4.3.0 not now", "452 4.3.1 no space", "421 4.3.2 shutting down",
		"550 5.7.1 sender refused", "553 5.1.8 no such sender", "530 5.7.0 log in first"),
	manners(atMAIL, resets, hangsUp, stalls, babbles, floods),
)

// mailFaults are met by one certain mail.
var mailFaults = join(
	replies(atRCPT, "450 4.2.1 mailbox busy", "451 4.7.1 greylisted", "452 4.5.3 too many",
		"550 5.1.1 no such user", "553 5.1.3 bad address", "552 5.2.2 mailbox full",
		"554 5.7.1 relay access denied", "421 4.3.2 shutting down"),
	manners(atRCPT, resets, hangsUp, stalls, babbles),
	replies(atDATA, "451 4.3.0 not now", "452 4.3.1 no space", "421 4.3.2 shutting down", "554 5.7.1 no"),
	manners(atDATA, resets, hangsUp, stalls, babbles),
	manners(atBody, resets, hangsUp, stalls),
	replies(atDot, "451 4.3.0 not now", "452 4.3.1 no space", "421 4.3.2 shutting down",
		"454 4.7.0 Throttling failure: Maximum sending rate exceeded",
		"454 4.7.0 Throttling failure: Daily message quota exceeded",
		"550 5.7.1 looks like spam", "552 5.3.4 too large", "554 5.6.0 bad content", "550 5.7.26 fails DMARC"),
	manners(atDot, resets, hangsUp, stalls, babbles, dawdles, drips, confirms),
	unconfirmed(atDot, resets, hangsUp, stalls, babbles, floods),
)

func unconfirmed(at string, hows ...manner) []fault {
	faults := manners(at, hows...)
	for i := range faults {
		faults[i].kept = true
	}
	return faults
}

// The stages of an HTTP request.
const (
	atRequest = "request" // before its body has been read
	atAnswer  = "answer"  // afterwards
)

// dialect is what the APIs of mail services do not have in common.
type dialect struct {
	// path is where mails are posted to.
	path string
	// accept is the answer for a mail that is taken, after "HTTP/1.1 ".
	accept string
	// refuse makes the body of a refusal.
	refuse func(words string) string
	// own are answers that only this service gives.
	own []fault
}

const (
	jsonType = "Content-Type: application/json\r\n"
	htmlType = "Content-Type: text/html\r\n"
)

func response(status int, header, body string) string {
	return fmt.Sprintf("%d %s\r\n%sContent-Length: %d\r\n\r\n%s", status, http.StatusText(status), header, len(body), body)
}

func refuseBySendGrid(words string) string {
	return fmt.Sprintf(`{"errors":[{"message":%q,"field":null,"help":null}]}`, words)
}

func refuseByMessage(words string) string { return fmt.Sprintf(`{"message":%q}`, words) }

var sendGridDialect = dialect{
	path:   "/v3/mail/send",
	accept: response(202, "X-Message-Id: fault-server-id\r\n", ""),
	refuse: refuseBySendGrid,
	own: join(
		replies(atAnswer,
			response(400, jsonType, `{"errors":[{"message":"Does not contain a valid address.","field":"personalizations.0.to.0.email"}]}`),
			response(401, jsonType, refuseBySendGrid("Maximum credits exceeded")),
			response(403, jsonType, `{"errors":[{"message":"The from address does not match a verified Sender Identity.","field":"from"}]}`),
			response(200, jsonType, `{}`)),
		[]fault{
			{at: atAnswer, how: answers, reply: response(202, "", ""), kept: true},
			{at: atAnswer, how: answers, reply: response(202, htmlType, "<p>taken</p>"), kept: true},
			{at: atAnswer, how: answers, reply: "202 Accepted\r\nContent-Length: 100\r\n\r\n" + cutShort, kept: true},
		}),
}

var mailgunDialect = dialect{
	path:   "/v3/mail.acme.example/messages",
	accept: response(200, jsonType, `{"id":"<fault-server-id@mail.acme.example>","message":"Queued. Thank you."}`),
	refuse: refuseByMessage,
	own:    readableAnswers,
}

var sesDialect = dialect{
	path:   "/v2/email/outbound-emails",
	accept: response(200, jsonType, `{"MessageId":"fault-server-id-000000"}`),
	refuse: refuseByMessage,
	own: join(readableAnswers, replies(atAnswer,
		response(400, jsonType+"X-Amzn-ErrorType: MessageRejected\r\n", refuseByMessage("Email address is not verified.")),
		response(400, jsonType+"X-Amzn-ErrorType: MailFromDomainNotVerifiedException\r\n", refuseByMessage("no")),
		response(429, jsonType+"X-Amzn-ErrorType: TooManyRequestsException\r\n", refuseByMessage("Maximum sending rate exceeded.")))),
}

// readableAnswers are 200s that lack the id without which they prove nothing,
// with the mail kept and without.
var readableAnswers = func() []fault {
	var faults []fault
	for _, reply := range []string{
		response(200, htmlType, "<p>welcome</p>"),
		response(200, jsonType, `{"id":`),
		response(200, jsonType, ``),
		"200 OK\r\n" + jsonType + "Content-Length: 100\r\n\r\n" + cutShort,
	} {
		faults = append(faults, fault{at: atAnswer, how: answers, reply: reply},
			fault{at: atAnswer, how: answers, reply: reply, kept: true})
	}
	return faults
}()

// httpFaults are the faults of a service with an HTTP API.
func httpFaults(d dialect) []fault {
	faults := join(d.own,
		manners(atRequest, resets, hangsUp, stalls),
		manners(atAnswer, resets, hangsUp, stalls, babbles, dawdles, drips),
		unconfirmed(atAnswer, resets, hangsUp, stalls, babbles, floods),
	)
	for _, status := range []int{400, 401, 403, 404, 405, 406, 408, 409, 413, 415, 422, 500, 501, 502, 503, 504} {
		faults = append(faults, replies(atAnswer, response(status, jsonType, d.refuse("the fault server says no")))...)
	}
	for _, status := range []int{500, 502, 503, 504} {
		faults = append(faults, replies(atAnswer, response(status, htmlType, "<h1>a proxy says no</h1>"))...)
	}
	// A gateway that gave up on a service that did not.
	faults = append(faults, fault{at: atAnswer, how: answers, reply: response(504, htmlType, "<h1>too slow</h1>"), kept: true})
	for _, status := range []int{429, 503} {
		faults = append(faults, replies(atAnswer, response(status, jsonType+"Retry-After: 1\r\n", d.refuse("slow down")))...)
	}
	for _, status := range []int{301, 302, 303, 307, 308} {
		faults = append(faults, replies(atAnswer, response(status, "Location: /elsewhere\r\n", ""))...)
	}
	return faults
}
