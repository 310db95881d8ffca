package e2e_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"logto-email-relay/deliveries/postgrestest"
)

const hookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="

// hook is an operator's endpoint. While it hangs, it reads calls and answers none.
type hook struct {
	*httptest.Server
	mu    sync.Mutex
	hangs bool
	// ids are the ids of events by the mails they are about; taken are those that were
	// answered with 204.
	ids, taken map[string]map[string]int
	forged     int
}

func startHook(t *testing.T) *hook {
	h := &hook{ids: make(map[string]map[string]int), taken: make(map[string]map[string]int)}
	wh, err := standardwebhooks.NewWebhook(hookSecret)
	if err != nil {
		t.Fatal(err)
	}
	note := func(in map[string]map[string]int, mail, id string) {
		if in[mail] == nil {
			in[mail] = make(map[string]int)
		}
		in[mail][id]++
	}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		var message struct{ Data struct{ To string } }
		forged := wh.Verify(body, r.Header) != nil || json.Unmarshal(body, &message) != nil
		h.mu.Lock()
		hangs := h.hangs
		if forged {
			h.forged++
		}
		note(h.ids, message.Data.To, r.Header.Get("Webhook-Id"))
		h.mu.Unlock()
		if hangs {
			<-r.Context().Done()
			return
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		note(h.taken, message.Data.To, r.Header.Get("Webhook-Id"))
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *hook) hang(now bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hangs = now
}

// called tells how many mails the endpoint was told of, whether it answered or not, and
// took how many.
func (h *hook) called() (mails, taken int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.ids), len(h.taken)
}

// Relays that are killed while they call an endpoint tell it of every mail in the end,
// with the same id when they do so twice.
func TestAKilledRelayTellsEverything(t *testing.T) {
	for _, c := range []struct {
		name, driver string
		database     func(t *testing.T) string
	}{
		{"sqlite", "sqlite", func(t *testing.T) string { return filepath.Join(t.TempDir(), "deliveries.db") }},
		{"postgres", "pgx", func(t *testing.T) string { return postgrestest.Start(t).Database(t) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			database := c.database(t)
			db, err := sql.Open(c.driver, database)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = db.Close() }()
			h, s, calls := startHook(t), startSink(t), &webhookCaller{others: make(map[int]int)}
			section := fmt.Sprintf(`"deliveries": {"database": %q}, "limits": {"recipient": ""},
				"events": {"send": [{"url": %q, "secret": %q, "statuses": ["accepted"]}]}`, database, h.URL, hookSecret)
			for range 3 {
				relay := startRelayWith(t, smtpTo(s), section)
				until(t, "the record is ready", func() bool { return readiness(t, relay) == "written" })
				before, _ := h.called()
				h.hang(false)
				enough := calls.answered() + 50
				stop := calls.call(t, relay, 5)
				until(t, "some mails are accepted and told", func() bool {
					mails, _ := h.called()
					return calls.answered() >= enough && mails > before
				})
				h.hang(true)
				until(t, "calls are under way", func() bool { mails, taken := h.called(); return mails > taken })
				stop()
				waitForRecord(t, relay) // what is not in it cannot be told
				_ = relay.cmd.Process.Kill()
				<-relay.exited
				// Time passes, and with it the claims of the dead.
				if _, err := db.Exec("UPDATE notifications SET due = since"); err != nil {
					t.Fatal(err)
				}
			}
			h.hang(false)
			relay := startRelayWith(t, smtpTo(s), section)
			until(t, "all mails are told", func() bool { _, taken := h.called(); return taken >= calls.answered() })
			until(t, "the queue is empty", func() bool {
				var left int
				if err := db.QueryRow("SELECT COUNT(*) FROM notifications").Scan(&left); err != nil {
					t.Fatal(err)
				}
				return left == 0
			})
			h.mu.Lock()
			defer h.mu.Unlock()
			again := 0
			for mail, ids := range h.ids {
				if len(ids) != 1 {
					t.Errorf("%s has the ids %v", mail, ids)
				}
				for _, n := range ids {
					again += n - 1
				}
			}
			for _, to := range calls.accepted {
				if len(h.taken[to]) != 1 {
					t.Errorf("%s is not told", to)
				}
			}
			if h.forged > 0 {
				t.Errorf("%d calls are not signed\n%s", h.forged, relay.log())
			}
			t.Logf("%d answers of 200, %d mails told, %d calls again", len(calls.accepted), len(h.taken), again)
		})
	}
}
