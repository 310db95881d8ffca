package e2e_test

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"logto-email-relay/deliveries/postgrestest"
)

// The long form: go test ./e2e -count=1 -v -timeout 30m -run TestReplicas -replicas.time 1m -replicas.rate 500
var (
	replicasTime = flag.Duration("replicas.time", 6*time.Second, "how long relays are killed one after the other; PostgreSQL is away for a sixth of it")
	replicasRate = flag.Int("replicas.rate", 100, "webhooks a second meanwhile")
)

// replicas are three relays with one Redis, one PostgreSQL and one nginx.
type replicas struct {
	t        *testing.T // that everything ends with
	relays   [3]*relayProcess
	files    [3]string // their configurations
	program  string
	clocks   [3]time.Duration // how far theirs are ahead
	proxy    string           // host:port
	postgres *postgrestest.Server
	db       *sql.DB
	sink     *sink
	// behind tells that a relay was killed while its record was behind, as it says in
	// its log.
	behind bool
}

const replicasEvents = "relay:of-the-test-with-many-letters"

// startReplicas starts everything at the same time, with an empty database.
func startReplicas(t *testing.T, program string, clocks [3]time.Duration) *replicas {
	t.Helper()
	r := &replicas{t: t, program: program, clocks: clocks, postgres: postgrestest.Start(t), sink: startSink(t)}
	var taken atomic.Int32
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, `{"ErrorCode": 0, "Message": "OK", "MessageID": "mail-%d-of-the-service"}`, taken.Add(1))
	}))
	t.Cleanup(service.Close)
	database := r.postgres.Database(t)
	var err error
	if r.db, err = sql.Open("pgx", database); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.db.Close() })
	providers := fmt.Sprintf(`[{"name": "sink", "type": "smtp", "host": "127.0.0.1", "port": %d, "ignoreTLS": true, "maxConcurrent": 100},
		{"name": "reporting", "type": "postmark", "serverToken": "of-the-test", "endpoint": %q, "eventCredentials": %q}]`,
		r.sink.port(), service.URL, replicasEvents)
	redis, _, _ := startRedis(t)
	section := fmt.Sprintf(`"deliveries": {"database": %q}, "log": {"level": "info"},
		"limits": {"recipient": "", "redis": %q},
		"routes": [{"domains": ["limited.example"], "providers": ["sink"], "limits": {"recipient": "10/10m"}},
			{"domains": ["reporting.example"], "providers": ["reporting"]}, {"providers": ["sink"]}]`, database, redis)
	for i := range r.relays {
		r.relays[i], r.files[i] = configure(t, providers, section)
	}
	for i := range r.relays {
		r.begin(i)
	}
	for _, relay := range r.relays {
		relay.waitReady(t)
		until(t, "the record is ready", func() bool { return readiness(t, relay) == "written" })
	}
	r.proxy = fmt.Sprintf("127.0.0.1:%d", freePort(t))
	nginx.start(t, r.proxy, []string{r.relays[0].public, r.relays[1].public, r.relays[2].public}, newCertificates(t), false)
	return r
}

func (r *replicas) begin(i int) {
	r.t.Helper()
	cmd := exec.Command(r.program, "--config", r.files[i])
	cmd.Env = []string{fmt.Sprintf("%s=%d", clockVariable, int(r.clocks[i].Seconds()))}
	r.relays[i].process = start(r.t, cmd)
}

// replicasCalls are webhooks that were sent through nginx, each with a recipient of
// its own.
type replicasCalls struct {
	mu       sync.Mutex
	accepted map[string]bool // by the id of the mail
	others   []call
	stop     func()
}

