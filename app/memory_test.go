package app

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

func TestGrowth(t *testing.T) {
	const mb = 1 << 20
	for inUse, want := range map[uint64]int{
		0: 2400, 1 * mb: 2300, 6 * mb: 300, 12 * mb: 100, 20 * mb: 20, 24 * mb: leastGrowth, 500 * mb: leastGrowth,
	} {
		if got := growth(inUse); got != want {
			t.Errorf("with %d MB in use %d %%, want %d %%", inUse/mb, got, want)
		}
	}
}

// The pace follows what is in use, up and down.
func TestGarbageCollectorIsTuned(t *testing.T) {
	before := debug.SetGCPercent(100)
	t.Cleanup(func() { debug.SetGCPercent(before) })
	pace := func() int {
		runtime.GC()
		now := debug.SetGCPercent(100)
		debug.SetGCPercent(now)
		return now
	}
	TuneGarbageCollector()
	func() {
		held := make([]byte, 64<<20)
		wait(t, "a slow growth", func() bool { return pace() == leastGrowth })
		runtime.KeepAlive(held)
	}()
	wait(t, "a fast growth", func() bool { return pace() > 100 })
}

func wait(t *testing.T, what string, reached func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !reached(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("no %s", what)
		}
	}
}
