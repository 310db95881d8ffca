package commands

import (
	"errors"
	"fmt"
	"io"
	"time"

	"logto-email-relay/config"
	"logto-email-relay/providers"
	"logto-email-relay/relay"
	"logto-email-relay/templates"
)

// house is everything between the listeners and the mail services, joined.
type house struct {
	catalogue *templates.Catalogue
	relay     *relay.Relay
	// warnings are what the operator may want to mend in templates.
	warnings []string
	members  []relay.Member
	// inbox is the provider that shows its mails, if there is one.
	inbox   *providers.Inbox
	closers []io.Closer
}

// build joins the house from a checked configuration. It connects to nothing.
// changed is told of providers in trouble, if it is not nil.
func build(c *config.Config, changed func(relay.Status)) (*house, error) {
	catalogue, err := templates.Open(c.Templates)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errTemplates, err)
	}
	h := &house{catalogue: catalogue, warnings: catalogue.Warnings()}
	for i, s := range c.Providers {
		shared := s.Shared()
		renderer, err := h.renderer(s, i)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%w: %w", errTemplates, err), h.Close())
		}
		provider, err := s.Open()
		if err != nil {
			return nil, errors.Join(fmt.Errorf("provider %s: %w", shared.Name, err), h.Close())
		}
		if closer, ok := provider.(io.Closer); ok {
			h.closers = append(h.closers, closer)
		}
		if inbox, ok := provider.(*providers.Inbox); ok {
			h.inbox = inbox
		}
		h.members = append(h.members, relay.Member{Renderer: renderer, Provider: relay.NewProvider(relay.ProviderOptions{
			Name:          shared.Name,
			Service:       provider,
			Sender:        s.Sender(),
			Timeout:       time.Duration(shared.Timeout),
			MaxConcurrent: shared.Concurrent(),
		})})
	}
	h.relay, err = relay.New(relay.Options{
		Renderer:      catalogue,
		Members:       h.members,
		Routes:        c.Routes,
		Sender:        c.Sender,
		Branding:      c.Branding,
		FailUncertain: c.Uncertain == config.Fail,
		Changed:       changed,
	})
	if err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

// renderer lays the templates of a provider's own settings over the catalogue;
// nil if there are none.
func (h *house) renderer(s providers.Settings, index int) (relay.Renderer, error) {
	mails := s.Mails()
	if len(mails) == 0 {
		return nil, nil
	}
	for i := range mails {
		mails[i].Key = fmt.Sprintf("providers[%d].%s", index, mails[i].Key)
	}
	overlay, err := h.catalogue.With(mails)
	if err != nil {
		return nil, err
	}
	h.warnings = append(h.warnings, overlay.Warnings()...)
	return overlay, nil
}

// errTemplates marks operator's templates that cannot be used, a mistake like
// one in the configuration.
var errTemplates = errors.New("templates")

// Close lets go of the providers' connections.
func (h *house) Close() error {
	var errs []error
	for _, closer := range h.closers {
		errs = append(errs, closer.Close())
	}
	return errors.Join(errs...)
}
