package app

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// Go lets the heap grow by as much as is in use before it collects garbage. That
// is too little for a relay under load, which has 5 MB in use and would collect
// every few hundred mails, and too much for one with a thousand mails waiting
// for a provider that hangs, whose memory would be half garbage. So up to
// freeGrowth there is no haste, and above it a part is enough.
const (
	freeGrowth  = 24 << 20 // bytes in use and garbage together
	leastGrowth = 15       // percent of what is in use
)

// growth returns Go's GOGC for what is in use, in bytes.
func growth(inUse uint64) int {
	if inUse >= freeGrowth {
		return leastGrowth
	}
	return max(leastGrowth, int(100*(freeGrowth-inUse)/max(inUse, 1<<20)))
}

// TuneGarbageCollector sets the pace of the garbage collector anew after each of its
// rounds, for as long as the process lives.
func TuneGarbageCollector() {
	type round struct{ _ *int } // an object that nobody holds
	inUse := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"}}
	now := 100
	var ended func(*round)
	ended = func(r *round) {
		metrics.Read(inUse)
		sum := uint64(0)
		for _, s := range inUse {
			sum += s.Value.Uint64()
		}
		if next := growth(sum); next < now*9/10 || next > now*11/10 { // to set it stops the world for a moment
			now = next
			debug.SetGCPercent(next)
		}
		runtime.SetFinalizer(r, ended)
	}
	runtime.SetFinalizer(new(round), ended)
}
