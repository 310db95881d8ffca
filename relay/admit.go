package relay

import (
	"context"

	"logto-email-relay/limits"
	"logto-email-relay/mail"
)

// invitation is the one type that is not asked for by its reader.
const invitation = "OrganizationInvitation"

// admit tells whether the mail may be sent at all, before anything is.
func (d *delivery) admit(ctx context.Context) bool {
	if d.relay.limits == nil {
		return true
	}
	refusal := d.relay.limits.Take(ctx, limits.Mail{
		To: d.To, IP: d.request.IP, Invitation: d.Type == invitation, Route: d.Route, Own: d.route.Limits,
	})
	if refusal != nil {
		d.Reason, d.Cause, d.RetryAfter = mail.RateLimited, refusal.Limit, refusal.Wait
	}
	return refusal == nil
}
