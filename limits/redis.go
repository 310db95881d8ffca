package limits

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gomodule/redigo/redis"

	"logto-email-relay/settings"
)

const (
	// patience is how long a mail waits for Redis. It answers in less than one
	// millisecond where it is well.
	patience = 100 * time.Millisecond
	// questionTime bounds a question together with the connection that it may need, whose
	// round trips for TCP, TLS and the login no mail waits for: the connection is for
	// those that come later.
	questionTime = 2 * time.Second
	// askAgain is how long a Redis that did not answer is left alone.
	askAgain = time.Second
	// maxConnections bounds how many mails ask at a time; others wait for their turn.
	maxConnections = 64
	// idleTimeout is how long a connection stays open that nobody needs: less than
	// balancers keep one.
	idleTimeout = time.Minute
)

// script counts for all keys or for none, by the clock of Redis, in microseconds.
// ARGV holds the interval and the period of each key. It returns which key refuses
// for longest, counted from 1, and for how long; or 0.
var script = redis.NewScript(-1, `
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local refused, wait, empty = 0, 0, {}
for i, key in ipairs(KEYS) do
	local counted = tonumber(redis.call('GET', key) or 0)
	if counted > now + 2 * ARGV[2 * i] then -- a clock was set back, far
		counted = 0
	end
	empty[i] = math.max(counted, now) + ARGV[2 * i - 1]
	local over = empty[i] - now - ARGV[2 * i]
	if over > wait then
		refused, wait = i, over
	end
end
if refused == 0 then
	for i, key in ipairs(KEYS) do
		redis.call('SET', key, string.format('%.0f', empty[i]), 'PX', math.ceil((empty[i] - now) / 1000))
	end
end
return {refused, wait}
`)

// shared is the counters in a Redis. One that fails or is slow is not asked again
// for a while, and then by nobody's mail: see failed.
type shared struct {
	url      string
	password string // in the URL; empty for none
	pool     *redis.Pool
	logger   *slog.Logger
	failed   atomic.Bool
	why      atomic.Pointer[string] // the words of the last failure
	// asked is when it was last seen or found to fail, and broken when a connection
	// was found of no use, in Unix nanoseconds.
	asked, broken atomic.Int64
}

func newShared(url string, logger *slog.Logger) (*shared, error) {
	server, err := parseServer(url)
	if err != nil {
		return nil, err
	}
	s := &shared{url: url, password: server.password, logger: logger}
	s.pool = &redis.Pool{
		DialContext: server.dial, MaxActive: maxConnections, MaxIdle: maxConnections, Wait: true, IdleTimeout: idleTimeout,
		// Who restarts Redis closes all connections. One that was found so speaks for
		// the others.
		TestOnBorrow: func(_ redis.Conn, used time.Time) error {
			if used.UnixNano() <= s.broken.Load() {
				return errBroken
			}
			return nil
		},
	}
	return s, nil
}

var errBroken = errors.New("the connection is older than one that was found of no use")

// server is where a Redis is, and how one signs in.
type server struct {
	network, address string
	options          []redis.DialOption
	password         string
}

// parseServer reads redis://user:password@host:port/database, rediss:// for TLS, or
// unix://user:password@/path?db=database. Its errors do not repeat the URL.
func parseServer(text string) (server, error) {
	u, err := settings.ParseURL(text)
	if err != nil {
		return server{}, errors.New("not an address")
	}
	s, dial := server{network: "tcp"}, new(net.Dialer).DialContext
	if u.Scheme == "rediss" {
		dial = new(tls.Dialer).DialContext // since the library's own handshake does not end with the context
	}
	s.options = append(s.options, redis.DialContextFunc(dial))
	database := strings.Trim(u.Path, "/")
	switch u.Scheme {
	case "redis", "rediss":
		if strings.ContainsAny(u.Host, ", ") || strings.Contains(u.RawQuery, "@") || u.Opaque != "" { // redis:6379 is a host without a scheme
			return server{}, errors.New("not one host")
		}
		s.address = net.JoinHostPort(cmp.Or(u.Hostname(), "localhost"), cmp.Or(u.Port(), "6379"))
	case "unix":
		if s.network, s.address = "unix", u.Path; u.Path == "" {
			return server{}, errors.New("a path is missing")
		}
		database = ""
	default:
		return server{}, errors.New("a scheme is missing")
	}
	if database = cmp.Or(database, u.Query().Get("db")); database != "" {
		number, err := strconv.ParseUint(database, 10, 16)
		if err != nil {
			return server{}, errors.New("a database is a number")
		}
		s.options = append(s.options, redis.DialDatabase(int(number)))
	}
	if u.User != nil {
		password, _ := u.User.Password()
		if password == "" { // it may stand where the user's name belongs, and nobody would be signed in
			return server{}, errors.New("a password is missing")
		}
		s.options = append(s.options, redis.DialUsername(u.User.Username()), redis.DialPassword(password))
		s.password = password
	}
	return s, nil
}

