package providers

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"time"

	"logto-email-relay/mail"
)

// Postmark's webhooks, which bear the user and the password of their address:
//
//	events    https://postmarkapp.com/developer/webhooks/webhooks-overview
//	bounces   https://postmarkapp.com/developer/api/bounce-api

// TakesEvents tells whether there are credentials.
func (s *postmarkSettings) TakesEvents() bool { return s.EventCredentials.Reveal() != "" }

var _ EventReceiver = (*postmark)(nil)

type postmarkEvent struct {
	RecordType, Email, Recipient, Type, MessageID, ID, Details, Description loose
	BouncedAt, DeliveredAt, ChangedAt                                       loose
	SuppressSending                                                         bool
	SuppressionReason                                                       loose
	Metadata                                                                struct {
		RelayID loose `json:"relay_id"`
	}
}

// Events checks the credentials. A 403 would end all later calls.
func (p *postmark) Events(_ context.Context, header http.Header, body []byte, now time.Time) ([]mail.Report, error) {
	if refused := verifyCredentials(header, p.events); refused != nil {
		return nil, refused
	}
	events, _, failed := decodeEvents[postmarkEvent](body)
	if failed != nil {
		return nil, failed
	}
	var reports []mail.Report
	for _, e := range events {
		status, soft := postmarkStatus(&e)
		if status == "" {
			continue
		}
		at := e.BouncedAt + e.DeliveredAt + e.ChangedAt // there is one
		r := report(string(e.Metadata.RelayID), string(e.MessageID),
			string(e.RecordType+" "+e.MessageID+" "+e.ID+" "+at), moment(string(at), now), status, soft,
			recipientsOf(e.Email, e.Recipient), e.Type+e.SuppressionReason, cmp.Or(e.Details, e.Description)) // the server's words, or else the service's own sentence
		if e.Type == "Blocked" || e.Type == "SpamNotification" || e.Type == "Unknown" || e.Type == "DMARCPolicy" || e.Type == "VirusNotification" {
			r.Ours = r.Soft
		}
		reports = append(reports, r)
	}
	return reports, nil
}

// postmarkStatus is what an event means; empty for those that are of no interest.
func postmarkStatus(e *postmarkEvent) (status mail.Status, soft bool) {
	switch e.RecordType {
	case "Delivery":
		return mail.StatusDelivered, false
	case "SpamComplaint":
		return mail.StatusComplained, false
	case "SubscriptionChange":
		if e.SuppressSending {
			return mail.StatusSuppressed, false
		}
	case "Bounce":
		switch e.Type {
		case "HardBounce", "BadEmailAddress":
			return mail.StatusBounced, false
		case "SoftBounce", "Blocked", "DMARCPolicy", "VirusNotification", "SpamNotification", "Unknown":
			return mail.StatusBounced, true
		case "Transient", "DnsError":
			return mail.StatusDeferred, false
		case "ManuallyDeactivated", "Unconfirmed":
			return mail.StatusSuppressed, false
		case "SpamComplaint":
			return mail.StatusComplained, false
		case "TemplateRenderingFailed", "SMTPApiError":
			return mail.StatusFailed, false
		}
	}
	return "", false
}

var _ Lifter = (*postmark)(nil)

// Lift takes an address off the list of the message stream. Only its reader can take
// back a complaint:
// https://postmarkapp.com/developer/api/suppressions-api
func (p *postmark) Lift(ctx context.Context, address string) error {
	type suppression struct{ EmailAddress, Status, Message string }
	body, err := json.Marshal(map[string]any{"Suppressions": []map[string]string{{"EmailAddress": address}}})
	if err != nil {
		return unbuilt(err)
	}
	x, err := p.request(ctx, http.MethodPost, p.endpoint+"/message-streams/outbound/suppressions/delete", p.header(), body)
	if e := x.verdict(err, postmarkErrors); e != nil {
		return e
	}
	var answer struct{ Suppressions []suppression }
	x.read(&answer)
	switch {
	case len(answer.Suppressions) != 1:
		return x.foreign()
	case answer.Suppressions[0].Status != "Deleted":
		return x.unfit(answer.Suppressions[0].Message, "a complaint stays until its reader takes it back; ask Postmark")
	}
	return nil
}
