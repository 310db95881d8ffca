package providers

import (
	"fmt"
	"maps"
	"slices"

	"logto-email-relay/mail"
	"logto-email-relay/settings"
)

// Mails returns none: a provider without templates of its own.
func (c *Common) Mails() []mail.ConnectorTemplate { return nil }

// inlineTemplate is an entry of "templates" with its content.
type inlineTemplate struct {
	// UsageType is Logto's message type.
	UsageType string `json:"usageType" validate:"required,usagetype"`
	// Subject and Content are the mail, with placeholders such as {{code}}.
	Subject string `json:"subject" validate:"required" placeholders:"any"`
	Content string `json:"content" validate:"required" placeholders:"any"`
}

const plainText = "text/plain"

// mail returns the entry; where its connector knows no content types, the
// content is HTML.
func (t *inlineTemplate) mail(i int, contentType string) mail.ConnectorTemplate {
	made := mail.ConnectorTemplate{Key: templateKey(i), Type: t.UsageType, Subject: t.Subject}
	if contentType == plainText {
		made.Text = t.Content
	} else {
		made.HTML = t.Content
	}
	return made
}

func templateKey(i int) string { return fmt.Sprintf("templates[%d]", i) }

// typedTemplate is one whose connector calls the content type "type".
type typedTemplate struct {
	inlineTemplate
	// ContentType is text/html or text/plain.
	ContentType string `json:"type" validate:"omitempty,oneof=text/plain text/html"`
}

func typedMails(templates []typedTemplate) []mail.ConnectorTemplate {
	var list []mail.ConnectorTemplate
	for i, t := range templates {
		list = append(list, t.mail(i, t.ContentType))
	}
	return list
}

// storableTemplate is an entry of "templates" with its content, or with the name
// of a template at the service.
type storableTemplate struct {
	// UsageType is Logto's message type.
	UsageType string `json:"usageType" validate:"required,usagetype"`
	// Subject and Content are the mail, with placeholders such as {{code}}.
	Subject string `json:"subject" placeholders:"any"`
	Content string `json:"content" placeholders:"any"`
	// Template is the name or id that the service knows the template by.
	Template string `json:"template"`
	// Variables are values for its placeholders beside those of the payload.
	Variables map[string]any `json:"variables"`
}

func (t *storableTemplate) mail(i int, contentType string) mail.ConnectorTemplate {
	inline := inlineTemplate{t.UsageType, t.Subject, t.Content}
	made := inline.mail(i, contentType)
	made.Stored, made.Variables = t.Template, t.Variables
	return made
}

// check asks for either way, and only one of them.
func (t *storableTemplate) check(i int) []settings.Problem {
	problem := func(key, text string) []settings.Problem {
		return []settings.Problem{{Key: templateKey(i) + key, Text: text}}
	}
	switch {
	case t.Template == "" && t.Content == "":
		return problem("", "write content, or template with the name of a template at the service")
	case t.Template == "" && t.Subject == "":
		return problem(".subject", "write the subject of this mail")
	case t.Template != "" && t.Content+t.Subject != "":
		return problem(".template", "the service's template has subject and content: remove them here, or template")
	}
	return nil
}

// delivery is an entry of Mailgun's "deliveries", by message type.
type delivery struct {
	// Subject, HTML and Text are the mail, with placeholders such as {{code}}.
	Subject string `json:"subject" placeholders:"any"`
	HTML    string `json:"html" placeholders:"any"`
	Text    string `json:"text" placeholders:"any"`
	// ReplyTo is where answers go.
	ReplyTo settings.Mailbox `json:"replyTo"`
	// Template is the name of a template at Mailgun, Variables are values for its
	// placeholders beside those of the payload.
	Template  string         `json:"template"`
	Variables map[string]any `json:"variables"`
}

// deliveriesOf returns the entries in the order of their types.
func deliveriesOf(entries map[string]delivery) []mail.ConnectorTemplate {
	var list []mail.ConnectorTemplate
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		d := entries[name]
		list = append(list, mail.ConnectorTemplate{Key: "deliveries." + name, Type: name, Subject: d.Subject, HTML: d.HTML, Text: d.Text,
			ReplyTo: d.ReplyTo.Address, Stored: d.Template, Variables: d.Variables})
	}
	return list
}

func checkDeliveries(entries map[string]delivery) []settings.Problem {
	var problems []settings.Problem
	report := func(name, key, text string) {
		problems = append(problems, settings.Problem{Key: "deliveries." + name + key, Text: text})
	}
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		switch d := entries[name]; {
		case d.Template != "" && d.HTML+d.Text != "":
			report(name, ".template", "Mailgun takes html or template, not both: remove one")
		case d.Template == "" && d.HTML+d.Text == "":
			report(name, "", "write html, or template with the name of a template at Mailgun")
		case d.Template == "" && d.Subject == "":
			report(name, ".subject", "write the subject of this mail")
		}
	}
	return problems
}