func (r *replicas) load(t *testing.T) *replicasCalls {
	t.Helper()
	c := &replicasCalls{accepted: make(map[string]bool)}
	ctx, end := context.WithCancel(t.Context())
	sent := 0
	l := &load{
		phase: "replicas", address: func() string { return r.proxy }, limit: 10 * time.Second, rate: *replicasRate,
		next: func() (int, bool) {
			c.mu.Lock()
			defer c.mu.Unlock()
			sent++
			return sent, ctx.Err() == nil
		},
		body: newWebhooks(t, []string{"example.org"}).body,
		done: func(result call) {
			c.mu.Lock()
			defer c.mu.Unlock()
			if result.status == http.StatusOK {
				c.accepted[result.id] = true
			} else {
				c.others = append(c.others, result)
			}
		},
	}
	var loading sync.WaitGroup
	loading.Go(func() { l.run(context.Background(), 1) })
	c.stop = sync.OnceFunc(func() { end(); loading.Wait() })
	t.Cleanup(c.stop)
	return c
}

func (c *replicasCalls) answered() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.accepted)
}

// judge holds answers, mails and rows against each other, when no webhook is under
// way.
func (r *replicas) judge(t *testing.T, c *replicasCalls) {
	t.Helper()
	c.stop()
	for _, relay := range r.relays {
		until(t, "nothing waits for the database", func() bool { return metric(t, relay, "relay_deliveries_queue_length") == "0" })
	}
	mails, copies := make(map[string]int), 0
	for _, mail := range r.sink.take() {
		_, rest, _ := strings.Cut(string(mail), "\r\nX-Entity-Ref-ID: ")
		id, _, _ := strings.Cut(rest, "\r\n")
		if mails[id]++; mails[id] > 1 {
			copies++
		}
	}
	list, err := r.db.Query("SELECT id, status FROM deliveries WHERE recipient LIKE $1", recipientMark+"%")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = list.Close() }()
	statuses := make(map[string]string)
	for list.Next() {
		var id, status string
		if err := list.Scan(&id, &status); err != nil {
			t.Fatal(err)
		}
		statuses[id] = status
		if status == "accepted" && mails[id] == 0 {
			t.Errorf("a row says accepted and has no mail: %s", id)
		}
	}
	unsent, unrecorded := 0, 0
	for id := range c.accepted {
		if mails[id] == 0 {
			unsent++
		}
		if statuses[id] != "accepted" {
			unrecorded++
		}
	}
	// Each webhook has its own id at whatever relay, so that one that nginx had sent
	// twice would be two mails to one recipient.
	var twice int
	if err := r.db.QueryRow("SELECT count(*) FROM (SELECT FROM deliveries WHERE recipient LIKE $1 GROUP BY recipient HAVING count(*) > 1) AS many",
		recipientMark+"%").Scan(&twice); err != nil {
		t.Fatal(err)
	}
	if copies > 0 || unsent > 0 || twice > 0 {
		t.Errorf("%d mails are there twice, %d answers of 200 have no mail, %d webhooks came twice", copies, unsent, twice)
	}
	if unrecorded > 0 && !r.behind {
		t.Errorf("%d of %d answers of 200 have no row", unrecorded, len(c.accepted))
	}
	outcomes := make(map[string]int)
	for _, other := range c.others {
		outcomes[other.outcome()]++
	}
	t.Logf("%d answers of 200, others %v, %d mails, %d rows, %d answers without a row", len(c.accepted), outcomes, len(mails), len(statuses), unrecorded)
	if _, err := r.db.Exec("DELETE FROM deliveries WHERE recipient LIKE $1", recipientMark+"%"); err != nil {
		t.Fatal(err)
	}
}

// more waits for some more webhooks that are answered with 200.
func (c *replicasCalls) more(t *testing.T, what string) {
	t.Helper()
	enough := c.answered() + *replicasRate/2
	until(t, what, func() bool { return c.answered() >= enough })
}

func TestReplicas(t *testing.T) {
	program, err := plainBinary()
	if err != nil {
		t.Fatal(err)
	}
	r := startReplicas(t, program, [3]time.Duration{})
	t.Run("migrations run once", r.migrateOnce)
	t.Run("limits are exact", r.limitExactly)
	t.Run("events reach any replica", r.takeEvents)
	t.Run("one is killed again and again", r.areKilled)
	t.Run("they are restarted, and what is old leaves", r.areRestarted)
	t.Run("they are configured anew", r.areConfigured)
	t.Run("PostgreSQL is away", r.loseDatabase)
}

