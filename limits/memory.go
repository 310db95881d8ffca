package limits

import (
	"hash/maphash"
	"math/bits"
	"sync"
	"time"
)

// maxKeys bounds the counters in memory: a million of them in 21 MB.
const maxKeys = 1 << 20

// memory is the counters of this process. Each is a hash and a moment, 16 bytes,
// in one of two tables. The younger one has all that was used since it was made.
// When it has half of the keys, or the longest period of all limits has passed, it
// becomes the older one, and what was in that is forgotten: the keys that are idle
// for longest, or those whose time is over anyway. So there is nothing to sweep, no
// timer, no pointer for the garbage collector to follow, and after an attack the
// memory is given back.
//
// A library's cache takes six times the memory, for a list of all keys by their last
// use (BenchmarkLibrary). Go's own map has 36 MB for a million keys, since it grows in
// steps of two.
type memory struct {
	seed  maphash.Seed
	most  int // keys in a table
	start time.Time

	mu         sync.Mutex
	young, old table
	turned     time.Duration // when young was made, since start
	longest    time.Duration // period of all limits so far
}

func newMemory(keys int) *memory {
	return &memory{seed: maphash.MakeSeed(), most: keys / 2, start: time.Now(), young: newTable(), old: newTable()}
}

// take counts for all, or returns the one that refuses for longest and how long it takes
// until there is room again.
func (m *memory) take(counts []count) (refused int, wait time.Duration) {
	return m.count(counts, true)
}

// add counts for all, whatever they say.
func (m *memory) add(counts []count) { m.count(counts, false) }

func (m *memory) count(counts []count, mayRefuse bool) (refused int, wait time.Duration) {
	var roomBefore, roomAfter [mostCounts]slot
	before, after := roomBefore[:len(counts)], roomAfter[:len(counts)]
	for i, c := range counts {
		hash := maphash.Comparable(m.seed, c)
		before[i].hash = max(hash, 1) // 0 is an empty slot
	}
	refused = none
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Since(m.start)
	for i, c := range counts {
		m.longest = max(m.longest, c.rate.Per)
		full := now + c.rate.Per
		before[i].empty = max(m.emptyAt(before[i].hash), now)
		empty := before[i].empty + c.rate.interval()
		if over := empty - full; mayRefuse && over > wait {
			refused, wait = i, over
		}
		after[i] = slot{before[i].hash, min(empty, full)}
	}
	if m.young.used+len(counts) > m.most || now-m.turned > m.longest {
		m.young, m.old, m.turned = newTable(), m.young, now
	}
	if refused == none {
		m.young.put(after)
	} else {
		m.young.put(before) // to ask is to be in use, too
	}
	return refused, wait
}

// emptyAt returns when the bucket of a key is empty; some moment of the past if
// nothing is known of it.
func (m *memory) emptyAt(hash uint64) time.Duration {
	if s := m.young.find(hash); s.hash == hash {
		return s.empty
	}
	return m.old.find(hash).empty
}

// table is a hash table with open addressing. A slot's place follows from the high
// bits of its hash, so that to grow is to go through memory in order.
type table struct {
	slots []slot
	used  int
}

// slot holds when the bucket of a key is empty, since the start; a zero hash
// stands for no key.
type slot struct {
	hash  uint64
	empty time.Duration
}

// The size that a table begins with; doubled ten times it has half of maxKeys at
// its fullest, four fifths.
const (
	firstSlots = 640
	fullest    = 0.8
)

func newTable() table { return table{slots: make([]slot, firstSlots)} }

// find returns the slot of a key, or the empty one that it would have.
func (t *table) find(hash uint64) *slot {
	place, _ := bits.Mul64(hash, uint64(len(t.slots)))
	for {
		if s := &t.slots[place]; s.hash == hash || s.hash == 0 {
			return s
		}
		if place++; place == uint64(len(t.slots)) {
			place = 0
		}
	}
}

func (t *table) put(slots []slot) {
	for _, s := range slots {
		at := t.find(s.hash)
		if at.hash == 0 {
			if t.used++; float64(t.used) > fullest*float64(len(t.slots)) {
				t.grow()
				at = t.find(s.hash)
			}
		}
		*at = s
	}
}

func (t *table) grow() {
	small := t.slots
	t.slots = make([]slot, 2*len(small))
	for _, s := range small {
		if s.hash != 0 {
			*t.find(s.hash) = s
		}
	}
}
