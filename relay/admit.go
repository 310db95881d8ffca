package relay

import (
	"context"
	"html"
	"strings"
	"time"

	htmltokens "golang.org/x/net/html"

	"logto-email-relay/limits"
	"logto-email-relay/mail"
	"logto-email-relay/recipients"
	"logto-email-relay/templates"
)

// invitation is the one type that is not asked for by its reader.
const invitation = "OrganizationInvitation"

// withinLimits counts the mail, and ends the delivery if there are too many.
func (d *delivery) withinLimits(ctx context.Context) bool {
	if d.relay.limits == nil {
		return true
	}
	refusal := d.relay.limits.Take(ctx, limits.Mail{
		To: d.To, IP: d.request.IP, Invitation: d.Type == invitation, Route: d.Route, RouteKey: d.route.key, Own: d.route.Limits,
	})
	if refusal == nil {
		return true
	}
	d.Status, d.Reason, d.Cause, d.RetryAfter = mail.StatusFailed, mail.RateLimited, refusal.Limit, refusal.Wait
	d.Duration = time.Since(d.Time)
	return false
}

// mayReceive tells whether the recipient may be sent mail at all, or gives the
// delivery the reason why not.
func (d *delivery) mayReceive(ctx context.Context) bool {
	policy := &d.route.recipients
	d.RedirectedTo = policy.Redirected()
	if list := policy.Refuses(d.To); list != "" {
		d.Reason, d.Cause = mail.RecipientRefused, list
		return false
	}
	// Another mail to an address whose mails come back would only harm the sender's
	// name.
	if recorder := d.relay.recorder; recorder != nil && d.RedirectedTo == "" && recorder.Suppressed(ctx, d.To) {
		d.Reason = mail.RecipientSuppressed
		return false
	}
	if d.relay.domains == nil || !policy.ChecksDomain() {
		return true
	}
	domain := mail.Domain(d.To)
	if refusal := d.relay.domains.Refusal(ctx, domain); refusal != "" {
		d.Reason, d.Cause, d.Suggestion = mail.RecipientRefused, "recipients.checkDomain: "+refusal, recipients.Suggest(domain)
		return false
	}
	return true
}

// shownAt is where the words of a page begin: behind its <body>, or its doctype where there is
// none. What a comment, Outlook's part or a style sheet has of them is passed over.
func shownAt(page string) int {
	tokens := htmltokens.NewTokenizer(strings.NewReader(page))
	at := 0
	for end := 0; ; {
		kind := tokens.Next()
		end += len(tokens.Raw())
		switch kind {
		case htmltokens.ErrorToken:
			return at
		case htmltokens.DoctypeToken:
			at = end
		case htmltokens.StartTagToken:
			if name, _ := tokens.TagName(); string(name) == "body" {
				return end
			}
		}
	}
}

// redirect sends a message to the one address that all mails of a test environment
// go to, if there is one, and shows whom it was for.
func (d *delivery) redirect(m *mail.Message) {
	if d.RedirectedTo == "" {
		return
	}
	m.Headers = append(m.Headers, mail.Header{Name: "X-Original-To", Value: d.To})
	m.To = d.RedirectedTo
	line := "To: " + templates.Mailbox(d.To)
	if m.Text != "" {
		m.Text = line + "\n\n" + m.Text
	}
	if !m.HTML.IsEmpty() {
		text := m.HTML.String()
		at := shownAt(text)
		m.HTML = mail.Body{mail.OwnPart(text[:at] + "<p>" + html.EscapeString(line) + "</p>" + text[at:])}
	}
}
