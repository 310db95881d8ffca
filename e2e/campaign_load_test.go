package e2e_test

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// logtosIdleLimit is when Logto closes a connection that it does not use.
const logtosIdleLimit = 5 * time.Second

// caller is one connection of Logto's: kept alive between webhooks, closed by it
// after five idle seconds, and never tried again, whatever happens. It speaks by
// hand, because Go's client would try again on its own at times.
type caller struct {
	// address is asked anew for every connection, as a name would be resolved.
	address func() string
	conn    net.Conn
	reader  *bufio.Reader
	idle    time.Time
}

// endOfPatience is when a caller counts a request as never answered.
const endOfPatience = 15 * time.Second

// call sends one webhook and fills in what became of it.
func (c *caller) call(result *call, body []byte) {
	begin := time.Now()
	if err := c.exchange(result, body, begin); err != nil {
		result.status, result.failure = 0, err.Error()
		c.hangUp()
	}
	c.idle = time.Now()
	result.took = c.idle.Sub(begin)
}

func (c *caller) exchange(result *call, body []byte, begin time.Time) error {
	deadline := begin.Add(endOfPatience)
	if c.conn != nil && time.Since(c.idle) >= logtosIdleLimit {
		c.hangUp()
	}
	address := c.address()
	if c.conn == nil {
		conn, err := net.DialTimeout("tcp", address, time.Until(deadline))
		if err != nil {
			return err
		}
		c.conn, c.reader, result.opening = conn, bufio.NewReader(conn), time.Since(begin)
	}
	if err := c.conn.SetDeadline(deadline); err != nil {
		return err
	}
	// The headers of Logto's HTTP client, in its order and case.
	_, err := fmt.Fprintf(c.conn, "POST /logto/email HTTP/1.1\r\nuser-agent: got (https://github.com/sindresorhus/got)\r\n"+
		"authorization: %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\naccept-encoding: gzip, deflate, br\r\n"+
		"Host: %s\r\nConnection: keep-alive\r\n\r\n%s", authorization, len(body), address, body)
	if err != nil {
		return err
	}
	answer, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.Close {
		c.hangUp()
	}
	result.status, result.id, result.word = answer.StatusCode, answer.Header.Get("X-Request-Id"), answer.Header.Get("X-Relay-Error")
	if answer.StatusCode == http.StatusOK {
		var accepted struct{ Provider string }
		if err := json.Unmarshal(text, &accepted); err != nil {
			return fmt.Errorf("the body of a 200: %w", err)
		}
		result.provider = accepted.Provider
	}
	return nil
}

func (c *caller) hangUp() {
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}

// rest lets time pass between two webhooks, and closes the connection when Logto
// would. It returns early at the end of the load.
func (c *caller) rest(ctx context.Context, length time.Duration) {
	for _, part := range []time.Duration{min(length, logtosIdleLimit), length - logtosIdleLimit} {
		select {
		case <-ctx.Done():
			return
		case <-time.After(part):
		}
		if part == logtosIdleLimit {
			c.hangUp()
		}
	}
}

// load sends webhooks in bursts, so that many are under way at a time without
// the machine being busy throughout.
type load struct {
	phase   string
	address func() string
	limit   time.Duration // for one answer
	rate    int           // webhooks per second
	// next returns the number of the next webhook; false at the end.
	next func() (int, bool)
	body func(number int) []byte
	done func(call)
	// callers is how many may be under way.
	callers int
}

const (
	// burst is how many webhooks start at the same moment.
	burst = 64
	// usualCallers is more than a burst, because some wait for a provider that has
	// stalled.
	usualCallers = 256
	// occasional callers use their connection now and then, with pauses around
	// the idle limit.
	occasional = 24
)

func (l *load) run(ctx context.Context, seed uint64) {
	ctx, end := context.WithCancel(ctx)
	defer end()
	var work sync.WaitGroup
	starts := make(chan int)
	one := func(c *caller, number int) {
		result := call{number: number, phase: l.phase, limit: l.limit}
		c.call(&result, l.body(number))
		l.done(result)
	}
	for range cmp.Or(l.callers, usualCallers) {
		work.Go(func() {
			c := &caller{address: l.address}
			defer c.hangUp()
			for number := range starts {
				one(c, number)
			}
		})
	}
	for i := range occasional {
		work.Go(func() {
			c := &caller{address: l.address}
			defer c.hangUp()
			source := rand.New(rand.NewPCG(seed, uint64(i)))
			for {
				c.rest(ctx, time.Duration(source.Int64N(int64(logtosIdleLimit+logtosIdleLimit/10))))
				if ctx.Err() != nil {
					return
				}
				if number, more := l.next(); more {
					one(c, number)
				}
			}
		})
	}
	pace := time.NewTicker(time.Second * burst / time.Duration(l.rate))
	defer pace.Stop()
	for number, more := l.next(); more; {
		<-pace.C
		for i := 0; i < burst && more; i++ {
			starts <- number
			number, more = l.next()
		}
	}
	close(starts)
	end()
	work.Wait()
}

