package relay

import (
	"logto-email-relay/mail"
	"logto-email-relay/providers"
	"logto-email-relay/templates"
)

// message renders the mail and makes the message for a provider. Its sender is the
// route's, else the provider's own, where a template may have a reply address of
// its own, else the general one.
func (d *delivery) message(m Member, keep bool) (*mail.Message, *providers.Error) {
	rendered, err := d.render(m, keep)
	if err != nil {
		return nil, &providers.Error{Kind: providers.Configuration, Stage: "render",
			Detail: providers.Redact(err.Error()), Err: err}
	}
	payload := d.request.Payload
	if _, writes := m.Service.(providers.Composer); writes {
		payload = templates.Harmless(payload)
		if payload["link"] != nil {
			payload["link"] = rendered.Link
		}
	}
	message := &mail.Message{
		ID:      d.ID,
		Date:    d.Time,
		To:      d.To,
		Subject: rendered.Subject,
		Text:    rendered.Text,
		HTML:    rendered.HTML,
		Stored:  rendered.Stored,
		Locale:  rendered.Locale,
		Type:    d.Type,
		Payload: payload,
		Headers: []mail.Header{
			// RFC 3834 and MS-OXCMAIL 2.1.3.2.20: no vacation replies and receipts. "All" would
			// be without NDR, too: the report that a mail has bounced.
			{Name: "Auto-Submitted", Value: "auto-generated"},
			{Name: "X-Auto-Response-Suppress", Value: "OOF, AutoReply, DR, RN, NRN"},
			// Keeps Gmail from folding the newest code under older ones.
			{Name: "X-Entity-Ref-ID", Value: d.ID},
			{Name: "Content-Language", Value: rendered.Locale},
		},
	}
	if rendered.Locale == "" {
		message.Headers = message.Headers[:len(message.Headers)-1]
	}
	sender := d.relay.sender.overriddenBy(Sender(m.Sender))
	if rendered.ReplyTo.Address != "" {
		sender.ReplyTo.Address = rendered.ReplyTo
	}
	if d.route.Sender != nil {
		sender = sender.overriddenBy(*d.route.Sender)
	}
	message.From, message.ReplyTo = sender.From.Address, sender.ReplyTo.Address
	if message.From.Name == "" {
		message.From.Name = d.route.branding.SenderName
	}
	d.redirect(message)
	message.MessageID = d.ID + "@" + mail.Domain(message.From.Address)
	return message, nil
}

// render writes the mail, from the provider's own templates if it has some. What
// every provider without may send is written once, and kept if a later attempt may
// want it: to keep more would cost every mail that waits for its provider.
func (d *delivery) render(m Member, keep bool) (*templates.Mail, error) {
	renderer := m.Renderer
	if renderer == nil {
		if d.rendered != nil {
			return d.rendered, nil
		}
		renderer = d.relay.renderer
	}
	rendered, err := renderer.Render(templates.Request{
		Type: d.Type, Locale: d.Locale, Payload: d.request.Payload, Branding: d.route.branding,
		To: d.To, IP: d.request.IP, Time: d.Time,
	})
	if m.Renderer == nil && err != nil {
		d.Reason, d.Cause = mail.Internal, "render: "+providers.Redact(err.Error())
	}
	if m.Renderer == nil && keep {
		d.rendered = rendered
	}
	return rendered, err
}