func (s server) dial(ctx context.Context) (redis.Conn, error) {
	return redis.DialContext(ctx, s.network, s.address, s.options...)
}

// take is memory.take in Redis; known is false when Redis did not say.
func (s *shared) take(ctx context.Context, counts []count) (refused int, wait time.Duration, known bool) {
	if s.failed.Load() {
		s.lookAgain()
		return none, 0, false
	}
	said, own := make(chan verdict, 1), slices.Clone(counts) // which stay on the stack where no Redis is asked
	go func() { said <- s.run(own) }()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var v verdict
	select {
	case v = <-said:
	case <-ctx.Done():
		v.err = errSlow
	}
	if v.err != nil {
		s.asked.Store(time.Now().UnixNano())
		words := s.keepWords(v.err)
		if s.failed.CompareAndSwap(false, true) {
			s.logger.Warn("limits: Redis does not answer, mails are counted in memory", "error", words)
		}
		return none, 0, false
	}
	return v.refused, v.wait, true
}

var errSlow = fmt.Errorf("no answer in %v", patience)

// words are those of an error, without the password and what else Redis quotes of a command
// that it does not know.
func (s *shared) words(err error) string {
	text, _, _ := strings.Cut(err.Error(), ", with args beginning with")
	if s.password != "" {
		text = strings.ReplaceAll(text, s.password, "[secret]")
	}
	return text
}

// keepWords keeps the words of a failure, and returns them.
func (s *shared) keepWords(err error) string {
	words := s.words(err)
	s.why.Store(&words)
	return words
}

// verdict is what Redis said of a mail.
type verdict struct {
	refused int
	wait    time.Duration
	err     error
}

func (s *shared) run(counts []count) verdict {
	ctx, cancel := context.WithTimeout(context.Background(), questionTime)
	defer cancel()
	arguments := make([]any, 0, 1+3*len(counts))
	arguments = append(arguments, len(counts))
	for _, c := range counts {
		arguments = append(arguments, redisKey(c))
	}
	for _, c := range counts {
		arguments = append(arguments, c.rate.interval().Microseconds(), c.rate.Per.Microseconds())
	}
	answer, err := s.ask(ctx, arguments)
	if err != nil && ctx.Err() == nil {
		// It may have closed the connection since that was used, or be no master any more,
		// while a new connection leads to the one that is.
		s.broken.Store(time.Now().UnixNano())
		answer, err = s.ask(ctx, arguments)
	}
	if err != nil {
		return verdict{err: err}
	}
	v := verdict{refused: int(answer[0]) - 1, wait: time.Duration(answer[1]) * time.Microsecond}
	if v.refused < none || v.refused >= len(counts) || v.refused != none && (answer[1] < 0 || answer[1] > 2*counts[v.refused].rate.Per.Microseconds()) {
		return verdict{err: errAnswer}
	}
	return v
}

var errAnswer = errors.New("not what the script returns")

func (s *shared) ask(ctx context.Context, arguments []any) (answer [2]int64, err error) {
	connection, err := s.pool.GetContext(ctx)
	if err != nil {
		return answer, err
	}
	defer func() { _ = connection.Close() }() // hands it back
	list, err := redis.Int64s(script.DoContext(ctx, connection, arguments...))
	if err == nil && len(list) != len(answer) {
		err = errAnswer
	}
	copy(answer[:], list)
	return answer, err
}

// redisKey hides addresses from those who may look into Redis. The braces keep all
// keys on one node of a cluster. A limit that is changed has other keys, since what
// was counted for the earlier one could take too long to be over.
func redisKey(c count) string {
	sum := sha256.Sum256([]byte(c.route + c.of))
	return fmt.Sprintf("{logto-email-relay}:%s:%d/%v:%s", c.limit, c.rate.Count, c.rate.Per, base64.RawURLEncoding.EncodeToString(sum[:16]))
}

// lookAgain asks a Redis that failed in the background, once in a while, with what
// a mail would ask.
func (s *shared) lookAgain() {
	now, last := time.Now().UnixNano(), s.asked.Load()
	if since := time.Duration(now - last); 0 <= since && since < askAgain || !s.asked.CompareAndSwap(last, now) {
		return
	}
	go func() {
		if err := s.probe(); err != nil {
			s.keepWords(err)
			return
		}
		begin := time.Now() // with the connection that is there now
		if s.probe() == nil && time.Since(begin) < patience && s.failed.CompareAndSwap(true, false) {
			s.logger.Info("limits: Redis answers again")
		}
	}()
}

// probe asks what a mail would.
func (s *shared) probe() error {
	return s.run([]count{{limit: "probe", of: "probe", rate: Rate{1000, time.Second}}}).err
}
