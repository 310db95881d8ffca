package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// The webhook of a sign-in as Logto sends it. The number of a webhook is in its
// recipient's name, and its last six digits are the code, so that the sink can
// tell each mail and its content apart.
const (
	authorization   = "Bearer bench-token-of-the-bench"
	recipientPrefix = "u"
	recipientSuffix = "@example.org"
)

func codeOf(number int) string { return fmt.Sprintf("%06d", number%1000000) }

// appendWebhook appends the whole request, headers in Logto's order and case.
func appendWebhook(b []byte, host string, number int) []byte {
	body := fmt.Appendf(nil, `{"to":"%s%d%s","type":"SignIn","payload":{"code":"%s","locale":"en",`+
		`"application":{"id":"no2prwe8ndrxm3ujn80ay","name":"Plain App"}},"ip":"::ffff:127.0.0.1"}`,
		recipientPrefix, number, recipientSuffix, codeOf(number))
	b = append(b, "POST /logto/email HTTP/1.1\r\n"+
		"user-agent: got (https://github.com/sindresorhus/got)\r\n"+
		"authorization: "+authorization+"\r\n"+
		"content-type: application/json\r\ncontent-length: "...)
	b = strconv.AppendInt(b, int64(len(body)), 10)
	b = append(b, "\r\naccept-encoding: gzip, deflate, br\r\nHost: "...)
	b = append(b, host...)
	b = append(b, "\r\nConnection: keep-alive\r\n\r\n"...)
	return append(b, body...)
}

// caller is one connection to a receiver. It is no more of an HTTP client than
// it has to be, because it shares the machine with what it measures.
type caller struct {
	address string
	conn    net.Conn
	in      *bufio.Reader
	out     []byte
}

// answerTimeout is longer than any receiver should take.
const answerTimeout = 30 * time.Second

// call sends a webhook and returns the status of the answer.
func (c *caller) call(number int) (status int, err error) {
	if c.conn == nil {
		if c.conn, err = net.Dial("tcp", c.address); err != nil {
			return 0, err
		}
		c.in = bufio.NewReader(c.conn)
	}
	_ = c.conn.SetDeadline(time.Now().Add(answerTimeout))
	c.out = appendWebhook(c.out[:0], c.address, number)
	if _, err := c.conn.Write(c.out); err != nil {
		c.close()
		return 0, err
	}
	status, again, err := readAnswer(c.in)
	if err != nil || !again {
		c.close()
	}
	return status, err
}

func (c *caller) close() {
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}

// readAnswer reads an answer to its end, and tells whether another may follow.
func readAnswer(in *bufio.Reader) (status int, again bool, err error) {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return 0, false, err
	}
	if len(line) < 12 || string(line[:5]) != "HTTP/" {
		return 0, false, errors.New("not an HTTP answer")
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, false, err
	}
	length := 0
	again = true
	for {
		if line, err = in.ReadSlice('\n'); err != nil {
			return 0, false, err
		}
		if len(line) <= 2 {
			break
		}
		name, value, _ := strings.Cut(string(line), ":")
		switch {
		case strings.EqualFold(name, "Content-Length"):
			if length, err = strconv.Atoi(strings.TrimSpace(value)); err != nil {
				return 0, false, err
			}
		case strings.EqualFold(name, "Transfer-Encoding"):
			return 0, false, errors.New("an answer in chunks")
		case strings.EqualFold(name, "Connection"):
			again = !strings.EqualFold(strings.TrimSpace(value), "close")
		}
	}
	_, err = in.Discard(length)
	return status, again, err
}

// load sends webhooks and notes what became of them.
type load struct {
	address string
	next    *atomic.Int64 // the number of the next webhook

	// accepted and refused count the answers so far.
	accepted, refused atomic.Int64

	mutex     sync.Mutex
	recording bool
	answers   []answer
	failed    error // the first call without an answer
	failures  int
}

// answer is one that came while recording.
type answer struct {
	status int
	took   time.Duration
}

func newLoad(address string) *load {
	return &load{address: address, next: new(atomic.Int64)}
}

// record begins to keep the answers, and returns what was kept so far.
func (l *load) record(on bool) []answer {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	kept := l.answers
	l.recording, l.answers = on, nil
	return kept
}

func (l *load) once(c *caller) {
	start := time.Now()
	status, err := c.call(int(l.next.Add(1)))
	l.note(status, err, time.Since(start))
}

func (l *load) note(status int, err error, took time.Duration) {
	switch {
	case err != nil:
	case status/100 == 2:
		l.accepted.Add(1)
	default:
		l.refused.Add(1)
	}
	l.mutex.Lock()
	defer l.mutex.Unlock()
	switch {
	case err != nil:
		if l.failures++; l.failures == 1 {
			l.failed = err
		}
	case l.recording:
		l.answers = append(l.answers, answer{status, took})
	}
}

// failure tells of the calls that got no HTTP answer.
func (l *load) failure() error {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.failures == 0 {
		return nil
	}
	return fmt.Errorf("%d calls without an answer, the first one: %w", l.failures, l.failed)
}

// closed keeps a number of webhooks under way, each followed by the next, until
// the context ends; then it waits for the last answers. The first ones come
// within the given time, evenly: with a long wire all those that begin together
// would go on in step, and wait for each other.
func (l *load) closed(ctx context.Context, concurrency int, within time.Duration) {
	var callers sync.WaitGroup
	for i := range concurrency {
		callers.Go(func() {
			c := &caller{address: l.address}
			defer c.close()
			time.Sleep(within * time.Duration(i) / time.Duration(concurrency))
			for ctx.Err() == nil {
				l.once(c)
			}
		})
	}
	callers.Wait()
}

// maxCallers bounds the connections of an open load.
const maxCallers = 4000

// open sends webhooks at a rate, whatever becomes of them, until the context
// ends; then it waits for the last answers. Late is how many could not be sent
// because too many were under way.
func (l *load) open(ctx context.Context, perSecond float64) (late int) {
	var under sync.WaitGroup
	idle := make(chan *caller, maxCallers)
	callers := 0
	start := time.Now()
	for sent := 0; ctx.Err() == nil; {
		due := int(time.Since(start).Seconds() * perSecond)
		for ; sent < due; sent++ {
			var c *caller
			select {
			case c = <-idle:
			default:
				if callers == maxCallers {
					late++
					continue
				}
				callers++
				c = &caller{address: l.address}
			}
			under.Go(func() {
				l.once(c)
				idle <- c
			})
		}
		time.Sleep(time.Millisecond)
	}
	under.Wait()
	close(idle)
	for c := range idle {
		c.close()
	}
	return late
}

// ask sends a GET and returns the status.
func ask(address, path string) (int, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(answerTimeout))
	if _, err := io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: "+address+"\r\n\r\n"); err != nil {
		return 0, err
	}
	status, _, err := readAnswer(bufio.NewReader(conn))
	return status, err
}