func (r *replicas) migrateOnce(t *testing.T) {
	var versions, rows int
	if err := r.db.QueryRow("SELECT count(DISTINCT version_id), count(*) FROM goose_db_version").Scan(&versions, &rows); err != nil {
		t.Fatal(err)
	}
	if versions != rows || versions < 2 {
		t.Errorf("%d migrations ran, of %d", rows, versions)
	}
	for _, relay := range r.relays {
		if strings.Contains(relay.log(), "kept in memory") {
			t.Logf("a relay had to wait:\n%s", relay.log())
		}
	}
}

// Many mails to one address go to all relays at the same time: ten come through.
func (r *replicas) limitExactly(t *testing.T) {
	var mu sync.Mutex
	answers := make(map[int]int)
	var calling sync.WaitGroup
	for i := range 12 {
		calling.Go(func() {
			for range 10 {
				got := post(t, r.relays[i%3].webhook(), "application/json", authorization,
					strings.NewReader(`{"to":"ada@limited.example","type":"SignIn","payload":{"code":"482913"}}`))
				mu.Lock()
				answers[got.status]++
				mu.Unlock()
			}
		})
	}
	calling.Wait()
	// Redis may have been slow once: then memory counts, and more come through.
	if answers[http.StatusOK] != 10 && !slices.ContainsFunc(r.relays[:], func(relay *relayProcess) bool { return strings.Contains(relay.log(), "Redis does not answer") }) {
		t.Errorf("answers by status: %v", answers)
	}
	if mails := r.sink.take(); len(mails) != answers[http.StatusOK] {
		t.Errorf("%d mails arrived", len(mails))
	}
}

// What a service reports of a mail of one relay to another, and once more to the third
// one, stands in the record once.
func (r *replicas) takeEvents(t *testing.T) {
	if got := post(t, r.relays[0].webhook(), "application/json", authorization,
		strings.NewReader(`{"to":"ada@reporting.example","type":"SignIn","payload":{"code":"482913"}}`)); got.status != http.StatusOK {
		t.Fatalf("got %d", got.status)
	}
	type delivery struct {
		Status string
		Events []any
	}
	recorded := func(relay *relayProcess) []delivery {
		var page struct{ Deliveries []delivery }
		get(t, "http://"+relay.admin+"/deliveries?to=ada@reporting.example", &page)
		return page.Deliveries
	}
	// A service takes longer to report, and does not tell the relay's own id.
	// A record that was slow once has the mail before it has the verdict, with which comes the service's id.
	until(t, "the verdict is in the record", func() bool {
		all := recorded(r.relays[0])
		return len(all) == 1 && all[0].Status == "accepted"
	})
	user, password, _ := strings.Cut(replicasEvents, ":")
	for _, relay := range r.relays[1:] {
		request, err := http.NewRequest(http.MethodPost, "http://"+relay.public+"/events/reporting",
			strings.NewReader(`{"RecordType":"Delivery","MessageID":"mail-1-of-the-service","DeliveredAt":"2026-11-26T12:00:00Z"}`))
		if err != nil {
			t.Fatal(err)
		}
		request.SetBasicAuth(user, password)
		request.Header.Set("Content-Type", "application/json")
		until(t, "the event is taken", func() bool { // a record that was slow once catches up with the next mail
			request.Body, _ = request.GetBody()
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			_ = response.Body.Close()
			if response.StatusCode != http.StatusOK {
				post(t, relay.webhook(), "application/json", authorization, strings.NewReader(`{"to":"bob@reporting.example","type":"SignIn","payload":{"code":"482913"}}`))
			}
			return response.StatusCode == http.StatusOK
		})
	}
	for _, relay := range r.relays {
		if got := recorded(relay); len(got) != 1 || got[0].Status != "delivered" || len(got[0].Events) != 1 {
			t.Errorf("recorded %+v", got)
		}
	}
}

