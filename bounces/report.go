// Package bounces reads what comes back of mails that were sent by SMTP: mails from
// other servers that say that one could not be delivered, is late, or was called spam
// by its reader.
//
// # What is read
//
// Parse is a function of a mail's bytes. Reports in the form that machines are to read
// (RFC 3464 in RFC 6522, and RFC 5965 for complaints) are read as such. Many servers
// write to people instead, each in a form of its own: of these the text is read
// (text.go), if the mail comes from a mail system, so that answers of people and of
// their vacation programs are no reports. What is left is nil.
//
// Whether a failure says something of the address is decided by the words and the codes
// of the server that refused (reason.go).
//
// # Where it comes from
//
// Anybody can write a mail that looks like a report. Nothing in here believes one: a
// Report tells by which ids and addresses the mail that it is about may be found, and
// who asks has to have given out an id that nobody can guess.
//
// A Mailbox (mailbox.go) is an IMAP mailbox that reports come to.
package bounces

import (
	"bytes"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-message/mail"
)

// MaxSize bounds what is read of a mail, in bytes. What it says about our mail stands in
// front; the copy of it may be cut.
const MaxSize = 256 << 10

// Report is what a mail system says of a mail.
type Report struct {
	// Time is when it was written, zero if it does not say.
	Time time.Time
	// ID is its own Message-ID, empty if it has none.
	ID string
	// Results are what became of the mail, for each recipient that is named. There is at
	// least one; its address may be empty.
	Results []Result
	// SentTo are the addresses that the report itself came to. A sender that has an
	// address of its own for each mail knows by it which one is meant.
	SentTo []string
	// Refs are the ids of the mail that the report is about, as its X-Entity-Ref-ID and
	// its Message-ID have them.
	Refs []string
}

// Outcome is what became of a mail.
type Outcome int

// The outcomes that are reported.
const (
	// Failed: it is given up.
	Failed Outcome = iota
	// Delayed: the server goes on trying.
	Delayed
	// Delivered: the recipient's server has it.
	Delivered
	// Complained: its reader called it spam.
	Complained
)

// Result is what became of a mail for one recipient.
type Result struct {
	Outcome Outcome
	// Address is who did not get it, and Original who it was sent to first, if that is
	// another; both may be empty.
	Address, Original string
	// Hard tells that the address takes no mails at all, for a failure.
	Hard bool
	// Status is a code of RFC 3463, and Diagnostic the words of the server that refused;
	// both may be empty.
	Status, Diagnostic string
}

// Parse reads a mail; nil if it is no report.
func Parse(raw []byte) *Report {
	raw = raw[:min(len(raw), MaxSize)]
	if bytes.HasPrefix(raw, []byte("From ")) { // as in a file with many mails
		_, raw, _ = bytes.Cut(raw, []byte("\n"))
	}
	header, body := headerOf(raw)
	if header == nil {
		return nil
	}
	c := open(entity(header, body))
	var results []Result
	switch {
	case c.isComplaint():
		results = c.complaint()
	case len(c.status) > 0:
		results = c.delivery()
	case !c.receipt && c.isFromMailSystem():
		results = c.free()
	}
	if len(results) == 0 {
		return nil
	}
	h := mail.Header{Header: c.header}
	r := &Report{Results: results, SentTo: c.sentTo(), Refs: c.refs()}
	r.Time, _ = h.Date()
	r.ID, _ = h.MessageID()
	return r
}

// sentTo are the addresses that a report was sent to.
func (c *content) sentTo() (all []string) {
	for _, name := range []string{"Delivered-To", "X-Original-To", "Envelope-To", "X-Envelope-To", "To", "Cc"} {
		for fields := c.header.FieldsByKey(name); fields.Next(); {
			all = append(all, addressesIn(fields.Value())...)
		}
	}
	// Where the copy of a mail begins with its envelope's sender, that is the same.
	if c.original != nil {
		all = append(all, addressesIn(c.original.Get("Return-Path"))...)
	}
	return all
}

// refs are the ids that a mail may be found by.
func (c *content) refs() (all []string) {
	if c.original != nil {
		all = append(all, c.original.Get("X-Entity-Ref-ID"), c.original.Get("Message-Id"))
	}
	all = append(all, strings.Fields(c.header.Get("In-Reply-To")+" "+c.header.Get("References"))...)
	for i, id := range all {
		all[i] = strings.Trim(strings.TrimSpace(id), "<>")
	}
	return slices.DeleteFunc(all, func(id string) bool { return id == "" })
}
