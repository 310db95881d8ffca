package limits

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
)

const (
	// patience is how long a mail waits for Redis. It answers in less than one
	// millisecond where it is well.
	patience = 100 * time.Millisecond
	// askAgain is how long a Redis that did not answer is left alone.
	askAgain = time.Second
)

// script counts for all keys or for none, by the clock of Redis, in microseconds.
// ARGV holds the interval and the period of each key. It returns which key refuses
// for longest, counted from 1, and for how long; or 0.
var script = redis.NewScript(`
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local refused, wait, empty = 0, 0, {}
for i, key in ipairs(KEYS) do
	empty[i] = math.max(tonumber(redis.call('GET', key) or 0), now) + ARGV[2 * i - 1]
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
	url    string
	client *redis.Client
	logger *slog.Logger
	failed atomic.Bool
	// asked is when it was last seen or found to fail, in Unix nanoseconds.
	asked atomic.Int64
}

// The library logs by itself, in a form of its own, what take returns.
var silence = sync.OnceFunc(logging.Disable)

func newShared(url string, logger *slog.Logger) (*shared, error) {
	silence()
	o, err := redis.ParseURL(url)
	if err != nil {
		return nil, err
	}
	// Counters are nothing to ask for twice.
	o.MaxRetries, o.DialerRetries = -1, 1
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = patience, patience, patience, patience
	o.ContextTimeoutEnabled = true
	// What every Redis and Valkey speaks, and nothing to say before.
	o.Protocol, o.DisableIdentity = 2, true
	return &shared{url: url, client: redis.NewClient(o), logger: logger}, nil
}

// take is memory.take in Redis; known is false when Redis did not say.
func (s *shared) take(ctx context.Context, counts []count) (refused int, wait time.Duration, known bool) {
	if s.failed.Load() {
		s.lookAgain()
		return none, 0, false
	}
	refused, wait, err := s.run(ctx, counts)
	if err != nil {
		s.asked.Store(time.Now().UnixNano())
		if s.failed.CompareAndSwap(false, true) {
			s.logger.Warn("limits: Redis does not answer, mails are counted in memory", "error", err.Error())
		}
		return none, 0, false
	}
	return refused, wait, true
}

func (s *shared) run(ctx context.Context, counts []count) (refused int, wait time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	keys := make([]string, len(counts))
	var arguments []any
	for i, c := range counts {
		keys[i] = redisKey(c)
		arguments = append(arguments, c.rate.interval().Microseconds(), c.rate.Per.Microseconds())
	}
	answer, err := script.Run(ctx, s.client, keys, arguments...).Int64Slice()
	if err != nil {
		return none, 0, err
	}
	return int(answer[0]) - 1, time.Duration(answer[1]) * time.Microsecond, nil
}

// redisKey hides addresses from those who may look into Redis. The braces keep all
// keys on one node of a cluster. A limit that is changed has other keys, since what
// was counted for the earlier one could take too long to be over.
func redisKey(c count) string {
	sum := sha256.Sum256([]byte(c.of))
	return fmt.Sprintf("{logto-email-relay}:%s:%d/%v:%s", c.scope, c.rate.Count, c.rate.Per, base64.RawURLEncoding.EncodeToString(sum[:16]))
}

// lookAgain asks a Redis that failed in the background, once in a while, with what
// a mail would ask.
func (s *shared) lookAgain() {
	now, last := time.Now().UnixNano(), s.asked.Load()
	if now-last < int64(askAgain) || !s.asked.CompareAndSwap(last, now) {
		return
	}
	go func() {
		probe := []count{{scope: "probe", of: "probe", rate: Rate{1000, time.Second}}}
		if _, _, err := s.run(context.Background(), probe); err == nil && s.failed.CompareAndSwap(true, false) {
			s.logger.Info("limits: Redis answers again")
		}
	}()
}
