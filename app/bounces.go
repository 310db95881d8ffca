package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"logto-email-relay/config"
	"logto-email-relay/deliveries"
	"logto-email-relay/mail"
	"logto-email-relay/providers"
	"logto-email-relay/relay"
)

// applyTime bounds the wait for the record to take a bounce.
const applyTime = 10 * time.Second

// mailboxes are those that bounces are read from, by their providers. One whose provider
// goes over to the next graph goes on.
type mailboxes struct {
	mu   sync.Mutex
	open map[*relay.Provider]*mailbox
}

// mailbox is one of them.
type mailbox struct {
	stop func()
	mu   sync.Mutex
	// begun tells that something was told of it, and err is why it is not read, since a
	// time; nil if it is.
	begun bool
	err   error
	since time.Time
}

// readBounces reads the mailboxes of a graph's providers, and no others, until the
// context ends.
func (a *App) readBounces(ctx context.Context, g *Graph) {
	if a.record == nil {
		return
	}
	wanted := g.bounceReaders()
	a.mailboxes.mu.Lock()
	var ended []*mailbox
	for provider, box := range a.mailboxes.open {
		if wanted[provider] == nil {
			ended = append(ended, box)
			delete(a.mailboxes.open, provider)
		}
	}
	for provider, reader := range wanted {
		if a.mailboxes.open[provider] == nil {
			a.mailboxes.open[provider] = a.readMailbox(ctx, provider.Name, reader)
		}
	}
	a.mailboxes.mu.Unlock()
	for _, box := range ended {
		box.stop()
	}
}

func (a *App) readMailbox(ctx context.Context, name string, reader providers.BounceReader) *mailbox {
	ctx, cancel := context.WithCancel(ctx)
	box := new(mailbox)
	var reading sync.WaitGroup
	box.stop = func() { cancel(); reading.Wait() }
	a.metrics.ExpectEvents([]string{name})
	take := func(ctx context.Context, reports []mail.Report) (unknown int, err error) {
		ctx, cancel := context.WithTimeout(ctx, applyTime)
		defer cancel()
		applied, unknown, err := a.record.Apply(ctx, mail.ReportsFrom(name, reports))
		if err != nil && !errors.Is(err, deliveries.ErrElsewhere) { // which a mailbox looks after by itself
			return 0, fmt.Errorf("the record does not take bounces: %w", err)
		}
		a.metrics.Events(name, applied, 0)
		return unknown, nil
	}
	reading.Go(func() {
		reader.WatchBounces(ctx, take, func(err error) { box.told(a, name, err) })
	})
	return box
}

// told logs what is new.
func (m *mailbox) told(a *App, name string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.begun && fmt.Sprint(m.err) == fmt.Sprint(err) {
		return
	}
	if err == nil {
		a.logger.Info("bounces are read", "provider", name)
	} else {
		a.logger.Warn("bounces are not read", "provider", name, "error", err.Error())
	}
	if m.err == nil {
		m.since = time.Now()
	}
	m.begun, m.err = true, err
}

// String tells people how it stands.
func (m *mailbox) String() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case !m.begun:
		return "the mailbox is being opened"
	case m.err != nil:
		return fmt.Sprintf("not read since %s: %v", m.since.UTC().Format(time.RFC3339), m.err)
	}
	return "read"
}

// describe adds the state of all mailboxes.
func (m *mailboxes) describe(details map[string]string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for provider, box := range m.open {
		details["bounces "+provider.Name] = box.String()
	}
}

// close ends the reading.
func (m *mailboxes) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for provider, box := range m.open {
		box.stop()
		delete(m.open, provider)
	}
}

// bounceReaders are the providers whose bounces come to a mailbox.
func (g *Graph) bounceReaders() map[*relay.Provider]providers.BounceReader {
	readers := make(map[*relay.Provider]providers.BounceReader)
	for i, s := range g.Config.Providers {
		if reads, ok := s.(providers.BounceSettings); ok && reads.ReadsBounces() {
			if reader, ok := g.members[i].Service.(providers.BounceReader); ok {
				readers[g.members[i].Provider] = reader
			}
		}
	}
	return readers
}

// CheckBounces signs in at the mailboxes of the providers that have one, and returns why
// one cannot be read, nil if it can, by the name of the provider.
func (g *Graph) CheckBounces(ctx context.Context) map[string]error {
	var mu sync.Mutex
	var asking sync.WaitGroup
	found := make(map[string]error)
	for provider, reader := range g.bounceReaders() {
		asking.Go(func() {
			err := reader.CheckBounces(ctx)
			mu.Lock()
			defer mu.Unlock()
			found[provider.Name] = err
		})
	}
	asking.Wait()
	return found
}

// ReadBounce returns what a mail that came back reports, as the provider of a name
// understands it.
func ReadBounce(c *config.Config, name string, message []byte) ([]mail.Report, error) {
	for _, s := range c.Providers {
		if _, comesBack := s.(providers.BounceSettings); !comesBack || s.Shared().Name != name {
			continue
		}
		service, err := s.Open()
		if err != nil {
			return nil, fmt.Errorf("provider %s: %w", name, err)
		}
		if closer, ok := service.(io.Closer); ok {
			defer func() { _ = closer.Close() }()
		}
		if reader, ok := service.(providers.BounceReader); ok {
			return mail.ReportsFrom(name, reader.Bounce(message)), nil
		}
	}
	return nil, fmt.Errorf("there is no smtp provider of the name %q", name)
}
