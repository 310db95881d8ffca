package commands

import (
	"context"
	"sync"
	"time"

	"logto-email-relay/providers"
)

// signIn is what became of an attempt to sign in at a provider.
type signIn struct {
	provider string
	// known is false where only a mail could tell.
	known bool
	note  string
	err   error // a *providers.Error
}

// signIn signs in at the wanted providers at the same time, and gives up with
// the context. The answers are in the order of the configuration.
func (h *house) signIn(ctx context.Context, wanted func(providers.Verifier) bool) []signIn {
	found := make([]signIn, len(h.members))
	var group sync.WaitGroup
	for i, m := range h.members {
		found[i].provider = m.Name
		verifier, ok := m.Provider.(providers.Verifier)
		if !ok || !wanted(verifier) {
			continue
		}
		found[i].known = true
		group.Go(func() { found[i].note, found[i].err = verifier.Verify(ctx) })
	}
	group.Wait()
	return found
}

// String tells the operator how it went.
func (f signIn) String() string {
	switch {
	case !f.known:
		return "only a mail can show whether this works (logto-email-relay send --to …)"
	case f.err != nil:
		return "cannot send: " + f.err.Error()
	case f.note != "":
		return "signs in; " + f.note
	}
	return "signs in"
}

func everyProvider(providers.Verifier) bool { return true }

func connected(v providers.Verifier) bool {
	_, keepsConnection := v.(providers.Connected)
	return keepsConnection
}

// signIn opens the first connection of the providers that keep them, and warns of
// those that could not send, once. It is no reason not to start: what is down now
// may be up when a mail comes.
func (v *server) signIn(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, time.Duration(v.config.Server.Timeout))
	defer cancel()
	for _, found := range v.house.signIn(limited, connected) {
		switch {
		case ctx.Err() != nil:
			return
		case found.err != nil:
			v.house.relay.Suspend(found.provider, providers.AsError(found.err))
			v.logger.Warn("a provider could not send now", "provider", found.provider, "error", found.err.Error())
		case found.note != "":
			v.logger.Info("a provider signs in", "provider", found.provider, "note", found.note)
		}
	}
}
