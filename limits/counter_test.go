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
