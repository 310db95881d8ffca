package app

import (
	"context"
	"time"

	"logto-email-relay/providers"
	"logto-email-relay/relay"
)

// signInAgain is how long a provider that could not be signed in at is left alone.
const signInAgain = 10 * time.Second

// SignInTime is how long signing in may take where no mail waits for it, with the time
// that a mail has. Some servers let everybody wait before they greet, or after a wrong
// password.
func SignInTime(timeout time.Duration) time.Duration { return min(4*timeout, 30*time.Second) }

// signIn opens the first connection of the providers that keep them, and warns of
// those that could not send. It is no reason not to start: what is down now may be
// up when a mail comes. Such a provider rests, and is tried again until it can be
// signed in at, so that readiness tells the truth where no mail does. Providers
// that are in use since before a reload are not asked again.
func (a *App) signIn(ctx context.Context, g *Graph) {
	waiting := make(map[*relay.Provider]bool) // for their first success
	known := make(map[*relay.Provider]bool)
	for _, m := range g.members {
		_, keepsConnection := m.Service.(providers.Connected)
		known[m.Provider] = a.signedIn[m.Provider]
		waiting[m.Provider] = keepsConnection && !known[m.Provider]
	}
	a.signedIn = known
	told := make(map[*relay.Provider]bool)
	for {
		limited, cancel := context.WithTimeout(ctx, SignInTime(time.Duration(g.Config.Server.Timeout)))
		found := g.SignIn(limited, func(p *relay.Provider) bool { return waiting[p] })
		cancel()
		if ctx.Err() != nil {
			return
		}
		troubled := false
		for _, f := range found {
			switch {
			case f.Err != nil:
				troubled = true
				if !told[f.Provider] {
					told[f.Provider] = true
					a.logger.Warn("a provider could not send now", "provider", f.Provider.Name, "error", f.Err.Error())
				}
				if f.Provider.Suspend(providers.AsError(f.Err)) {
					a.tellOfRest(f.Provider.Status())
				}
			case f.Known:
				delete(waiting, f.Provider)
				a.signedIn[f.Provider] = true
				if f.Provider.Resume() {
					a.providerChanged(f.Provider.Status())
				}
			}
		}
		if !troubled {
			return
		}
		select {
		case <-time.After(signInAgain):
		case <-ctx.Done():
			return
		}
	}
}