// Relays are killed, one every two seconds. Whoever had a webhook of theirs hears so
// from nginx, which asks nobody else; all others have their mail and their row.
func (r *replicas) areKilled(t *testing.T) {
	c := r.load(t)
	end := time.Now().Add(*replicasTime)
	for i := 0; time.Now().Before(end); i = (i + 1) % len(r.relays) {
		next := time.Now().Add(2 * time.Second)
		relay := r.relays[i]
		until(t, "verdicts are committed in time", func() bool { return readiness(t, relay) == "written" })
		relay.signal(t, syscall.SIGKILL)
		<-relay.exited
		r.behind = r.behind || strings.Count(relay.log(), "kept in memory") > strings.Count(relay.log(), "written again")
		r.begin(i)
		relay.waitReady(t)
		time.Sleep(time.Until(next))
	}
	c.more(t, "webhooks are answered")
	if r.behind {
		t.Log("a relay was killed while this machine took longer than 100 ms for a commit, as it had said: its rows prove nothing")
	}
	r.judge(t, c)
	r.behind = false
	for _, other := range c.others {
		if other.status != http.StatusServiceUnavailable {
			t.Errorf("nginx answers %s", other.outcome())
		}
	}
}

// A relay that begins sends rows away whose time is over and gives up mails that were
// left behind, beside others that do the same, and touches no other row.
func (r *replicas) areRestarted(t *testing.T) {
	const old = 2000
	for name, age := range map[string]time.Duration{"old": 31 * 24 * time.Hour, "left": 10 * time.Minute, "young": 0} {
		many := map[string]int{"old": old}[name]
		if _, err := r.db.Exec(`INSERT INTO deliveries (id, time, status, type, tenant, locale, provider, provider_id, recipient, duration, data)
			SELECT $1 || n, CAST($2 AS BIGINT), 'sending', 'SignIn', '', 'en', '', '', $1 || '@elsewhere.example', 0, '{}' FROM generate_series(1, $3) AS n`,
			name, time.Now().Add(-age).UnixMicro(), max(1, many)); err != nil {
			t.Fatal(err)
		}
	}
	c := r.load(t)
	for i, relay := range r.relays {
		relay.signal(t, syscall.SIGTERM)
		if code := relay.exitCode(t); code != 0 {
			t.Errorf("exit code %d", code)
		}
		r.begin(i)
		relay.waitReady(t)
		time.Sleep(2500 * time.Millisecond) // after which nginx uses it again
	}
	c.more(t, "webhooks are answered")
	r.judge(t, c)
	if len(c.others) > 0 {
		t.Errorf("lost: %+v", c.others[0])
	}
	var text string
	until(t, "what is old leaves", func() bool {
		if err := r.db.QueryRow(`SELECT string_agg(recipient || ' ' || status, ', ' ORDER BY recipient) FROM deliveries
			WHERE recipient LIKE '%@elsewhere.example'`).Scan(&text); err != nil {
			t.Fatal(err)
		}
		return text == "left@elsewhere.example uncertain, young@elsewhere.example sending"
	})
}

// The configuration of one relay after the other changes.
func (r *replicas) areConfigured(t *testing.T) {
	c := r.load(t)
	for i, file := range r.files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		fresh := strings.NewReplacer(`"maxConcurrent": 100`, `"maxConcurrent": 99`, fmt.Sprintf(`[%q]`, authorization),
			fmt.Sprintf(`["Bearer the-next-token-of-the-test", %q]`, authorization)).Replace(string(text))
		if err := os.WriteFile(file+".new", []byte(fresh), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
		until(t, "the change is taken", func() bool { return strings.Contains(r.relays[i].log(), `"reloaded"`) })
		c.more(t, "webhooks are answered")
	}
	r.judge(t, c)
	if len(c.others) > 0 {
		t.Errorf("lost: %+v", c.others[0])
	}
}

