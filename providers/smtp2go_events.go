package providers

import (
	"cmp"
	"context"
	"net/http"
	"time"

	"logto-email-relay/mail"
)

// SMTP2GO's webhooks, which bear the user and the password of their address:
//
//	events   https://developers.smtp2go.com/docs/webhooks-overview
//	set up   https://developers.smtp2go.com/docs/setup-a-webhook

// TakesEvents tells whether there are credentials.
func (s *smtp2goSettings) TakesEvents() bool { return s.EventCredentials.Reveal() != "" }

var _ EventReceiver = (*smtp2go)(nil)

type smtp2goEvent struct {
	Event, Rcpt, Bounce, ID, Time, Message loose
	EmailID                                loose `json:"email_id"`
	// RelayID is the header of the mail, for who has chosen it in the webhook.
	RelayID loose `json:"X-Relay-Id"`
}

// Events checks the credentials.
func (p *smtp2go) Events(_ context.Context, header http.Header, body []byte, now time.Time) ([]mail.Report, error) {
	if refused := verifyCredentials(header, p.events); refused != nil {
		return nil, refused
	}
	events, raw, failed := decodeEvents[smtp2goEvent](body)
	if failed != nil {
		return nil, failed
	}
	var reports []mail.Report
	for i, e := range events {
		status, soft := smtp2goStatus(&e)
		if status == "" {
			continue
		}
		key := cmp.Or(string(e.ID), sumOf(raw[i]))
		reports = append(reports, report(string(e.RelayID), string(e.EmailID), key, moment(string(e.Time), now), status, soft, recipientsOf(e.Rcpt), e.Bounce, e.Message))
	}
	return reports, nil
}

// smtp2goStatus is what an event means; empty for those that are of no interest.
func smtp2goStatus(e *smtp2goEvent) (status mail.Status, soft bool) {
	switch e.Event {
	case "delivered":
		return mail.StatusDelivered, false
	case "bounce":
		return mail.StatusBounced, e.Bounce == "soft"
	case "spam":
		return mail.StatusComplained, false
	case "reject": // for an address that bounced, complained or unsubscribed before
		return mail.StatusSuppressed, false
	}
	return "", false
}
