package providers

import (
	"context"
	"crypto/hmac"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"logto-email-relay/mail"
)

// Resend's webhooks, which Svix sends:
//
//	events      https://resend.com/docs/dashboard/webhooks/event-types
//	signature   https://docs.svix.com/receiving/verifying-payloads/how-manual
//
// svixTolerance is how old a call may be; each try has a time of its own.
const svixTolerance = 5 * time.Minute

// TakesEvents tells whether there is a signing secret.
func (s *resendSettings) TakesEvents() bool { return s.EventSecret.Reveal() != "" }

// eventKey is the signing secret without its prefix and its Base64.
func (s *resendSettings) eventKey() ([]byte, error) {
	return base64.StdEncoding.DecodeString(strings.TrimPrefix(s.EventSecret.Reveal(), "whsec_"))
}

var _ EventReceiver = (*resend)(nil)

// resendEvent holds no subject: with codes in subjects it would hold one.
type resendEvent struct {
	Type    loose
	Created loose `json:"created_at"`
	Data    struct {
		ID         loose `json:"email_id"`
		To         texts
		Tags       resendTags `json:"tags"`
		Bounce     resendBounce
		Failed     struct{ Reason loose }
		Suppressed struct{ Type, Message loose }
	}
}

// resendBounce has the words of the server in one or more diagnostics. The message is the
// service's own sentence, which speaks of the sender's reputation and the like.
type resendBounce struct {
	Type, SubType, Message loose
	Diagnostic             texts `json:"diagnosticCode"`
}

// texts is a list of texts in JSON, or a single one.
type texts []loose

// UnmarshalJSON takes anything.
func (t *texts) UnmarshalJSON(value []byte) error {
	var one loose
	if json.Unmarshal(value, (*[]loose)(t)) != nil && one.UnmarshalJSON(value) == nil && one != "" {
		*t = texts{one}
	}
	return nil
}

// resendTags are sent as a list and come back as an object; both are read.
type resendTags map[string]loose

// UnmarshalJSON reads either form, and nothing else.
func (t *resendTags) UnmarshalJSON(value []byte) error {
	var object map[string]loose
	var list []struct{ Name, Value loose }
	if json.Unmarshal(value, &object) == nil {
		*t = object
	} else if json.Unmarshal(value, &list) == nil {
		*t = make(resendTags)
		for _, tag := range list {
			(*t)[string(tag.Name)] = tag.Value
		}
	}
	return nil
}

// Events verifies the signature over the id, the timestamp and the body.
func (p *resend) Events(_ context.Context, header http.Header, body []byte, now time.Time) ([]mail.Report, error) {
	id, timestamp := header.Get("Svix-Id"), header.Get("Svix-Timestamp")
	if len(p.eventKey) == 0 || id == "" || !svixSigned(p.eventKey, header.Get("Svix-Signature"), id+"."+timestamp+".", string(body)) {
		return nil, &EventError{Status: http.StatusUnauthorized, Detail: "the signature is missing or not by eventSecret"}
	}
	if !isCurrentUnix(timestamp, now, svixTolerance) {
		return nil, &EventError{Status: http.StatusBadRequest, Detail: tooOld}
	}
	var e resendEvent
	if json.Unmarshal(body, &e) != nil {
		return nil, &EventError{Status: http.StatusBadRequest, Detail: "the body is not as the service documents it"}
	}
	status, soft := resendStatus(&e)
	if status == "" {
		return nil, nil
	}
	words := []loose{e.Data.Bounce.SubType, e.Data.Failed.Reason, e.Data.Suppressed.Type, e.Data.Suppressed.Message}
	if words = append(words, e.Data.Bounce.Diagnostic...); len(e.Data.Bounce.Diagnostic) == 0 {
		words = append(words, e.Data.Bounce.Message)
	}
	return []mail.Report{report(string(e.Data.Tags["relay_id"]), string(e.Data.ID), id, moment(string(e.Created), now), status, soft,
		recipientsOf(e.Data.To...), e.Data.Bounce.Type, words...)}, nil
}

// svixSigned tells whether one of the signatures in a header is ours: while a secret
// is exchanged there are two. A stranger may write thousands, so that the body is gone
// through once.
func svixSigned(key []byte, header string, parts ...string) bool {
	signed, ours := false, signatureOf(key, parts...)
	for entry := range strings.FieldsSeq(header) {
		version, encoded, _ := strings.Cut(entry, ",")
		signature, err := base64.StdEncoding.DecodeString(encoded)
		if version == "v1" && err == nil && hmac.Equal(ours, signature) {
			signed = true
		}
	}
	return signed
}

// resendStatus is what an event means; empty for those that are of no interest.
func resendStatus(e *resendEvent) (status mail.Status, soft bool) {
	switch e.Type {
	case "email.delivered":
		return mail.StatusDelivered, false
	case "email.delivery_delayed":
		return mail.StatusDeferred, false
	case "email.bounced":
		if strings.Contains(string(e.Data.Bounce.SubType), "Suppress") {
			return mail.StatusSuppressed, false
		}
		return mail.StatusBounced, e.Data.Bounce.Type == "Transient" || e.Data.Bounce.Type == "Undetermined"
	case "email.complained":
		return mail.StatusComplained, false
	case "email.suppressed":
		return mail.StatusSuppressed, false
	case "email.failed":
		return mail.StatusFailed, false
	}
	return "", false
}

var _ Lifter = (*resend)(nil)

// Lift takes an address off the list of the account. A key with sending access may
// not:
// https://resend.com/docs/api-reference/suppressions/remove-suppression
func (p *resend) Lift(ctx context.Context, address string) error {
	x, err := p.request(ctx, http.MethodDelete, p.endpoint+"/suppressions/"+url.PathEscape(address), p.header(), nil)
	said := resendErrors(x)
	// The call is not for every account.
	hasNoCall := strings.Contains(strings.ToLower(said.Detail), "endpoint")
	if x.status == http.StatusNotFound && said.Code == "not_found" && !hasNoCall { // not on it
		return nil
	}
	if e := x.verdict(err, resendErrors); e != nil {
		switch {
		case e.Code == "restricted_api_key":
			e.Hint = "this key may only send: take the address off the suppressions by hand"
		case e.Code == "not_found":
			e.Hint = "this account cannot do so through the API: take the address off the suppressions by hand"
		}
		return e
	}
	answer := struct{ Deleted bool }{Deleted: true}
	if x.read(&answer); !x.isObject() || !answer.Deleted {
		return x.foreign()
	}
	return nil
}
