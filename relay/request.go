package relay

import (
	"fmt"
	"time"

	"logto-email-relay/providers"
)

// Request is one mail that Logto asks for, validated.
type Request struct {
	// ID is the correlation id of the webhook and its mail.
	ID string
	// To is the recipient as ParseRecipient returns it.
	To string
	// Type is Logto's message type; one that the templates do not know is sent
	// as Generic.
	Type string
	// Payload is the JSON object that came with it, numbers as json.Number.
	Payload map[string]any
}

// Receipt is what is known of a mail that a provider accepted.
type Receipt struct {
	// Provider is the name of the provider that accepted it.
	Provider string
	// ID is that provider's id of the message.
	ID string
	// Locale is the language that the mail was written in; empty if it came from
	// a template of the provider's own, which has none.
	Locale string
	// Attempts are all attempts in order; the last one succeeded.
	Attempts []Attempt
}

// Attempt is one try at one provider.
type Attempt struct {
	Provider string
	Duration time.Duration
	// Err is nil for the attempt that was accepted.
	Err *providers.Error
}

// Reason is the machine-readable word for a request that ended without an
// accepted mail. It stands in the X-Relay-Error header, the log and the metrics.
type Reason string

// The reasons that a request can end with. The first group is decided before
// relay.Deliver is called.
const (
	Malformed            Reason = "malformed"
	TooLarge             Reason = "too_large"
	UnsupportedMediaType Reason = "unsupported_media_type"
	Unauthorized         Reason = "unauthorized"
	Forbidden            Reason = "forbidden"
	NotFound             Reason = "not_found"
	MethodNotAllowed     Reason = "method_not_allowed"

	Invalid             Reason = "invalid"
	RecipientRefused    Reason = "recipient_refused"
	RecipientSuppressed Reason = "recipient_suppressed"
	RateLimited         Reason = "rate_limited"
	ProviderRefused     Reason = "provider_refused"
	ProviderUnavailable Reason = "provider_unavailable"
	Timeout             Reason = "timeout"
	Uncertain           Reason = "uncertain"
	Internal            Reason = "internal"
)

// Error is a request that ended without an accepted mail.
type Error struct {
	Reason Reason
	// RetryAfter is when another try makes sense; zero if nobody can say.
	RetryAfter time.Duration
	// Locale is the language that the mail would have been written in; empty
	// when it was not decided.
	Locale string
	// Attempts are all attempts in order, each with its error.
	Attempts []Attempt
	// Err is the cause. Its text is for the log only.
	Err error
}

// Error says the reason and the cause. It is for the log, never for an answer.
func (e *Error) Error() string {
	if e.Err == nil {
		return string(e.Reason)
	}
	return fmt.Sprintf("%s: %v", e.Reason, e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }
