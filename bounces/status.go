package bounces

import (
	"slices"
	"strings"

	"github.com/emersion/go-message/textproto"
)

// delivery reads a delivery status (RFC 3464, section 2.3).
func (c *content) delivery() (results []Result) {
	isAboutSomebody := false
	for _, group := range c.status {
		address, original := firstAddress(&group, "Final-Recipient"), firstAddress(&group, "Original-Recipient")
		action := strings.ToLower(firstWord(group.Get("Action")))
		if address == "" {
			address = original
		}
		if address == "" && action == "" {
			continue // about the mail as a whole
		}
		isAboutSomebody = true
		r := Result{Address: address, Status: codeIn(group.Get("Status")), Diagnostic: diagnostic(group.Get("Diagnostic-Code"))}
		switch {
		case action == "delivered":
			r.Outcome = Delivered
		case action == "delayed":
			r.Outcome = Delayed
		case action == "relayed", action == "expanded", strings.HasPrefix(r.Status, "2."):
			continue // nobody knows more
		}
		if !strings.EqualFold(original, address) {
			r.Original = original
		}
		if r.Address == "" {
			r.Address = c.failed()[0]
		}
		if results = append(results, r); len(results) == maxResults {
			break
		}
	}
	if !isAboutSomebody && c.isFromMailSystem() {
		return c.free()
	}
	c.judge(results)
	return results
}

// isComplaint knows complaints also in the form of Outlook.com's Junk Mail Reporting
// Program, which has no fields: only a subject, and the mail.
func (c *content) isComplaint() bool {
	subject := strings.ToLower(strings.TrimSpace(c.header.Get("Subject")))
	return c.feedback != nil || c.original != nil && strings.HasPrefix(subject, "complaint about message from ")
}

// complaint reads a report of abuse (RFC 5965).
func (c *content) complaint() (results []Result) {
	var found []string
	if c.feedback != nil {
		switch strings.ToLower(firstWord(c.feedback.Get("Feedback-Type"))) {
		case "abuse", "fraud", "opt-out":
		default: // such as auth-failure, and not-spam, which is the opposite
			return nil
		}
		said := slices.Concat(c.feedback.Values("Original-Rcpt-To"), c.feedback.Values("Removal-Recipient"))
		found = addressesIn(strings.Join(said, " "))
	}
	if len(found) == 0 {
		found = []string{firstAddress(c.original, "To")}
	}
	for _, address := range found {
		results = append(results, Result{Outcome: Complained, Address: address})
	}
	return results
}

// diagnostic is what the server said, without its type.
func diagnostic(value string) string {
	if kind, rest, found := strings.Cut(value, ";"); found && !strings.ContainsAny(strings.TrimSpace(kind), " <@") {
		value = rest
	}
	value = strings.Join(strings.Fields(value), " ")
	return value[:min(len(value), maxDiagnostic)]
}

func firstWord(text string) string {
	text = strings.TrimSpace(text)
	if end := strings.IndexAny(text, " \t(;"); end >= 0 {
		return text[:end]
	}
	return text
}

// firstAddress is that of a header's field; empty if there is none.
func firstAddress(h *textproto.Header, name string) string {
	if h == nil {
		return ""
	}
	return addressPattern().FindString(h.Get(name))
}
