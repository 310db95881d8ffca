package relay

import (
	"context"
	"html"
	"regexp"

	"logto-email-relay/limits"
	"logto-email-relay/mail"
	"logto-email-relay/recipients"
)

// invitation is the one type that is not asked for by its reader.
const invitation = "OrganizationInvitation"

// admit tells whether the mail may be sent at all, before anything is.
func (d *delivery) admit(ctx context.Context) bool {
	d.refuseOverLimit(ctx)
	if d.Reason == "" {
		d.refuseRecipient(ctx)
	}
	if d.Reason != "" {
		return false
	}
	d.RedirectedTo = d.route.recipients.Redirected()
	return true
}

func (d *delivery) refuseOverLimit(ctx context.Context) {
	if d.relay.limits == nil {
		return
	}
	refusal := d.relay.limits.Take(ctx, limits.Mail{
		To: d.To, IP: d.request.IP, Invitation: d.Type == invitation, Route: d.Route, Own: d.route.Limits,
	})
	if refusal != nil {
		d.Reason, d.Cause, d.RetryAfter = mail.RateLimited, refusal.Limit, refusal.Wait
	}
}

func (d *delivery) refuseRecipient(ctx context.Context) {
	policy := &d.route.recipients
	if list := policy.Refuses(d.To); list != "" {
		d.Reason, d.Cause = mail.RecipientRefused, list
		return
	}
	if d.relay.domains == nil || !policy.ChecksDomain() {
		return
	}
	domain := mail.Domain(d.To)
	if refusal := d.relay.domains.Refusal(ctx, domain); refusal != "" {
		d.Reason, d.Cause, d.Suggestion = mail.RecipientRefused, "recipients.checkDomain: "+refusal, recipients.Suggest(domain)
	}
}

var bodyTag = regexp.MustCompile(`(?i)<body\b[^>]*>`)

// redirect sends a message to the one address that all mails of a test environment
// go to, if there is one, and shows whom it was for.
func (d *delivery) redirect(m *mail.Message) {
	if d.RedirectedTo == "" {
		return
	}
	m.Headers = append(m.Headers, mail.Header{Name: "X-Original-To", Value: d.To})
	m.To = d.RedirectedTo
	line := "To: " + d.To
	if m.Text != "" {
		m.Text = line + "\n\n" + m.Text
	}
	if !m.HTML.IsEmpty() {
		text := m.HTML.String()
		at := 0
		if body := bodyTag.FindStringIndex(text); body != nil {
			at = body[1]
		}
		m.HTML = mail.BodyOf(text[:at], "<p>"+html.EscapeString(line)+"</p>", text[at:])
	}
}
