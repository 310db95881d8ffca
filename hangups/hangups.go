// Package hangups takes SIGHUP, by which operators ask to read the configuration
// again, before anything else happens. A signal that nobody waits for ends the
// process, and it takes a while until main is reached: Go initializes all packages
// first, those without imports of their own before the others. This one imports
// nothing but what signals need, so that its turn comes within the first millisecond.
package hangups

import (
	"os"
	"os/signal"
	"syscall"
)

// Signals are those that have come, one at most if nobody looks.
var Signals = take()

func take() <-chan os.Signal {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP)
	return signals
}
