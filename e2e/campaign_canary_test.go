package e2e_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// The campaign measures times on a machine that may have other work. What that
// costs is measured beside it: a canary is a process that does nothing but answer,
// and what its answers take, beyond a moment, the machine has taken from
// everybody. A call is late only if it is late without that.

const (
	canaryVariable = "RELAY_E2E_CANARY"
	canaryPause    = 20 * time.Millisecond
	// canaryMoment is what an answer may take on a machine that is free.
	canaryMoment = 10 * time.Millisecond
)

// sing is the life of the canary.
func sing() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	return http.Serve(listener, http.NotFoundHandler())
}

type canary struct {
	mu     sync.Mutex
	delays []delay
	asked  time.Time // zero, or when the question was put that is open now
}

type delay struct {
	begin  time.Time
	length time.Duration
}

func startCanary(t testing.TB) *canary {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = []string{canaryVariable + "=1"}
	cmd.Stdin = nil
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatal("the canary is silent")
	}
	url := "http://" + lines.Text()
	c, end := &canary{}, make(chan struct{})
	var listening sync.WaitGroup
	listening.Go(func() {
		for {
			select {
			case <-end:
				return
			case <-time.After(canaryPause):
			}
			c.ask(url)
		}
	})
	t.Cleanup(func() {
		close(end)
		listening.Wait()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return c
}

func (c *canary) ask(url string) {
	begin := time.Now()
	c.mu.Lock()
	c.asked = begin
	c.mu.Unlock()
	if response, err := http.Get(url); err == nil {
		_ = response.Body.Close()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = time.Time{}
	if length := time.Since(begin); length > canaryMoment {
		c.delays = append(c.delays, delay{begin, length})
	}
}

// taken is how much of the time since begin the machine has taken.
func (c *canary) taken(begin time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	sum := time.Duration(0)
	if !c.asked.IsZero() {
		sum = min(time.Since(c.asked), time.Since(begin))
	}
	for i := len(c.delays) - 1; i >= 0; i-- {
		d := c.delays[i]
		end := d.begin.Add(d.length)
		if !end.After(begin) {
			break
		}
		sum += min(d.length, end.Sub(begin))
	}
	return sum
}

// longest returns the longest delay.
func (c *canary) longest() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	longest := time.Duration(0)
	for _, d := range c.delays {
		longest = max(longest, d.length)
	}
	return longest
}
