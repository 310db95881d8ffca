package e2e_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
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
)

// The long form is "make campaign".
var (
	campaignWebhooks = flag.Int("campaign.webhooks", 6000, "how many webhooks the campaign sends")
	campaignRate     = flag.Int("campaign.rate", 100, "webhooks per second")
	campaignSeed     = flag.Uint64("campaign.seed", 1, "what decides which webhook meets which fault")
	campaignPostgres = flag.Bool("campaign.postgres", false, "whether all relays share a PostgreSQL for their record, in place of SQLite files")
)

// grace is what an answer may take beyond the relay's deadline.
const grace = 500 * time.Millisecond

// TestCampaign is the proof of docs/reliability.md: the real binary, between a
// load of webhooks and mail services that fail in every way known to us, while
// relays are stopped, killed and replaced. Every webhook is held against the
// promises by itself.
func TestCampaign(t *testing.T) {
	need(t, "nginx", "/usr/sbin/nginx")
	c := newCampaign(t)
	t.Logf("seed %d, %d webhooks", *campaignSeed, *campaignWebhooks)

	total := *campaignWebhooks
	c.phase("one relay, replaced, deadline 2s", 2*time.Second, total*3/10, c.handOver)
	c.phase("one relay, deadline 8s", 8*time.Second, total*2/10, c.alone)
	c.phase("nginx, rolling restarts", 2*time.Second, total*3/10, c.behindNginx(rolling))
	c.phase("nginx, kill -9", 2*time.Second, total-total*3/10-total*2/10-total*3/10, c.behindNginx(killing))

	c.judgeDuplicates()
	c.judgeRecord()
	c.report(os.Stdout)
	for i, v := range c.violations {
		if i == 20 {
			t.Errorf("and %d more violations", len(c.violations)-i)
			break
		}
		t.Errorf("violation: %s: webhook %d: %s; attempts: %+v", v.rule, v.number, v.text, c.attempts(v.number))
	}
	// A provider that rests gets few mails, so that a short campaign may miss a
	// fault or two; a long one may not.
	mayMiss := len(c.faultNames()) * 3 / 100
	if total >= 50_000 {
		mayMiss = 0
	}
	if missed := c.missedFaults(); len(missed) > mayMiss {
		t.Errorf("faults that no mail met, so that nothing is known about them: %s", strings.Join(missed, "; "))
	}
	if len(c.log.strange) > 0 {
		t.Errorf("the relay printed what is no log line:\n%s", strings.Join(c.log.strange[:min(40, len(c.log.strange))], "\n"))
	}
	if c.outcomes["200"] < total/2 {
		t.Errorf("only %d of %d webhooks were accepted: the campaign proves little", c.outcomes["200"], total)
	}
}

// campaign is all that a campaign knows.
type campaign struct {
	t        *testing.T
	binary   string
	ledger   *ledger
	log      *logReader
	smtp     []*smtpFaultServer
	http     []*httpFaultServer
	sections string // of the configuration, but for those of one relay
	webhooks *webhooks
	begin    time.Time
	canary   *canary

	sent    atomic.Int64
	running []*relayProcess // of this phase
	record  record
	proxies []*process

	mu         sync.Mutex
	calls      []call
	outcomes   map[string]int
	violations []violation
}

// campaignRoute is a route of the campaign: mails to its domain go to its providers.
type campaignRoute struct {
	domain    string
	providers []string
}

var campaignRoutes = []campaignRoute{
	{"r0.example", []string{"starttls", "sendgrid"}},
	{"r1.example", []string{"tls", "mailgun", "plain"}},
	{"r2.example", []string{"sendgrid", "plain"}},
	{"r3.example", []string{"mailgun", "starttls", "ses"}},
	{"r4.example", []string{"ses", "tls"}},
	{"r5.example", []string{"plain"}},
}

func newCampaign(t *testing.T) *campaign {
	t.Helper()
	path, err := plainBinary()
	if err != nil {
		t.Fatal(err)
	}
	c := &campaign{
		t: t, binary: path, ledger: newLedger(), canary: startCanary(t), begin: time.Now(),
		log:      &logReader{attempts: make(map[string][]attempt)},
		outcomes: make(map[string]int),
		record:   newRecord(t),
	}
	certificates := newCertificates(t)
	c.smtp = []*smtpFaultServer{
		{name: "starttls", startTLS: true, login: true, pipelining: true, certificates: certificates},
		{name: "tls", implicitTLS: true, certificates: certificates},
		{name: "plain", pipelining: true},
	}
	seed := *campaignSeed
	for _, s := range c.smtp {
		s.ledger = c.ledger
		s.connections = newFaultPlan(seed, s.name+" connections", 30, connectionFaults(s))
		s.transactions = newFaultPlan(seed, s.name+" transactions", 6, transactionFaults)
		s.mails = newFaultPlan(seed, s.name+" mails", 25, mailFaults)
		s.start(t)
	}
	for name, d := range map[string]dialect{"sendgrid": sendGridDialect, "mailgun": mailgunDialect, "ses": sesDialect} {
		s := &httpFaultServer{name: name, dialect: d, ledger: c.ledger, mails: newFaultPlan(seed, name+" mails", 30, httpFaults(d))}
		s.start(t)
		c.http = append(c.http, s)
	}
	c.sections = c.configuration(certificates)
	domains := make([]string, len(campaignRoutes))
	for i, route := range campaignRoutes {
		domains[i] = route.domain
	}
	c.webhooks = newWebhooks(t, domains)
	return c
}

