package providers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"logto-email-relay/mail"
)

// Mailgun's webhooks:
//
//	events      https://documentation.mailgun.com/docs/mailgun/user-manual/events/event-structure
//	signature   https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/securing-webhooks
//	answers     https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/webhooks
//
// mailgunRetries is how long Mailgun tries to report, which is nearly 8 h, and a
// little more: whether each try has a time of its own is not documented.
const mailgunRetries = 9 * time.Hour

// TakesEvents tells whether there is a signing key.
func (s *mailgunSettings) TakesEvents() bool { return s.EventSigningKey.Reveal() != "" }

var _ EventReceiver = (*mailGun)(nil)

// mailgunSigned is the part of a call that its signature is for.
type mailgunSigned struct {
	Timestamp, Token, Signature loose
	// Parent is the signature of the account above a subaccount.
	Parent loose `json:"parent-signature"`
}

type mailgunEvent struct {
	Event, Recipient, Severity, Reason, Timestamp loose
	Status                                        struct {
		Code, Message, Description loose
		Host                       loose `json:"mx-host"`
	} `json:"delivery-status"`
	Reject  struct{ Reason loose }
	Message struct {
		Headers struct {
			ID loose `json:"message-id"`
		}
	}
	Variables struct {
		RelayID loose `json:"relay_id"`
	} `json:"user-variables"`
}

// Events verifies the signature. It is of a timestamp and a random token, and not
// of the body: a call that somebody copied could tell another story. So a token
// goes with the one body that it came with.
func (p *mailGun) Events(_ context.Context, _ http.Header, body []byte, now time.Time) ([]mail.Report, error) {
	var call struct {
		Signature mailgunSigned   `json:"signature"`
		Event     json.RawMessage `json:"event-data"`
	}
	if json.Unmarshal(body, &call) != nil {
		return nil, &EventError{Status: http.StatusNotAcceptable, Detail: "the body is not that of a webhook"}
	}
	s := &call.Signature
	if !p.isSigned(s, s.Signature) && !p.isSigned(s, s.Parent) {
		// A wrong key is the operator's, who may mend it before the service gives up.
		return nil, &EventError{Status: http.StatusUnauthorized, Detail: "the signature is missing or not by eventSigningKey"}
	}
	if !isCurrentUnix(string(s.Timestamp), now, mailgunRetries) {
		return nil, &EventError{Status: http.StatusNotAcceptable, Detail: tooOld}
	}
	if !p.tokens.goesWith(string(s.Token), call.Event) {
		return nil, &EventError{Status: http.StatusNotAcceptable, Detail: "the token has come with another event before: the call is a replay"}
	}
	var e mailgunEvent
	if json.Unmarshal(call.Event, &e) != nil {
		return nil, &EventError{Status: http.StatusNotAcceptable, Detail: "the event is not as the service documents it"}
	}
	status, soft := mailgunStatus(&e)
	if status == "" {
		return nil, nil
	}
	// The id has angle brackets where the mail is accepted, and none here.
	id := string(e.Message.Headers.ID)
	if id != "" {
		id = "<" + strings.Trim(id, "<>") + ">"
	}
	words := []loose{e.Status.Code, e.Reason, e.Reject.Reason, e.Status.Description, e.Status.Message}
	if status != mail.StatusBounced { // a host at spamfilter.example says nothing of why
		words = append(words, e.Status.Host)
	}
	r := report(string(e.Variables.RelayID), id, string(s.Token), moment(string(e.Timestamp), now), status, soft, recipientsOf(e.Recipient), "", words...)
	r.Ours = r.Ours || e.Reason == "espblock" && r.Soft
	return []mail.Report{r}, nil
}

func (p *mailGun) isSigned(s *mailgunSigned, signature loose) bool {
	sum, err := hex.DecodeString(string(signature))
	return err == nil && p.eventKey.Reveal() != "" && isSigned([]byte(p.eventKey.Reveal()), sum, string(s.Timestamp), string(s.Token))
}

// mailgunStatus is what an event means; empty for those that are of no interest.
func mailgunStatus(e *mailgunEvent) (status mail.Status, soft bool) {
	switch e.Event {
	case "delivered":
		return mail.StatusDelivered, false
	case "failed":
		switch {
		case e.Severity == "temporary":
			return mail.StatusDeferred, false
		case strings.HasPrefix(string(e.Reason), "suppress-"), e.Status.Code == "605", e.Status.Code == "606", e.Status.Code == "607":
			return mail.StatusSuppressed, false
		}
		// Given up after a while, taken for spam, or a code of the service's own for what passes
		// on the way: no word about the address.
		return mail.StatusBounced, strings.HasPrefix(string(e.Status.Code), "6") || e.Reason == "old" || e.Reason == "greylisted" || e.Reason == "espblock"
	case "rejected":
		return mail.StatusFailed, false
	case "complained":
		return mail.StatusComplained, false
	}
	return "", false
}

// tokenMemory knows what came with each token: the last maxTokens of them, and up to
// as many before. A restart forgets them; the record still knows the events of its
// mails by their tokens.
type tokenMemory struct {
	mu           sync.Mutex
	now, earlier map[[sha256.Size]byte][sha256.Size]byte
}

// maxTokens takes some 5 MB.
const maxTokens = 30_000

// goesWith tells whether a token has come with no other event before.
func (t *tokenMemory) goesWith(token string, event []byte) bool {
	name, sum := sha256.Sum256([]byte(token)), sha256.Sum256(event)
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, known := range []map[[sha256.Size]byte][sha256.Size]byte{t.now, t.earlier} {
		if first, found := known[name]; found {
			return first == sum
		}
	}
	if len(t.now) >= maxTokens || t.now == nil {
		t.now, t.earlier = make(map[[sha256.Size]byte][sha256.Size]byte), t.now
	}
	t.now[name] = sum
	return true
}

var _ Lifter = (*mailGun)(nil)

// mailgunAbsent are the words for an address that is on none of the lists:
// https://documentation.mailgun.com/docs/mailgun/api-reference/send/mailgun/bounces
var mailgunAbsent = regexp.MustCompile(`(?i)address not found`)

// Lift takes an address off the lists of the domain. A sending key may not.
func (p *mailGun) Lift(ctx context.Context, address string) error {
	for _, list := range []string{"bounces", "complaints", "unsubscribes"} {
		x, err := p.request(ctx, http.MethodDelete, strings.TrimSuffix(p.url, "/messages")+"/"+list+"/"+url.PathEscape(address), p.header(), nil)
		if x.status == http.StatusNotFound && mailgunAbsent.Match(x.body) {
			continue
		}
		if e := x.verdict(err, mailgunErrors); e != nil {
			if x.status == http.StatusUnauthorized {
				e.Hint = "a sending key may not do this: take the address off the domain's suppressions by hand"
			}
			return e
		}
		if !x.isObject() { // such as a proxy's page
			return x.foreign()
		}
	}
	return nil
}
