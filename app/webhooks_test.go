package app_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

const hookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="

// receiver is an endpoint of an operator's.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	bodies []string
	// status is what calls are answered, and forged counts those that secret has not signed.
	status int
	secret string
	forged int
}

func startReceiver(t *testing.T) *receiver {
	r := &receiver{secret: hookSecret, status: http.StatusNoContent}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		body, err := io.ReadAll(request.Body)
		if err != nil {
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		wh, err := standardwebhooks.NewWebhook(r.secret)
		if err == nil {
			err = wh.Verify(body, request.Header)
		}
		if err != nil {
			r.forged++
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		r.bodies = append(r.bodies, string(body))
		w.WriteHeader(r.status)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) set(status int, secret string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status, r.secret = status, secret
}

// of returns what was told of one kind.
func (r *receiver) of(kind string) (found []map[string]any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, body := range r.bodies {
		var message struct {
			Type string
			Data map[string]any
		}
		if json.Unmarshal([]byte(body), &message) == nil && message.Type == kind {
			found = append(found, message.Data)
		}
	}
	return found
}

func (r *receiver) said() (all string, forged int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.bodies, "\n"), r.forged
}

// documentedEvent is the data of the event that docs/monitoring.md shows.
func documentedEvent(t *testing.T) map[string]any {
	t.Helper()
	page, err := os.ReadFile("../docs/monitoring.md")
	if err != nil {
		t.Fatal(err)
	}
	var message struct{ Data map[string]any }
	_, text, _ := strings.Cut(string(page), "The body is JSON:\n\n```\n")
	text, _, _ = strings.Cut(text, "```")
	if err := json.Unmarshal([]byte(text), &message); err != nil || len(message.Data) < 10 {
		t.Fatalf("%v in %s", err, text)
	}
	return message.Data
}

// An endpoint is told of mails that another provider had to take, and of the provider
// that rests, with nothing private.
func TestAnEndpointIsTold(t *testing.T) {
	refusing, taking, hook := startMailServer(t), startMailServer(t), startReceiver(t)
	refusing.reply = "451 4.3.0 try later, your 482913 and https://acme.example/?never-print-this\r\n"
	s := settings{providers: []string{smtp("refusing", refusing), smtp("taking", taking)}, more: fmt.Sprintf(`,
		"deliveries": {"database": "deliveries.db", "addresses": "hashed", "addressKey": "never-print-this-key"}, "log": {"level": "debug"},
		"events": {"send": [{"url": "%s/never-print-this", "secret": %q, "statuses": ["accepted", "failover", "provider_resting"]}]}`, hook.URL, hookSecret)}
	r := run(t, s)
	host := strings.TrimPrefix(hook.URL, "http://")
	eventually(t, "the database is ready", func() bool { return strings.Contains(r.page("/readyz"), `"deliveries":"written"`) })
	if line := fmt.Sprintf("relay_webhooks_sent_total{endpoint=%q} 0\n", host); !strings.Contains(r.page("/metrics"), line) {
		t.Errorf("there is no %s", line)
	}
	n := 0
	for !r.has(`relay_provider_resting{provider="refusing"} 1`) { // after three failures, or some more while it is signed in at
		if got := r.webhook(token); got != 200 || n == 10 {
			t.Fatalf("got %d for mail %d", got, n)
		}
		n++
	}
	eventually(t, "all is told", func() bool {
		return len(hook.of("delivery.accepted")) == n && len(hook.of("delivery.failover")) == n && len(hook.of("provider.resting")) == 1
	})
	shown := r.recordOf("")[0]
	told := hook.of("delivery.failover")
	if !strings.Contains(fmt.Sprint(told), fmt.Sprint(shown)) || shown["to"] != "a***@example.org" {
		t.Errorf("told %v\nshown %v", told, shown)
	}
	for key := range documentedEvent(t) {
		if _, found := told[0][key]; !found {
			t.Errorf("docs/monitoring.md promises %s, which is not in %v", key, told[0])
		}
	}
	if rests := hook.of("provider.resting")[0]; rests["provider"] != "refusing" || rests["until"] == nil || !strings.Contains(fmt.Sprint(rests["cause"]), "451") {
		t.Errorf("told %v", rests)
	}
	eventually(t, "it is counted", func() bool {
		metrics := r.page("/metrics")
		return strings.Contains(metrics, fmt.Sprintf("relay_webhooks_sent_total{endpoint=%q} %d\n", host, 2*n+1)) &&
			strings.Contains(metrics, fmt.Sprintf("relay_webhooks_failed_total{endpoint=%q} 0\n", host))
	})

	// An endpoint that is in trouble stops no mail.
	hook.set(http.StatusInternalServerError, hookSecret)
	if got := r.webhook(token); got != 200 {
		t.Errorf("got %d", got)
	}
	eventually(t, "it is told", func() bool {
		ready := r.page("/readyz")
		return strings.Contains(ready, "events to "+host+`":"takes nothing since`) && strings.Contains(ready, "the answer is 500") && strings.Contains(ready, `"ready":true`)
	})

	all, forged := hook.said()
	if forged > 0 {
		t.Errorf("%d calls are not signed", forged)
	}
	places := map[string]string{"the calls": all, "the log": r.log.String(), "the pages": r.page("/readyz") + r.page("/metrics")}
	for _, end := range []string{"", "-wal"} {
		content, err := os.ReadFile(r.dir + "/deliveries.db" + end)
		if err != nil {
			t.Fatal(err)
		}
		places["deliveries.db"+end] = string(content)
	}
	for place, text := range places {
		for _, secret := range []string{"never-print-this", "482913", "ada@", hookSecret} {
			if i := strings.Index(strings.ToLower(text), strings.ToLower(secret)); i >= 0 {
				t.Errorf("%s holds %s: …%q…", place, secret, text[max(0, i-80):min(len(text), i+80)])
			}
		}
	}
}

// Another secret and another endpoint hold from a reload on.
func TestAReloadOfEndpoints(t *testing.T) {
	first, second := startReceiver(t), startReceiver(t)
	s := settings{providers: []string{smtp("main", startMailServer(t))}, more: fmt.Sprintf(`, "deliveries": {"database": "deliveries.db"},
		"events": {"send": [{"url": %q, "secret": %q, "statuses": ["accepted"]}]}`, first.URL, hookSecret)}
	r := run(t, s)
	down := startMailServer(t)
	sent := func(to *receiver, n int) {
		t.Helper()
		eventually(t, "the mail is told", func() bool { return r.webhook(token) == 200 && len(to.of("delivery.accepted")) >= n })
	}
	sent(first, 1)
	other := strings.Replace(hookSecret, "MfKQ", "QKfM", 1)
	reload := func(text string) {
		t.Helper()
		before := strings.Count(r.log.String(), `"msg":"reloaded"`)
		r.write("config.json", text)
		r.hangups <- os.Interrupt // a signal of any kind
		eventually(t, "it is reloaded", func() bool { return strings.Count(r.log.String(), `"msg":"reloaded"`) > before })
	}
	first.set(http.StatusNoContent, other)
	reload(strings.Replace(s.json(), hookSecret, other, 1))
	sent(first, len(first.of("delivery.accepted"))+1)
	reload(strings.Replace(s.json(), first.URL, second.URL, 1))
	before := len(first.of("delivery.accepted"))
	sent(second, 3)

	// A provider that cannot be signed in at rests, whether there are mails or not.
	_ = down.Close()
	s.providers = append(s.providers, smtp("down", down))
	s.more = strings.Replace(strings.Replace(s.more, first.URL, second.URL, 1), `"accepted"`, `"provider_resting"`, 1)
	begin := time.Now()
	r.write("config.json", s.json())
	eventually(t, "the rest is told", func() bool { return len(second.of("provider.resting")) == 1 })
	if took := time.Since(begin); took > 9*time.Second { // it is tried again after 10
		t.Errorf("told after %v", took)
	}
	if got := len(first.of("delivery.accepted")); got > before+8 { // those under way
		t.Errorf("the first one is told %d more", got-before)
	}
}
