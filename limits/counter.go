package limits

import "time"

// Counter counts what is not a mail, in the memory of this process alone, and within
// the same bounds: keys that are idle for longest are forgotten first, and no key has
// a timer. It is safe for use by many goroutines at a time.
type Counter struct{ memory *memory }

// NewCounter makes a counter that knows about so many keys at a time.
func NewCounter(keys int) *Counter { return &Counter{newMemory(keys)} }

// Take counts one for a key and returns 0, or counts nothing and returns how long it takes
// until there is room again.
func (c *Counter) Take(key string, r Rate) time.Duration {
	_, wait := c.memory.take([]count{{of: key, rate: r}})
	return wait
}