// configuration writes the sections that all relays share.
func (c *campaign) configuration(certificates *certificates) string {
	type object = map[string]any
	ports, endpoints := map[string]int{}, map[string]string{}
	for _, s := range c.smtp {
		ports[s.name] = s.port()
	}
	for _, s := range c.http {
		endpoints[s.name] = s.endpoint()
	}
	smtp := func(name string, more object) object {
		provider := object{"name": name, "type": "smtp", "host": "127.0.0.1", "port": ports[name], "maxConcurrent": 100}
		for key, value := range more {
			provider[key] = value
		}
		return provider
	}
	routes := make([]object, len(campaignRoutes))
	for i, route := range campaignRoutes {
		routes[i] = object{"domains": []string{route.domain}, "providers": route.providers}
	}
	text, err := json.Marshal(object{
		"sender": object{"from": "Acme <no-reply@acme.example>"},
		"providers": []object{
			smtp("starttls", object{"requireTLS": true, "tls": object{"ca": certificates.authority}, "auth": object{"user": "relay", "pass": "password-of-the-test"}}),
			smtp("tls", object{"secure": true, "tls": object{"ca": certificates.authority}}),
			{"type": "sendgrid", "endpoint": endpoints["sendgrid"], "apiKey": "SG.key-of-the-test", "maxConcurrent": 100},
			{"type": "mailgun", "endpoint": endpoints["mailgun"], "apiKey": "key-of-the-test", "domain": "mail.acme.example", "maxConcurrent": 20},
			{"type": "ses", "endpoint": endpoints["ses"], "region": "eu-west-1", "accessKeyId": "AKIAKEYOFTHETEST0000", "accessKeySecret": "secret-of-the-test", "maxConcurrent": 100},
			smtp("plain", object{"ignoreTLS": true, "maxMessages": 20}),
		},
		"routes": routes,
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return string(text[1 : len(text)-1])
}

// relay starts a relay with a record and waits until it answers.
func (c *campaign) relay(public, record string, timeout time.Duration) *relayProcess {
	c.t.Helper()
	r := &relayProcess{public: public, process: &process{exited: make(chan struct{})}}
	file := filepath.Join(c.t.TempDir(), "config.json")
	text := fmt.Sprintf(`{"server": {"address": %q, "authorization": [%q], "timeout": %q, "trustedProxies": ["127.0.0.1"]},
		"admin": {"address": ""}, "deliveries": {"database": %q}, %s}`, public, authorization, timeout, c.record.database(record), c.sections)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	r.cmd = exec.Command(c.binary, "--config", file)
	r.cmd.Env = []string{}
	state := c.record.watch(r.process, record)
	r.run(c.t, func(line string) { c.log.read(line); state.read(line) })
	c.running = append(c.running, r)
	r.waitReady(c.t)
	go keepReloading(r.process, file, text)
	return r
}

// reloadEvery is how often a relay is made to read its configuration again.
const reloadEvery = 200 * time.Millisecond

// keepReloading has a relay reload as long as it lives: mostly with nothing
// changed, now and then with a provider that has to be replaced and a token more,
// and once in a while with a file that cannot be used.
func keepReloading(p *process, file, text string) {
	changed := strings.Replace(strings.Replace(text, `"maxMessages":20`, `"maxMessages":21`, 1),
		fmt.Sprintf(`[%q]`, authorization), fmt.Sprintf(`[%q, "Bearer another-token-of-the-test"]`, authorization), 1)
	versions := []string{text, changed, text, changed, "{"}
	ticker := time.NewTicker(reloadEvery)
	defer ticker.Stop()
	for n := 1; ; n++ {
		select {
		case <-p.exited:
			return
		case <-ticker.C:
		}
		if n%5 == 0 {
			fresh := file + ".new"
			if os.WriteFile(fresh, []byte(versions[n/5%len(versions)]), 0o600) == nil {
				_ = os.Rename(fresh, file)
			}
			continue
		}
		_ = p.cmd.Process.Signal(syscall.SIGHUP) // it may have ended just now
	}
}

func (c *campaign) freshAddress() string { return fmt.Sprintf("127.0.0.1:%d", freePort(c.t)) }

// scenario is what a phase does to the relays while the load runs. It gets the
// load going by calling ready with the address, and goes on until the context
// ends.
type scenario func(ctx context.Context, timeout time.Duration, ready func(address func() string))

// phase runs a load of so many webhooks through a scenario. The load goes on for
// as long as the scenario needs for one round.
func (c *campaign) phase(name string, timeout time.Duration, webhooks int, run scenario) {
	c.t.Helper()
	enough := c.sent.Load() + int64(webhooks)
	ctx, sent := context.WithCancel(c.t.Context())
	defer sent()
	var over atomic.Bool // the scenario has had its round
	var wait sync.WaitGroup
	run(ctx, timeout, func(address func() string) {
		l := &load{
			phase: name, address: address, limit: timeout + grace, rate: *campaignRate,
			next: func() (int, bool) {
				if c.sent.Load() >= enough {
					sent()
					if over.Load() {
						return 0, false
					}
				}
				return int(c.sent.Add(1)), true
			},
			body: c.webhooks.body, done: c.done,
		}
		wait.Go(func() { l.run(c.t.Context(), *campaignSeed) })
		wait.Go(func() { c.progress(&over, name) })
	})
	over.Store(true)
	wait.Wait()
	for _, r := range c.running {
		_ = r.cmd.Process.Kill() // most have ended
		<-r.exited
	}
	c.running = nil
}

// done takes the answer to a webhook.
func (c *campaign) done(result call) {
	if result.took > result.limit {
		result.taken = c.canary.taken(time.Now().Add(-result.took))
	}
	result.at = time.Now()
	broken := judge(result, c.ledger.copies(result.number))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, result)
	c.outcomes[result.outcome()]++
	c.violations = append(c.violations, broken...)
}

// attempts are those at the mail of a webhook, as the relay logged them.
func (c *campaign) attempts(number int) []attempt {
	i := slices.IndexFunc(c.calls, func(one call) bool { return one.number == number })
	if i < 0 {
		return nil
	}
	c.log.mu.Lock()
	defer c.log.mu.Unlock()
	return c.log.attempts[c.calls[i].id]
}

// endsWell waits for the end of a relay that was asked to stop.
func (c *campaign) endsWell(r *relayProcess) {
	c.t.Helper()
	if code := r.exitCode(c.t); code != 0 {
		c.t.Errorf("exit code %d after SIGTERM", code)
	}
}

// switching is how long it takes until everybody knows of the new relay. It has
// to end within the 6 seconds that a relay that was told to stop still serves.
const switching = 2 * time.Second

// handOver replaces one relay by another again and again, as an orchestrator
// does: the new one is ready, the old one is asked to stop, and only a while
// later new connections go to the new one.
func (c *campaign) handOver(ctx context.Context, timeout time.Duration, ready func(func() string)) {
	var address changingAddress
	current := c.relay(c.freshAddress(), "replaced", timeout)
	address.set(current.public)
	ready(address.String)
	for {
		next := c.relay(c.freshAddress(), "replaced", timeout)
		current.signal(c.t, syscall.SIGTERM)
		time.Sleep(switching)
		address.set(next.public)
		c.endsWell(current)
		current = next
		if ctx.Err() != nil {
			return
		}
	}
}

// alone leaves one relay in peace.
func (c *campaign) alone(ctx context.Context, timeout time.Duration, ready func(func() string)) {
	r := c.relay(c.freshAddress(), "alone", timeout)
	ready(func() string { return r.public })
	<-ctx.Done()
}

// disruption is what happens to a relay behind a proxy, which is left with another.
type disruption func(c *campaign, r *relayProcess, timeout time.Duration) *relayProcess

func rolling(c *campaign, r *relayProcess, timeout time.Duration) *relayProcess {
	r.signal(c.t, syscall.SIGTERM)
	c.endsWell(r)
	return c.relay(r.public, r.public, timeout)
}

func killing(c *campaign, r *relayProcess, timeout time.Duration) *relayProcess {
	c.record.kill(c.t, r.process)
	time.Sleep(time.Second) // the proxy has to do without it
	return c.relay(r.public, r.public, timeout)
}

// behindNginx runs two relays behind a proxy and restarts them in turn.
func (c *campaign) behindNginx(disrupt disruption) scenario {
	return func(ctx context.Context, timeout time.Duration, ready func(func() string)) {
		var relays []*relayProcess
		for range 2 {
			address := c.freshAddress()
			relays = append(relays, c.relay(address, address, timeout))
		}
		address := c.nginx(relays[0].public, relays[1].public)
		ready(func() string { return address })
		for {
			for i, r := range relays {
				time.Sleep(500 * time.Millisecond)
				relays[i] = disrupt(c, r, timeout)
				// What nginx thinks of the one that is back has to pass first, or
				// nobody would be left when the other one goes.
				time.Sleep(2500 * time.Millisecond)
			}
			if ctx.Err() != nil {
				return
			}
		}
	}
}

// nginx starts a proxy for two relays, and returns its address.
func (c *campaign) nginx(relay1, relay2 string) string {
	c.t.Helper()
	address := c.freshAddress()
	p := nginx.start(c.t, address, []string{relay1, relay2}, newCertificates(c.t), false)
	c.proxies = append(c.proxies, p)
	return address
}

// judgeDuplicates runs at the end, when all logs have been read.
func (c *campaign) judgeDuplicates() {
	for number := 1; number <= int(c.sent.Load()); number++ {
		c.violations = append(c.violations, judgeDuplicates(number, c.ledger.copies(number), c.log.attempts)...)
	}
}
