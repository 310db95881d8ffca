package mail

import (
	"slices"
	"strings"
	"time"
)

// Delivery is one mail and what became of it. Whoever tells of the mail reads
// this value: the log line, the metrics, the answer to the caller, the record. It
// holds no code, link, subject or body.
type Delivery struct {
	// ID is the id of the webhook and its mail.
	ID string
	// Time is when the relay began with it.
	Time time.Time
	// Tenant is whose webhook it was; empty where callers have no names.
	Tenant string
	// Trace is the id by which the callers know the webhook, the trace id of theirs or
	// the id of a proxy; empty if they gave none.
	Trace string
	// To is the recipient, as ParseRecipient returns it.
	To string
	// RedirectedTo is the address that the mail went to instead; empty if it went to
	// its recipient.
	RedirectedTo string
	// Type is Logto's message type.
	Type string
	// Locale is the language that the mail is written in, and that its reader is
	// answered in.
	Locale string
	// Application and Organization are Logto's ids of the context; empty if none.
	Application, Organization string
	// Route is the route that took the mail, as an index, or -1 for none.
	Route int
	// Attempts are all attempts in order. If the mail was accepted, the last one
	// was.
	Attempts []Attempt
	Status   Status
	// Reason says why no provider accepted the mail; empty if one did.
	Reason Reason
	// Cause is what lies beneath the reason, for the log alone, with nothing of the
	// message in it; mostly empty, because the attempts say it.
	Cause string
	// RetryAfter is when another mail makes sense; zero if nobody can say.
	RetryAfter time.Duration
	// Suggestion is the domain that was most likely meant, where that of To does not
	// exist; empty if nobody knows.
	Suggestion string
	// Provider is the name of the provider that accepted the mail, and ProviderID
	// its id of the message.
	Provider, ProviderID string
	// Duration is how long it took from Time to the verdict.
	Duration time.Duration
	// Events are what was told of the mail after the verdict, in order of their
	// times.
	Events []Event
}

// Accepted tells whether a provider took responsibility for the mail. Nothing
// else is a reason to answer 200.
func (d *Delivery) Accepted() bool { return d.Status == StatusAccepted }

// Status is the strongest that is known of a mail.
type Status string

// What can be known of a mail, from the weakest to the strongest. Up to
// StatusSuppressed it is known when the webhook is answered; what becomes of a mail
// after its acceptance is told by events.
const (
	// StatusSending: the first attempt may be under way.
	StatusSending Status = "sending"
	// StatusUncertain: it was handed over and no verdict came back.
	StatusUncertain Status = "uncertain"
	// StatusAccepted: a provider took responsibility for it.
	StatusAccepted Status = "accepted"
	// StatusDeferred: the recipient's server put it off, and is asked again.
	StatusDeferred Status = "deferred"
	// StatusFailed: no provider took it, and none can have sent it.
	StatusFailed Status = "failed"
	// StatusRefused: its recipient was refused for good.
	StatusRefused Status = "refused"
	// StatusSuppressed: its recipient is on a list of addresses to spare.
	StatusSuppressed Status = "suppressed"
	// StatusDelivered: the recipient's server took it.
	StatusDelivered Status = "delivered"
	// StatusBounced: it came back, perhaps after it had been delivered.
	StatusBounced Status = "bounced"
	// StatusComplained: its reader called it spam.
	StatusComplained Status = "complained"
)

var strength = []Status{StatusSending, StatusUncertain, StatusAccepted, StatusDeferred, StatusFailed, StatusRefused,
	StatusSuppressed, StatusDelivered, StatusBounced, StatusComplained}

// Statuses are all of them, from the weakest to the strongest.
func Statuses() []Status { return slices.Clone(strength) }

// Known tells whether it is one of the statuses above.
func (s Status) Known() bool { return slices.Contains(strength, s) }

// StrongerThan tells whether the status says more than another one. Events come in
// any order; the strongest status stays.
func (s Status) StrongerThan(other Status) bool {
	return slices.Index(strength, s) > slices.Index(strength, other)
}

// Event is something that was told of a mail after its verdict.
type Event struct {
	Time   time.Time
	Status Status
	// Provider is the name of the provider that told it, and Detail its words with
	// everything private taken out.
	Provider, Detail string
	// Soft marks a bounce that says little of the next mail, such as that of a full
	// mailbox.
	Soft bool
	// Ours marks a soft bounce that says nothing of the address: of the sender, its
	// machine, the way there, a policy, or another address that the mail was sent on to.
	Ours bool
}

// Report is an event as a service reports it.
type Report struct {
	Event
	// ID is the relay's id of the mail, empty if the service did not bring it back,
	// and ProviderID the service's own.
	ID, ProviderID string
	// To are the addresses that a bounce is about, if it says so. One of another address
	// than the mail's, as after forwarding, says little of the next mail.
	To []string
	// Key is the event's own: what is reported again has the same.
	Key string
}

// ReportsFrom makes reports those of a provider, which does not know its name.
func ReportsFrom(provider string, reports []Report) []Report {
	for i := range reports {
		reports[i].Provider = provider
	}
	return reports
}

// Reason is the machine-readable word for a mail that no provider accepted. It
// stands in the X-Relay-Error header, the log and the metrics.
type Reason string

// The reasons that a delivery can end with.
const (
	// RecipientRefused: the address is malformed, does not exist or takes no mail.
	RecipientRefused Reason = "recipient_refused"
	// RecipientSuppressed: it is on a list of addresses to spare, the relay's or a
	// service's.
	RecipientSuppressed Reason = "recipient_suppressed"
	// RateLimited: a limit of the relay's own.
	RateLimited Reason = "rate_limited"
	// ProviderRefused: every provider refused the message or its own configuration.
	ProviderRefused Reason = "provider_refused"
	// ProviderUnavailable: providers were down, throttling or at their bound.
	ProviderUnavailable Reason = "provider_unavailable"
	// Timeout: the deadline of the mail passed.
	Timeout Reason = "timeout"
	// Uncertain: the mail was handed over and no verdict came back.
	Uncertain Reason = "uncertain"
	// Internal: a fault of the relay's own.
	Internal Reason = "internal"
)

// Attempt is one try at one provider.
type Attempt struct {
	// Provider is the provider's name.
	Provider string
	// Kind is AttemptAccepted, or the kind of the failure in one word.
	Kind string
	// Stage is where it failed, Code the service's machine-readable verdict, Detail
	// its words with everything private taken out, and Hint what an operator may
	// change. All are empty for an attempt that was accepted.
	Stage, Code, Detail, Hint string
	// RetryAfter is how long the service asks to be left alone; zero if it does
	// not say.
	RetryAfter time.Duration
	// Start is when it began, from the delivery's Time; zero if nobody noted it.
	Start, Duration time.Duration
}

// AttemptAccepted is the kind of an attempt that was accepted.
const AttemptAccepted = "accepted"

// String describes the attempt in one line, without its provider and duration.
func (a Attempt) String() string {
	said := make([]string, 0, 5)
	for _, part := range []string{a.Kind, a.Stage, a.Code, a.Detail, a.Hint} {
		if part != "" {
			said = append(said, part)
		}
	}
	return strings.Join(said, ": ")
}
