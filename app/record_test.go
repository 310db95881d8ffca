package app_test

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"logto-email-relay/deliveries"
	"logto-email-relay/mail"
	secrets "logto-email-relay/settings"
)

// find is what the record answers to a search.
func (r *running) find(query string) (found []map[string]any) {
	r.t.Helper()
	var answer struct{ Deliveries []map[string]any }
	if err := json.Unmarshal([]byte(r.page("/deliveries?"+query)), &answer); err != nil {
		r.t.Fatal(err)
	}
	return answer.Deliveries
}

// recordOf asks the record when all is written: on a slow machine a commit takes longer
// than a mail waits for it.
func (r *running) recordOf(query string) (found []map[string]any) {
	r.t.Helper()
	eventually(r.t, "the record is written", r.isWritten)
	return r.find(query)
}

// isWritten tells whether nothing waits in memory.
func (r *running) isWritten() bool {
	return strings.Contains(r.page("/readyz"), `"deliveries":"written"`) &&
		strings.Contains(r.page("/metrics"), "\nrelay_deliveries_queue_length 0\n")
}

func TestAnAcceptedMailIsInTheRecordWhenItsCallerHears(t *testing.T) {
	r := run(t, settings{providers: []string{smtp("main", startMailServer(t))}, more: `, "deliveries": {"database": "deliveries.db"}`})
	eventually(t, "the database is ready", func() bool {
		return r.webhook(token) == 200 && r.isWritten()
	})
	before := len(r.find("to=ADA@example.org"))
	if got := r.webhook(token); got != 200 {
		t.Fatalf("got %d", got)
	}
	found := r.find("to=ADA@example.org")
	if len(found) != before+1 || found[0]["status"] != "accepted" || found[0]["provider"] != "main" || found[0]["to"] != "ada@example.org" {
		t.Errorf("found %v", found)
	}
	if one := r.page("/deliveries/" + found[0]["ref"].(string)); !strings.Contains(one, found[0]["id"].(string)) {
		t.Errorf("one delivery is %s", one)
	}
	if _, err := os.Stat(filepath.Join(r.dir, "deliveries.db")); err != nil {
		t.Error(err)
	}
}

func TestMetricsOfTheRecordAreThereFromTheStart(t *testing.T) {
	r := run(t, settings{providers: []string{smtp("main", startMailServer(t))}})
	metrics := r.page("/metrics")
	for _, line := range []string{"relay_deliveries_lost_total 0", "relay_deliveries_queue_length 0"} {
		if !strings.Contains(metrics, "\n"+line+"\n") {
			t.Errorf("there is no %s", line)
		}
	}
}

