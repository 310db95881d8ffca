package limits_test

import (
	"context"
	"fmt"
	"hash/maphash"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"logto-email-relay/limits"
)

// many are the mails of a million people.
func many() []limits.Mail {
	mails := make([]limits.Mail, 1_000_000)
	for i := range mails {
		mails[i] = limits.Mail{To: fmt.Sprintf("person.%d@example%d.org", i, i%1000),
			IP: fmt.Sprintf("198.%d.%d.%d", i>>16, i>>8&255, i&255)}
	}
	return mails
}

// BenchmarkTake is what the limits cost a mail when there are a million keys.
func BenchmarkTake(b *testing.B) {
	mails := many()
	for name, s := range map[string]limits.Settings{
		"recipient": limits.DefaultSettings(),
		"all":       {Rules: rules(b, "10/10m", "60/10m", "10000000/10m", "100000000/10m")},
	} {
		b.Run(name, func(b *testing.B) {
			l := limiter(b, s)
			for _, m := range mails {
				l.Take(b.Context(), m)
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				l.Take(context.Background(), mails[i*7919%len(mails)])
				i++
			}
		})
	}
}

// BenchmarkLibrary is the same in the list of a library, which knows the last use
// of each key.
func BenchmarkLibrary(b *testing.B) {
	mails := many()
	before := heapInUse()
	list, err := simplelru.NewLRU[uint64, int64](1_000_000, nil)
	if err != nil {
		b.Fatal(err)
	}
	var mu sync.Mutex
	seed, start := maphash.MakeSeed(), time.Now()
	take := func(address string) bool {
		key := maphash.String(seed, address)
		mu.Lock()
		defer mu.Unlock()
		now := time.Since(start)
		known, _ := list.Get(key)
		empty := max(time.Duration(known), now) + time.Minute
		if empty-now > 10*time.Minute {
			return false
		}
		list.Add(key, int64(empty))
		return true
	}
	for _, m := range mails {
		take(m.To)
	}
	bytes := float64(heapInUse()-before) / 1e6
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		take(mails[i*7919%len(mails)].To)
		i++
	}
	b.ReportMetric(bytes, "bytes/key")
}

func heapInUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