// PostgreSQL loses its power and comes back. All mails are sent meanwhile, the relays
// tell, and in the end every row is there.
func (r *replicas) loseDatabase(t *testing.T) {
	c := r.load(t)
	c.more(t, "webhooks are answered")
	r.postgres.Stop(t)
	away := time.Now()
	c.more(t, "webhooks are answered without the database")
	for _, relay := range r.relays {
		until(t, "readyz tells", func() bool { return strings.Contains(readiness(t, relay), "kept in memory since") })
	}
	time.Sleep(time.Until(away.Add(*replicasTime / 6)))
	r.postgres.Start(t)
	for _, relay := range r.relays {
		until(t, "rows are written again", func() bool { return readiness(t, relay) == "written" })
	}
	c.more(t, "webhooks are answered again")
	r.judge(t, c)
	if len(c.others) > 0 {
		t.Errorf("lost: %+v", c.others[0])
	}
	for _, relay := range r.relays {
		if lost := metric(t, relay, "relay_deliveries_lost_total"); lost != "0" {
			t.Errorf("%s deliveries are lost", lost)
		}
		for _, words := range []string{"deliveries are kept in memory", "deliveries are written again"} {
			if !strings.Contains(relay.log(), words) {
				t.Errorf("the log does not say %q", words)
			}
		}
	}
}

// clockVariable sets the clock of a program from skewedBinary, in seconds.
const clockVariable = "RELAY_TEST_CLOCK"

var skewed = flag.Bool("replicas.clocks", false, "tries clocks that are 2 minutes apart, for which the standard library is compiled anew")

// skewedBinary is the relay with a time.Now of the test's.
func skewedBinary(t *testing.T) string {
	t.Helper()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(strings.TrimSpace(string(root)), "src", "time", "time.go")
	const begin = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	source := read(t, file)
	if !strings.Contains(source, begin) {
		t.Fatal("time.Now of this Go is another one")
	}
	source = strings.Replace(source, begin, begin+"\tsec += ahead\n", 1)
	source = strings.Replace(source, "import (", "import (\n\t\"syscall\"", 1) + `
var ahead = func() int64 {
	text, _ := syscall.Getenv("` + clockVariable + `")
	seconds, _ := atoi(text)
	return int64(seconds)
}()
`
	dir := t.TempDir()
	overlay, program := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "relay")
	for name, text := range map[string]string{filepath.Join(dir, "time.go"): source,
		overlay: fmt.Sprintf(`{"Replace": {%q: %q}}`, file, filepath.Join(dir, "time.go"))} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("go", "build", "-overlay", overlay, "-o", program, "..").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

// Clocks that are 2 minutes apart change nothing of all that.
func TestReplicasWithOtherClocks(t *testing.T) {
	if !*skewed {
		t.Skip("takes minutes: -replicas.clocks")
	}
	r := startReplicas(t, skewedBinary(t), [3]time.Duration{-time.Minute, 0, time.Minute})
	t.Run("limits are exact", r.limitExactly)
	t.Run("events reach any replica", r.takeEvents)
	for _, relay := range r.relays {
		post(t, relay.webhook(), "application/json", authorization, strings.NewReader(`{"to":"clock@example.org","type":"SignIn","payload":{"code":"482913"}}`))
	}
	var apart int64
	if err := r.db.QueryRow("SELECT max(time) - min(time) FROM deliveries WHERE recipient = 'clock@example.org'").Scan(&apart); err != nil {
		t.Fatal(err)
	}
	if length := time.Duration(apart) * time.Microsecond; length < 2*time.Minute {
		t.Errorf("the clocks are %v apart only", length)
	}
	t.Run("one is killed again and again", r.areKilled)
	t.Run("they are restarted, and what is old leaves", r.areRestarted)
}
