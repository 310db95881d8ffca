// Package mail is a mail as every other package speaks of it.
//
// A Message is what a provider is handed: complete, to one recipient, with a body
// whose larger part all mails share (Body). A Delivery is what became of it, the
// one value that the log line, the metrics, the answer to the caller and the
// record are read from. Beside them stand the rules of addresses, which are the
// same for the recipient that a webhook names and for the sender that an operator
// writes, the ids that a mail is known by, and the templates that operators bring
// along from Logto's connectors.
//
// It imports nothing of the module, and decides nothing about sending.
package mail

import (
	netmail "net/mail"
	"time"
)

// Address is a mailbox with an optional display name. Its String method encodes
// the name as RFC 2047 wants it.
type Address = netmail.Address

// Header is one header of a mail.
type Header struct{ Name, Value string }

// Message is one mail to one recipient, complete: a provider encodes it and
// decides nothing.
type Message struct {
	// ID is the relay's own id of the mail (see NewID). It is opaque and goes along
	// as metadata, so that delivery events bring it back.
	ID string
	// MessageID is the RFC 5322 Message-ID without its angle brackets.
	MessageID string
	Date      time.Time
	// From and ReplyTo have their domains in ASCII; ReplyTo may be empty.
	From    Address
	ReplyTo Address
	// To is a bare mailbox with its domain in ASCII. The local part may be one
	// that RFC 5321 wants quoted ("foo." of some Japanese carriers), and may be
	// outside ASCII.
	To      string
	Subject string
	// Text and HTML are the two alternatives, in UTF-8 with \n line ends. Text
	// is never empty; HTML may be.
	Text string
	HTML Body
	// Stored, if set, is the template at the service that the mail is written
	// from. Text and HTML are empty then, and so is Subject unless it replaces
	// that of the template. Only a provider whose settings name such templates
	// gets one.
	Stored *StoredTemplate
	// Payload is what Logto sent. For a service that writes the mail itself, what
	// people typed in it is harmless.
	Payload map[string]any
	// Locale is the BCP 47 tag of the language that the mail is written in;
	// empty if nobody told.
	Locale string
	// Type is Logto's message type, such as SignIn.
	Type string
	// Headers are the additional headers that every mail of the relay bears.
	Headers []Header
}

// StoredTemplate asks a service to write the mail from a template that it keeps.
type StoredTemplate struct {
	// Name is its name, alias or id there.
	Name string
	// Data are the values of its placeholders, as JSON objects, lists, texts,
	// numbers and truth values.
	Data map[string]any
}

// ConnectorTemplate is one mail out of a provider's own settings, as Logto's
// connectors hold them. It has no language, and either a content or the name of a
// template that the service keeps.
type ConnectorTemplate struct {
	// Key is where it stands in the configuration, such as
	// "providers[0].templates[2]", for mistakes to name it.
	Key string
	// Type is Logto's message type.
	Type string
	// Subject, HTML and Text hold Logto's placeholders; a missing text is made
	// from the HTML.
	Subject, HTML, Text string
	// ReplyTo replaces the provider's own reply address.
	ReplyTo Address
	// Stored is the name or id of a template at the service, and Variables are
	// what it is filled with beside the payload.
	Stored    string
	Variables map[string]any
}
