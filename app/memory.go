package app

import (
	"math"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
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
	left := freeGrowth - min(inUse, freeGrowth)
	return max(leastGrowth, int(100*left/max(inUse, 1<<20)))
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

// LimitMemory makes the garbage collector work harder before the process comes to the
// limit of its cgroup, beyond which the system kills it. Go does not look for that
// limit itself. A tenth is left for what Go does not count, such as sockets. root is
// where the system's files are, "/".
func LimitMemory(root string) {
	if limit := cgroupLimit(root); limit < math.MaxInt64 {
		debug.SetMemoryLimit(limit / 10 * 9)
	}
}

// cgroupLimit returns the least limit of the process's cgroup and those above it, in
// bytes, of both versions of cgroups; math.MaxInt64 if there is none. In a container
// the path is often one of the machine's, and what is there is mounted at the top.
func cgroupLimit(root string) int64 {
	limit := int64(math.MaxInt64)
	groups, _ := os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
	for group := range strings.Lines(string(groups)) { // number:controllers:path
		parts := strings.SplitN(strings.TrimSpace(group), ":", 3)
		if len(parts) < 3 {
			continue
		}
		top, file := "sys/fs/cgroup", "memory.max"
		if slices.Contains(strings.Split(parts[1], ","), "memory") {
			top, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		} else if parts[1] != "" {
			continue
		}
		for path := filepath.Join("/", parts[2]); ; path = filepath.Dir(path) {
			text, _ := os.ReadFile(filepath.Join(root, top, path, file))
			if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil { // "max" is no number
				limit = min(limit, n)
			}
			if path == "/" {
				break
			}
		}
	}
	return limit
}
