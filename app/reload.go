package app

import (
	"context"
	"reflect"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"logto-email-relay/config"
)

// problem is why the last change was not taken, nil if it was.
func (a *App) problem() error {
	if err := a.refused.Load(); err != nil {
		return *err
	}
	return nil
}

// followChanges signs in at the providers and reads their mailboxes. Whenever one of the files
// of the configuration changes, and on SIGHUP, it reads everything again, until the context ends.
func (a *App) followChanges(ctx context.Context) {
	earlier := make(chan struct{}) // closed when all earlier graphs have retired
	close(earlier)
	defer func() { <-earlier }()
	stop := a.startSigningIn(ctx)
	defer func() { stop() }()
	a.readBounces(ctx, a.current.get())
	defer a.mailboxes.close()
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.Hangups:
		case <-a.changes():
		}
		stop()
		if old := a.reload(); old != nil {
			a.readBounces(ctx, a.current.get())
			earlier = retire(old, a.current.get(), earlier)
		}
		stop = a.startSigningIn(ctx)
	}
}

// startSigningIn signs in at the providers of the current graph in the background.
func (a *App) startSigningIn(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	group.Go(func() {
		a.signIn(ctx, a.current.get())
		debug.FreeOSMemory() // which what was read and built left behind
	})
	return func() { cancel(); group.Wait() }
}

// reload reads the configuration and the templates again and puts a new graph in
// place. What cannot be used leaves everything as it was.
func (a *App) reload() (earlier *Graph) {
	begin := time.Now()
	now := a.current.get()
	loaded, err := a.Load()
	var next *Graph
	var needRestart []string
	if err == nil {
		needRestart = keepAddresses(loaded.Config, now.Config)
		if err = a.checkAdmin(loaded.Config); err == nil {
			next, err = Build(loaded.Config, now, a.providerChanged, a.recorder(), a.logger)
		}
		if err == nil {
			for _, key := range needRestart {
				a.logger.Warn("a change needs a restart", "key", key)
			}
		}
	}
	if err != nil {
		a.refused.Store(&err)
		directories := []string{now.Config.Templates.Dir}
		if loaded.Config != nil { // another one may be where the mistake is
			directories = append(directories, loaded.Config.Templates.Dir)
		}
		a.watch(append(loaded.Files, a.files...), directories...)
		a.logger.Error("not reloaded, the last good configuration stays in use", "error", err.Error())
		return nil
	}
	a.refused.Store(nil)
	a.files = loaded.Files
	a.watch(a.files, next.Config.Templates.Dir)
	earlier = a.use(next, loaded)
	if a.record != nil {
		a.record.Use(next.Config.Deliveries)
	}
	a.logger.Info("reloaded", "providers_kept", next.kept, "configuration_changed", len(needRestart) > 0 || !reflect.DeepEqual(next.Config, now.Config),
		"ms", time.Since(begin).Milliseconds())
	return earlier
}

// keepAddresses leaves the addresses of the listeners and of the record as they are,
// with what they cannot be without, and returns the keys of those that would be others
// after a restart.
func keepAddresses(next, now *config.Config) (needRestart []string) {
	if next.Admin.Address != now.Admin.Address && next.Admin.Token.Reveal() == "" {
		next.Admin.Token = now.Admin.Token // the next address may do without, this one may not
	}
	if next.Server.Address != now.Server.Address { // they belong to the callers that each address has
		if !slices.Equal(next.Server.AllowedIPs, now.Server.AllowedIPs) {
			needRestart = append(needRestart, "server.allowedIPs")
		}
		if !slices.Equal(next.Server.TrustedProxies, now.Server.TrustedProxies) {
			needRestart = append(needRestart, "server.trustedProxies")
		}
		next.Server.AllowedIPs, next.Server.TrustedProxies = now.Server.AllowedIPs, now.Server.TrustedProxies
	}
	for _, address := range []struct {
		key       string
		next, now *string
	}{
		{"server.address", &next.Server.Address, &now.Server.Address},
		{"admin.address", &next.Admin.Address, &now.Admin.Address},
	} {
		if *address.next != *address.now {
			needRestart = append(needRestart, address.key)
			*address.next = *address.now
		}
	}
	if next.Deliveries.Database.Reveal() != now.Deliveries.Database.Reveal() {
		needRestart = append(needRestart, "deliveries.database")
		next.Deliveries = now.Deliveries // how addresses are kept, and for how long, is a matter of that database
	}
	return needRestart
}

// retire waits in the background for the requests that an old graph serves, and
// lets go of the providers that the next one did not take over. Graphs retire one
// after the other, since one may still use a provider that came to it from the one
// before. The channel is closed when it is done.
func retire(old, next *Graph, earlier <-chan struct{}) (done chan struct{}) {
	done = make(chan struct{})
	go func() {
		defer close(done)
		<-earlier
		old.requests.Wait()
		_ = old.close(next) // the connections are out of use
	}()
	return done
}

// watch follows the files that the configuration is made of.
func (a *App) watch(files []string, templates ...string) {
	if a.watcher == nil {
		return
	}
	if err := a.watcher.follow(files, templates...); err != nil {
		a.logger.Warn("not all files are watched; send SIGHUP after a change", "error", err.Error())
	}
}

// changes tells of changed files; never where nothing can be watched.
func (a *App) changes() <-chan struct{} {
	if a.watcher == nil {
		return nil
	}
	return a.watcher.changed
}
