package relay

import (
	"context"
	"time"

	"logto-email-relay/providers"
)

// Provider is a mail service as the relay knows it: under its name, with its
// health and its bound on the sends under way.
type Provider struct {
	ProviderOptions
	health health
	places chan struct{} // holds a value for every send under way
}

// ProviderOptions are what a Provider is made of.
type ProviderOptions struct {
	Name string
	// Service is what the mails are handed to.
	Service providers.Provider
	// Sender is the sender of the provider's own settings, if any.
	Sender providers.Sender
	// Timeout bounds one attempt; zero for no bound of its own.
	Timeout time.Duration
	// MaxConcurrent bounds the sends under way at a time.
	MaxConcurrent int
}

// NewProvider makes a Provider in good health.
func NewProvider(o ProviderOptions) *Provider {
	return &Provider{
		ProviderOptions: o,
		health:          health{turned: make(chan struct{})},
		places:          make(chan struct{}, o.MaxConcurrent),
	}
}

// acquire waits for one of the places, and tells whether there was one in time.
func (p *Provider) acquire(ctx context.Context, wait time.Duration) bool {
	select {
	case p.places <- struct{}{}:
		return true
	default:
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case p.places <- struct{}{}:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

func (p *Provider) release() { <-p.places }

// admitAgain tells whether a mail that has waited may come again. Half of the places
// are for those that come for the first time.
func (p *Provider) admitAgain(now time.Time) bool {
	return 2*len(p.places) < cap(p.places) && p.health.admitAgain(now)
}

// isRepeatable tells whether an uncertain mail may be sent to the service again.
func (p *Provider) isRepeatable() bool {
	_, ok := p.Service.(providers.Repeatable)
	return ok
}

// Status is the state of one provider, for probes, metrics and the log.
type Status struct {
	Name string
	// Resting tells that the provider is put behind all others, and Until when
	// the next mail tries it in its turn again.
	Resting bool
	Until   time.Time
	// Cause is why it rests.
	Cause *providers.Error
	// InFlight is how many sends are under way, of MaxConcurrent at most.
	InFlight, MaxConcurrent int
}

// IsDue tells whether the rest of a provider is over, so that the next mail tries it.
func (s *Status) IsDue(now time.Time) bool { return s.Resting && !now.Before(s.Until) }

// Status returns the state of the provider.
func (p *Provider) Status() Status {
	p.health.mu.Lock()
	defer p.health.mu.Unlock()
	status := Status{Name: p.Name, Resting: p.health.resting, InFlight: len(p.places), MaxConcurrent: cap(p.places)}
	if p.health.resting {
		status.Until, status.Cause = p.health.restUntil, p.health.cause
	}
	return status
}

// Suspend puts the provider behind all others because of a failure to sign in, as
// if mails had failed. It tells whether a rest has begun with it.
func (p *Provider) Suspend(cause *providers.Error) (began bool) {
	return p.health.suspend(cause, time.Now())
}

// Resume ends the provider's rest, because it could be signed in at. It tells
// whether there was one.
func (p *Provider) Resume() (rested bool) { return p.health.signedIn(time.Now()) }
