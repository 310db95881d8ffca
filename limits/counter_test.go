package limits_test

import (
	"testing"
	"testing/synctest"
	"time"

	"logto-email-relay/limits"
)

func TestCounter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := limits.NewCounter(1000)
		r := limits.Rate{Count: 3, Per: time.Minute}
		take := func(key string) (n int) {
			for range 5 {
				if c.Take(key, r) == 0 {
					n++
				}
			}
			return n
		}
		for _, key := range []string{"one", "another"} {
			if n := take(key); n != 3 {
				t.Errorf("%d of 5 passed for %s", n, key)
			}
		}
		if wait := c.Take("one", r); wait != 20*time.Second {
			t.Errorf("it is to wait %v", wait)
		}
		time.Sleep(20 * time.Second)
		if n := take("one"); n != 1 {
			t.Errorf("%d of 5 passed 20 s later", n)
		}
	})
}

// Of so many keys the half that was asked for last is known, and no more than all.
func TestACounterForgetsWhatIsIdleForLongest(t *testing.T) {
	c := limits.NewCounter(4)
	for _, ask := range []struct {
		key   string
		known bool
	}{
		{"a", false}, {"b", false}, {"a", true}, {"b", true},
		{"c", false}, {"a", true}, {"c", true},
		{"d", false}, {"e", false}, {"f", false}, {"g", false}, {"a", false},
	} {
		if known := c.Take(ask.key, limits.Rate{Count: 1, Per: time.Hour}) > 0; known != ask.known {
			t.Errorf("%s is known: %v", ask.key, known)
		}
	}
}
