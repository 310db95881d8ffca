package providers

import (
	"context"
	"slices"
	"sync"
	"time"

	"logto-email-relay/mail"
)

// inboxSize is how many mails an inbox keeps.
const inboxSize = 200

// inboxSettings are those of a provider for development, which sends nothing.
type inboxSettings struct{ Common }

func newInboxSettings() *inboxSettings { return &inboxSettings{} }

// Sender returns none.
func (s *inboxSettings) Sender() Sender { return Sender{} }

// Open returns an *Inbox.
func (s *inboxSettings) Open() (Provider, error) { return new(Inbox), nil }

var _ Verifier = (*Inbox)(nil)

// Inbox keeps the last 200 mails in memory and shows them to whoever asks. It is
// for development.
type Inbox struct {
	mu    sync.Mutex
	mails []InboxMail // oldest first
}

// InboxMail is a mail as its reader would have it.
type InboxMail struct {
	Message  *mail.Message
	Received time.Time
	// Headers are all headers of the mail, in order, for people to read.
	Headers []mail.Header
}

// Send keeps the message under its own id.
func (i *Inbox) Send(ctx context.Context, m *mail.Message) (Receipt, error) {
	if e := checkMessage(m); e != nil {
		return Receipt{}, e
	}
	if err := ctx.Err(); err != nil {
		return Receipt{}, &Error{Kind: Temporary, Detail: "no time left", Err: err}
	}
	message := *m
	kept := InboxMail{Message: &message, Received: time.Now(), Headers: inboxHeaders(m)}
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.mails) == inboxSize {
		i.mails = slices.Delete(i.mails, 0, 1)
	}
	i.mails = append(i.mails, kept)
	return Receipt{ID: m.ID}, nil
}

// Verify has nothing to ask.
func (i *Inbox) Verify(context.Context) (string, error) { return "", nil }

// Mails returns the mails, the newest first.
func (i *Inbox) Mails() []InboxMail {
	i.mu.Lock()
	defer i.mu.Unlock()
	mails := slices.Clone(i.mails)
	slices.Reverse(mails)
	return mails
}

// Mail returns the mail with that id, unless it is gone.
func (i *Inbox) Mail(id string) (InboxMail, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, kept := range slices.Backward(i.mails) {
		if kept.Message.ID == id {
			return kept, true
		}
	}
	return InboxMail{}, false
}

// Remove removes the mail with that id, and tells whether it was there.
func (i *Inbox) Remove(id string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	before := len(i.mails)
	i.mails = slices.DeleteFunc(i.mails, func(kept InboxMail) bool { return kept.Message.ID == id })
	return len(i.mails) < before
}

// Clear removes all mails.
func (i *Inbox) Clear() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.mails = nil
}

// Raw returns the mail as it would go to an SMTP server.
func (m *InboxMail) Raw() ([]byte, error) { return new(smtpProvider).build(nil, m.Message) }

// inboxHeaders are the headers for people to read: names and subject are not
// encoded.
func inboxHeaders(m *mail.Message) []mail.Header {
	headers := []mail.Header{
		{Name: "From", Value: readable(m.From)},
		{Name: "To", Value: m.To},
		{Name: "Subject", Value: m.Subject},
	}
	if m.ReplyTo.Address != "" {
		headers = append(headers, mail.Header{Name: "Reply-To", Value: readable(m.ReplyTo)})
	}
	headers = append(headers,
		mail.Header{Name: "Date", Value: m.Date.Format(time.RFC1123Z)},
		mail.Header{Name: "Message-ID", Value: "<" + m.MessageID + ">"})
	return append(headers, m.Headers...)
}

func readable(a mail.Address) string {
	if a.Name == "" {
		return a.Address
	}
	return a.Name + " <" + a.Address + ">"
}