// steadyLoad is so many webhooks a second while something happens, with what became of
// them.
type steadyLoad struct {
	answered atomic.Int64
	stop     func() // waits for all answers, after which the rest may be read

	mu      sync.Mutex
	lost    []call
	slowest time.Duration
}

func startSteadyLoad(t *testing.T, phase string, rate int, address func() string) *steadyLoad {
	s := new(steadyLoad)
	ctx, end := context.WithCancel(t.Context())
	var sent atomic.Int64
	l := &load{
		phase: phase, address: address, limit: 10 * time.Second, rate: rate,
		next: func() (int, bool) { return int(sent.Add(1)), ctx.Err() == nil },
		body: newWebhooks(t, []string{"example.org"}).body,
		done: s.note,
	}
	var loading sync.WaitGroup
	loading.Go(func() { l.run(context.Background(), 1) })
	s.stop = func() { end(); loading.Wait() }
	return s
}

func (s *steadyLoad) note(c call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slowest = max(s.slowest, c.took)
	if c.status != http.StatusOK {
		s.lost = append(s.lost, c)
		return
	}
	s.answered.Add(1)
}

func (s *steadyLoad) String() string {
	return fmt.Sprintf("%d webhooks, %d lost, the slowest took %v", s.answered.Load()+int64(len(s.lost)), len(s.lost), s.slowest)
}

// webhooks makes the bodies: those that Logto was seen to send, with a code, a
// recipient and an address of their own.
type webhooks struct {
	captured []map[string]any
	domains  []string
}

func newWebhooks(t testing.TB, domains []string) *webhooks {
	t.Helper()
	all := captured(t)
	w := &webhooks{domains: domains}
	for _, name := range []string{
		"signin", "register", "forgot-password", "generic-verification-code", "mfa-verification", "signin-zh-cn",
		"user-permission-validation-fr-ca-branded", "bind-new-identifier", "register-de-branded", "bind-mfa",
	} {
		var body map[string]any
		if err := json.Unmarshal(all[name], &body); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		w.captured = append(w.captured, body)
	}
	return w
}

func (w *webhooks) body(number int) []byte {
	template := w.captured[number%len(w.captured)]
	payload := map[string]any{}
	for key, value := range template["payload"].(map[string]any) {
		payload[key] = value
	}
	payload["code"] = code(number)
	body, err := json.Marshal(map[string]any{
		"to":      recipient(number, w.domains[number/len(w.captured)%len(w.domains)]),
		"type":    template["type"],
		"payload": payload,
		"ip":      fmt.Sprintf("::ffff:10.%d.%d.%d", number>>16&0xff, number>>8&0xff, number&0xff),
	})
	if err != nil {
		panic(err) // maps of texts
	}
	return body
}

// changingAddress is an address that can change while callers use it.
type changingAddress struct{ address atomic.Value }

func (a *changingAddress) set(to string) { a.address.Store(to) }

func (a *changingAddress) String() string { return a.address.Load().(string) }

// logReader follows the log of a relay.
type logReader struct {
	mu       sync.Mutex
	attempts map[string][]attempt // by the id of the mail
	strange  []string             // lines that are not JSON, such as a stack, or that hold a recipient
}

func (l *logReader) read(line string) {
	if !strings.HasPrefix(line, "{") || strings.Contains(line, recipientMark) {
		l.mu.Lock()
		l.strange = append(l.strange, line)
		l.mu.Unlock()
		return
	}
	if !strings.Contains(line, `"attempts"`) {
		return
	}
	var mail struct {
		ID       string
		Attempts []attempt
	}
	if err := json.Unmarshal([]byte(line), &mail); err != nil {
		return // cut by the end of the process
	}
	l.mu.Lock()
	l.attempts[mail.ID] = mail.Attempts
	l.mu.Unlock()
}