func TestADatabaseThatCannotBeStopsNoMail(t *testing.T) {
	r := run(t, settings{providers: []string{smtp("main", startMailServer(t))}, more: `, "deliveries": {"database": "no/such/folder/deliveries.db"}`})
	for range 3 {
		if got := r.webhook(token); got != 200 {
			t.Fatalf("got %d", got)
		}
	}
	if details := r.page("/readyz"); !strings.Contains(details, `"ready":true`) || !strings.Contains(details, "kept in memory since") {
		t.Errorf("readyz says %s", details)
	}
	if metrics := r.page("/metrics"); !strings.Contains(metrics, "\nrelay_deliveries_queue_length 3\n") {
		t.Error("the metrics do not tell of the three that wait")
	}
	if !r.has("relay_degraded 1") || !r.has("relay_deliveries_behind 1") {
		t.Error("the metrics say that all is well")
	}
	if err := os.MkdirAll(filepath.Join(r.dir, "no", "such", "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	eventually(t, "they are written", r.isWritten)
	eventually(t, "all is well", func() bool { return r.has("relay_degraded 0") && r.has("relay_deliveries_behind 0") })
	eventually(t, "all are found", func() bool { return len(r.find("")) == 3 })
}

// Mails are written as quickly as ever to a record whose old rows cannot be deleted.
func TestARecordThatCannotBeLookedAfterIsTold(t *testing.T) {
	file := filepath.Join(t.TempDir(), "deliveries.db")
	s := deliveries.DefaultSettings()
	s.Database = secrets.NewSecret(file)
	record, err := deliveries.Open(s, time.Second, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the database is ready", func() bool { return record.State().Opened })
	if err := record.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.Exec("DROP TABLE totals")
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}

	r := run(t, settings{providers: []string{smtp("main", startMailServer(t))}, more: fmt.Sprintf(`, "deliveries": {"database": %q}`, file)})
	eventually(t, "it is told", func() bool {
		return r.has("relay_degraded 1") && r.has("relay_deliveries_behind 1") && strings.Contains(r.page("/readyz"), "written; old ones may stay: ")
	})
	if got := r.webhook(token); got != 200 || !r.has("relay_deliveries_queue_length 0") {
		t.Errorf("got %d", got)
	}
}

func TestAnotherDatabaseNeedsARestart(t *testing.T) {
	s := settings{providers: []string{smtp("main", startMailServer(t))}, more: `, "deliveries": {"database": "one.db"}`}
	r := run(t, s)
	r.write("config.json", strings.Replace(s.json(), "one.db", "two.db", 1))
	r.hangups <- os.Interrupt // a signal of any kind
	eventually(t, "it is told", func() bool {
		return strings.Contains(r.log.String(), "needs a restart") && strings.Contains(r.log.String(), "deliveries.database")
	})
	r.restartsFor(t, "deliveries.database")
	eventually(t, "the record goes on", func() bool {
		return r.webhook(token) == 200 && r.isWritten() && len(r.find("to=ada@example.org")) > 0
	})
}

// Until the restart the old database is kept as it was: no address stands in clear among
// hashed ones.
func TestADatabaseKeepsItsSettings(t *testing.T) {
	s := settings{providers: []string{smtp("main", startMailServer(t))}}
	for _, next := range []string{"", `, "deliveries": {"database": "two.db"}`} {
		s.more = `, "deliveries": {"database": "one.db", "addresses": "hashed", "addressKey": "a-long-key-of-the-test"}`
		r := run(t, s)
		eventually(t, "the database is ready", func() bool { return r.webhook(token) == 200 && r.isWritten() })
		s.more = next
		r.write("config.json", s.json())
		eventually(t, "it is read", func() bool { return strings.Contains(r.log.String(), `"reloaded"`) })
		r.restartsFor(t, "deliveries.database")
		if got := r.webhook(token); got != 200 {
			t.Fatalf("got %d", got)
		}
		if found := r.recordOf(""); len(found) < 2 || found[0]["to"] != "a***@example.org" {
			t.Errorf("%q: found %v", next, found)
		}
	}
}

// What the record must not hold is planted in all that comes in, and searched for
// in all that stays or goes out.
// What must not be kept is planted in all that a webhook has, in webhooks that are
// refused and in what a service says, and looked for wherever the relay writes.
func TestTheRecordHoldsNoSecrets(t *testing.T) {
	refusing, taking := startMailServer(t), startMailServer(t)
	refusing.reply = "451 4.3.0 try later, your 730461 and https://acme.example/?never-print-this and\r\n"
	r := run(t, settings{providers: []string{smtp("refusing", refusing), smtp("taking", taking)},
		more: `, "deliveries": {"database": "deliveries.db", "addresses": "hashed", "addressKey": "never-print-this-key"}, "log": {"level": "debug"}`})
	eventually(t, "the database is ready", func() bool {
		return r.webhook(token) == 200 && r.isWritten()
	})
	var answers bytes.Buffer
	for body, want := range map[string]int{
		`{"to":"ada.lovelace@example.org","type":"SignIn","payload":{"code":"730461","locale":"en","never-print-this":"never-print-this",
			"application":{"id":"app1","name":"never-print-this","logo":"https://acme.example/never-print-this.png"},
			"user":{"name":"never-print-this","primaryEmail":"never-print-this@example.org"}}}`: 200,
		`{"to":"ada.lovelace@example.org","type":"OrganizationInvitation","payload":{"link":"https://acme.example/accept?never-print-this",
			"organization":{"id":"org1","name":"never-print-this"},"inviter":{"name":"never-print-this"}}}`: 200,
		`{"to":"lovelace","type":"never-print-this","payload":{"code":"730461","locale":"never-print-this"}}`:                422,
		`{"to":"ada.lovelace@example.org","type":"OrganizationInvitation","payload":{"link":"javascript:never-print-this"}}`: 422,
		`{"to":"ada.lovelace@example.org","never-print-this":730461`:                                                         400,
	} {
		request, err := http.NewRequest(http.MethodPost, "http://"+r.public+"/logto/email?never-print-this", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header = http.Header{"Authorization": {token}, "Content-Type": {"application/json"}, "User-Agent": {"never-print-this"},
			"Cookie": {"never-print-this"}, "Referer": {"https://acme.example/never-print-this"},
			"X-Request-Id": {"<never-print-this>"}, "Traceparent": {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err != nil || response.StatusCode != want {
			t.Fatalf("got %d, want %d: %v", response.StatusCode, want, err)
		}
		answers.Write(answer)
	}
	var found string
	eventually(t, "both mails are found, as they may be shown", func() bool {
		found = r.page("/deliveries?to=Ada.Lovelace@example.org")
		return strings.Count(found, `"to":"a***@example.org"`) == 2 && strings.Contains(found, "app1") && strings.Contains(found, "org1") &&
			strings.Count(found, `"trace":"4bf92f3577b34da6a3ce929d0e0e4736"`) == 2
	})
	places := map[string][]byte{"the answer": []byte(found), "the webhooks' answers": answers.Bytes(), "the log": []byte(r.log.String())}
	for _, path := range []string{"/", "/readyz", "/metrics", "/suppressions", "/templates", "/templates/SignIn/en/html"} {
		places[path] = []byte(r.page(path))
	}
	for _, end := range []string{"", "-wal"} {
		content, err := os.ReadFile(filepath.Join(r.dir, "deliveries.db"+end))
		if err != nil {
			t.Fatal(err)
		}
		places["deliveries.db"+end] = content
	}
	if all := append(places["deliveries.db"], places["deliveries.db-wal"]...); !bytes.Contains(all, []byte("a***@example.org")) {
		t.Error("the search looks in the wrong place")
	}
	for place, content := range places {
		for _, secret := range []string{"never-print-this", "730461", "lovelace", strings.TrimPrefix(token, "Bearer ")} {
			if i := bytes.Index(bytes.ToLower(content), []byte(secret)); i >= 0 {
				t.Errorf("%s holds %s: …%q…", place, secret, content[max(0, i-80):min(len(content), i+80)])
			}
		}
	}
}

// A timeout that a reload has made longer is that of mails under way, too.
func TestAMailUnderWayIsNotGivenUp(t *testing.T) {
	s := settings{providers: []string{smtp("main", startMailServer(t))}, more: `, "deliveries": {"database": "deliveries.db"}`}
	r := &running{t: t, dir: folder(t), log: new(logs), hangups: make(chan os.Signal, 1)}
	r.write("config.json", strings.Replace(s.json(), `"server": {`, `"server": {"timeout": "1s", `, 1))
	recorded := deliveries.DefaultSettings()
	recorded.Database = secrets.NewSecret(filepath.Join(r.dir, "deliveries.db"))
	record, err := deliveries.Open(recorded, time.Hour, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the database is ready", func() bool { state := record.State(); return state.Opened && state.Behind == nil })
	for to, age := range map[string]time.Duration{"way@example.com": 7 * time.Second, "lost@example.com": time.Hour} {
		record.Begin(&mail.Delivery{ID: mail.NewID(), Time: time.Now().Add(-age), To: to})
	}
	if err := record.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.start()
	eventually(t, "the lost one is given up", func() bool {
		found := r.find("to=lost@example.com")
		return len(found) == 1 && found[0]["status"] == "uncertain"
	})
	if found := r.find("to=way@example.com"); len(found) != 1 || found[0]["status"] != "sending" {
		t.Errorf("found %v", found)
	}
}
