package mail

import "time"

// What an operator may want to be told of, besides what becomes of mails.
const (
	// Failover: another provider had to take a mail than the one that was asked first.
	Failover = "failover"
	// ProviderResting: a provider is put behind all others for a while.
	ProviderResting = "provider_resting"
)

// Notification is an event on its way to an endpoint of the operator's.
type Notification struct {
	// ID stays the same however often it is sent.
	ID string
	// Body is the JSON that is sent.
	Body []byte
	// Since is when the event was recorded, and Attempts how often it has been taken up
	// to be sent, this time included.
	Since    time.Time
	Attempts int
	// Due is when it is to be sent again.
	Due time.Time
}
