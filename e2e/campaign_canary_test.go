package e2e_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
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
	// queueInterval is how long the processors have to be taken to count.
	queueInterval = 100 * time.Millisecond
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
	// When the queue for the processors was looked at, and how long it was.
	checked time.Time
	waited  time.Duration
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
	c, end := &canary{checked: time.Now(), waited: starvation()}, make(chan struct{})
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

// ask waits for one answer.
func (c *canary) ask(url string) {
	begin := time.Now()
	c.mu.Lock()
	c.asked = begin
	c.mu.Unlock()
	if response, err := http.Get(url); err == nil {
		_ = response.Body.Close()
	}
	length := time.Since(begin)
	waited := starvation()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = time.Time{}
	since := begin.Sub(c.checked) + length
	// A process that sleeps most of the time is served first where others have to
	// queue. Linux tells how long somebody has been queueing for a processor; if
	// that was most of the time, the machine has more work than it can do.
	if since > queueInterval {
		if queued := waited - c.waited; queued > since/2 {
			c.delays = append(c.delays, delay{c.checked, since})
			length = 0 // it is in there
		}
		c.checked, c.waited = c.checked.Add(since), waited
	}
	if length > canaryMoment {
		c.delays = append(c.delays, delay{begin, length})
	}
}

// starvation is for how long in all some process was ready and had no processor;
// zero where the kernel does not say.
func starvation() time.Duration {
	text, err := os.ReadFile("/proc/pressure/cpu")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(text), "\n")
	_, total, _ := strings.Cut(first, "total=")
	microseconds, _ := strconv.ParseInt(total, 10, 64) // zero if it is none
	return time.Duration(microseconds) * time.Microsecond
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

// sum is what the machine has taken in all.
func (c *canary) sum() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	sum := time.Duration(0)
	for _, d := range c.delays {
		sum += d.length
	}
	return sum
}
