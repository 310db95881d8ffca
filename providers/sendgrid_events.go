package providers

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"time"

	"logto-email-relay/mail"
)

// SendGrid's Event Webhook:
//
//	events      https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event
//	signature   https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/getting-started-event-webhook-security-features
const (
	sendGridSignature = "X-Twilio-Email-Event-Webhook-Signature"
	sendGridTimestamp = "X-Twilio-Email-Event-Webhook-Timestamp"
	// sendGridRetries is how long SendGrid tries to report, and a little more. The
	// signature covers the body, so that an old call can only repeat what is known.
	sendGridRetries = 25 * time.Hour
)

// TakesEvents tells whether there is a public key.
func (s *sendGridSettings) TakesEvents() bool { return s.EventPublicKey.Reveal() != "" }

// eventKey is the public key as SendGrid shows it: the Base64 of a PEM file without
// its first and last line.
func (s *sendGridSettings) eventKey() (*ecdsa.PublicKey, error) {
	der, err := base64.StdEncoding.DecodeString(s.EventPublicKey.Reveal())
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, err
	}
	public, ok := key.(*ecdsa.PublicKey)
	if !ok {
		return nil, errors.New("not an ECDSA key")
	}
	return public, nil
}

var _ EventReceiver = (*sendGrid)(nil)

type sendGridEvent struct {
	Event, Email, Type, Status, Reason, Response, Timestamp loose
	Key                                                     loose `json:"sg_event_id"`
	// RelayID is the custom argument of the mail. It alone tells whose event it is:
	// that of an asynchronous bounce has no sg_message_id.
	RelayID loose `json:"relay_id"`
}

// Events verifies the signature over the timestamp and the body.
func (p *sendGrid) Events(_ context.Context, header http.Header, body []byte, now time.Time) ([]mail.Report, error) {
	timestamp := header.Get(sendGridTimestamp)
	signature, err := base64.StdEncoding.DecodeString(header.Get(sendGridSignature))
	sum := sha256.New()
	sum.Write([]byte(timestamp))
	sum.Write(body)
	if p.eventKey == nil || err != nil || !ecdsa.VerifyASN1(p.eventKey, sum.Sum(nil), signature) {
		return nil, &EventError{Status: http.StatusUnauthorized, Detail: "the signature is missing or not by eventPublicKey"}
	}
	if !isCurrentUnix(timestamp, now, sendGridRetries) {
		return nil, &EventError{Status: http.StatusForbidden, Detail: tooOld}
	}
	events, raw, failed := decodeEvents[sendGridEvent](body)
	if failed != nil {
		return nil, failed
	}
	var reports []mail.Report
	for i, e := range events {
		status, soft := sendGridStatus(&e)
		if status == "" {
			continue
		}
		key := cmp.Or(string(e.Key), sumOf(raw[i]))
		reports = append(reports, report(string(e.RelayID), "", key, moment(string(e.Timestamp), now), status, soft,
			recipientsOf(e.Email), "", e.Status, e.Reason, e.Response))
	}
	return reports, nil
}

// sendGridListed are the reasons of mails that were dropped for their recipient.
var sendGridListed = regexp.MustCompile(`(?i)bounced|unsubscribed|spam report|^invalid( address)?$`)

// sendGridStatus is what an event means; empty for those that are of no interest.
func sendGridStatus(e *sendGridEvent) (status mail.Status, soft bool) {
	switch e.Event {
	case "deferred":
		return mail.StatusDeferred, false
	case "delivered":
		return mail.StatusDelivered, false
	case "bounce":
		return mail.StatusBounced, e.Type == "blocked"
	case "dropped":
		if sendGridListed.MatchString(string(e.Reason)) {
			return mail.StatusSuppressed, false
		}
		return mail.StatusFailed, false
	case "spamreport":
		return mail.StatusComplained, false
	}
	return "", false
}

var _ Lifter = (*sendGrid)(nil)

// sendGridLists are those that keep SendGrid from sending:
//
//	most             https://www.twilio.com/docs/sendgrid/api-reference/bounces-api/delete-a-bounce
//	of unsubscribers https://www.twilio.com/docs/sendgrid/api-reference/suppressions-global-suppressions/delete-a-global-suppression
var sendGridLists = []string{"suppression/bounces", "suppression/blocks", "suppression/invalid_emails", "suppression/spam_reports", "asm/suppressions/global"}

// Lift takes an address off all lists, for which the key needs permissions of their own.
func (p *sendGrid) Lift(ctx context.Context, address string) error {
	for _, list := range sendGridLists {
		x, err := p.request(ctx, http.MethodDelete, p.endpoint+"/v3/"+list+"/"+url.PathEscape(address), p.header(), nil)
		if x.status == http.StatusNotFound && x.isObject() { // not on it
			continue
		}
		if e := x.verdict(err, sendGridErrors); e != nil {
			if e.Code == "403" {
				e.Hint = "give the key the permissions Suppressions and Unsubscribe Groups, or take the address off the lists by hand"
			}
			return e
		}
		if len(x.body) > 0 && !x.isObject() { // 204 has none; this is such as a proxy's page
			return x.foreign()
		}
	}
	return nil
}
