package commands

import (
	"context"
	"sync"
	"time"

	"logto-email-relay/providers"
	"logto-email-relay/relay"
)

// signIn is what became of an attempt to sign in at a provider.
type signIn struct {
	provider string
	member   relay.Member
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
		found[i].provider, found[i].member = m.Name, m
		verifier, ok := m.Service.(providers.Verifier)
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

// signInAgain is how long a provider that could not be signed in at is left alone.
const signInAgain = 10 * time.Second

// signIn opens the first connection of the providers that keep them, and warns of
// those that could not send. It is no reason not to start: what is down now may be
// up when a mail comes. Such a provider rests, and is tried again until it can be
// signed in at, so that readiness tells the truth where no mail does.
func (v *server) signIn(ctx context.Context) {
	troubled := make(map[string]bool)
	for {
		limited, cancel := context.WithTimeout(ctx, time.Duration(v.config.Server.Timeout))
		found := v.house.signIn(limited, connected)
		cancel()
		if ctx.Err() != nil {
			return
		}
		for _, f := range found {
			switch {
			case f.err != nil && !troubled[f.provider]:
				troubled[f.provider] = true
				v.logger.Warn("a provider could not send now", "provider", f.provider, "error", f.err.Error())
				fallthrough
			case f.err != nil:
				f.member.Suspend(providers.AsError(f.err))
			case troubled[f.provider]:
				delete(troubled, f.provider)
				f.member.Resume()
			}
		}
		if len(troubled) == 0 {
			return
		}
		select {
		case <-time.After(signInAgain):
		case <-ctx.Done():
			return
		}
	}
}
