package e2e_test

import (
	"database/sql"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"logto-email-relay/deliveries/postgrestest"
)

// webhookCaller sends webhooks, each to an address of its own, and keeps those that were
// answered with 200.
type webhookCaller struct {
	sent     atomic.Int64
	mu       sync.Mutex
	accepted []string // recipients
	others   map[int]int
}

// call sends webhooks until it is told to stop, so many at a time.
func (c *webhookCaller) call(t testing.TB, relay *relayProcess, atATime int) (stop func()) {
	t.Helper()
	stopping := make(chan struct{})
	var calling sync.WaitGroup
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: atATime}}
	for range atATime {
		calling.Go(func() {
			for {
				select {
				case <-stopping:
					return
				case <-relay.exited:
					return
				default:
				}
				c.once(client, relay)
			}
		})
	}
	return sync.OnceFunc(func() { close(stopping); calling.Wait(); client.CloseIdleConnections() })
}

func (c *webhookCaller) once(client *http.Client, relay *relayProcess) {
	to := fmt.Sprintf("person%d@example.org", c.sent.Add(1))
	request, err := http.NewRequest(http.MethodPost, relay.webhook(),
		strings.NewReader(fmt.Sprintf(`{"to":%q,"type":"SignIn","payload":{"code":"482913"}}`, to)))
	if err != nil {
		panic(err)
	}
	request.Header.Set("Authorization", authorization)
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil { // it was killed
		return
	}
	_ = response.Body.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	if response.StatusCode == http.StatusOK {
		c.accepted = append(c.accepted, to)
	} else {
		c.others[response.StatusCode]++
	}
}

func (c *webhookCaller) answered() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.accepted)
}

// row is a delivery as the admin listener shows it.
type row struct{ ID, To, Status, Ref string }

// rows reads the whole record, page by page.
func rows(t testing.TB, relay *relayProcess) (all []row) {
	t.Helper()
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(relay.log())
		}
	})
	query := url.Values{"limit": {"500"}}
	for {
		var page struct {
			Deliveries []row
			Next       string
		}
		get(t, "http://"+relay.admin+"/deliveries?"+query.Encode(), &page)
		all = append(all, page.Deliveries...)
		if page.Next == "" {
			return all
		}
		query.Set("after", page.Next)
	}
}

// readiness returns the details of /readyz about the record.
func readiness(t testing.TB, relay *relayProcess) string {
	t.Helper()
	var answer struct{ Details map[string]string }
	get(t, "http://"+relay.admin+"/readyz", &answer)
	return answer.Details["deliveries"]
}

// waitForRecord waits until every verdict is in the database.
func waitForRecord(t testing.TB, relay *relayProcess) {
	t.Helper()
	until(t, "the record is written", func() bool {
		return metric(t, relay, "relay_deliveries_queue_length") == "0" && !strings.Contains(readiness(t, relay), "kept in memory")
	})
}

func metric(t testing.TB, relay *relayProcess, name string) string {
	t.Helper()
	response, err := http.Get("http://" + relay.admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var text strings.Builder
	if err := response.Write(&text); err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(text.String(), "\n"+name+" ")
	value, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(value)
}

// judgeRecord holds the record against the answers and the mails.
func judgeRecord(t *testing.T, relay *relayProcess, calls *webhookCaller, mails [][]byte) {
	t.Helper()
	sent := make(map[string]bool)
	for _, mail := range mails {
		_, rest, _ := strings.Cut(string(mail), "\r\nX-Entity-Ref-ID: ")
		id, _, _ := strings.Cut(rest, "\r\n")
		sent[id] = true
	}
	byRecipient := make(map[string]row)
	statuses := make(map[string]int)
	for _, r := range rows(t, relay) {
		byRecipient[r.To] = r
		statuses[r.Status]++
		if r.Status == "accepted" && !sent[r.ID] {
			t.Errorf("%+v has no mail", r)
		}
	}
	missing := 0
	for _, to := range calls.accepted {
		if byRecipient[to].Status != "accepted" {
			missing++
		}
	}
	if missing > 0 {
		t.Errorf("%d of %d answers of 200 are not accepted in the record", missing, len(calls.accepted))
	}
	t.Logf("%d answers of 200, other answers %v, %d mails, rows by status %v", len(calls.accepted), calls.others, len(mails), statuses)
}

func smtpTo(s *sink) string {
	return fmt.Sprintf(`[{"name": "sink", "type": "smtp", "host": "127.0.0.1", "port": %d, "ignoreTLS": true, "maxConcurrent": 50}]`, s.port())
}

// Relays that are killed while they work leave every 200 in the database.
func TestAKilledRelayLeavesItsRecord(t *testing.T) {
	for _, c := range []struct {
		name     string
		database func(t *testing.T) string
	}{
		{"sqlite", func(t *testing.T) string { return filepath.Join(t.TempDir(), "deliveries.db") }},
		{"postgres", func(t *testing.T) string { return postgrestest.Start(t).Database(t) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			// A relay whose record is behind when it is killed loses verdicts, and has
			// said so. That proves nothing, and everything begins anew.
			for range 3 {
				if killedWithItsRecord(t, c.database(t)) {
					return
				}
			}
			t.Error("this machine takes longer than 100 ms for a commit, again and again")
		})
	}
}

// killedWithItsRecord kills relays and judges what is in the database. It tells whether
// no record was behind at such a moment.
func killedWithItsRecord(t *testing.T, database string) bool {
	section := fmt.Sprintf(`"deliveries": {"database": %q}, "limits": {"recipient": ""}`, database)
	s, calls := startSink(t), &webhookCaller{others: make(map[int]int)}
	for range 4 {
		relay := startRelayWith(t, smtpTo(s), section)
		until(t, "the record is ready", func() bool { return readiness(t, relay) == "written" })
		enough := calls.answered() + 200
		stop := calls.call(t, relay, 20)
		until(t, "some mails are accepted", func() bool { return calls.answered() >= enough })
		until(t, "verdicts are committed in time", func() bool { return readiness(t, relay) == "written" })
		_ = relay.cmd.Process.Kill()
		<-relay.exited
		stop()
		if strings.Count(relay.log(), "kept in memory") > strings.Count(relay.log(), "written again") {
			return false
		}
	}
	judgeRecord(t, startRelayWith(t, smtpTo(s), section), calls, s.take())
	return true
}

// A mail whose relay was killed before the verdict is uncertain for the next one.
func TestAMailWithoutVerdictIsUncertainAtTheNextStart(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	providers := fmt.Sprintf(`[{"type": "smtp", "host": "127.0.0.1", "port": %d, "ignoreTLS": true}]`, silent.Addr().(*net.TCPAddr).Port)
	file := filepath.Join(t.TempDir(), "deliveries.db")
	section := fmt.Sprintf(`"deliveries": {"database": %q}`, file)
	first := startRelayWith(t, providers, section)
	until(t, "the record is ready", func() bool { return readiness(t, first) == "written" })
	calls := &webhookCaller{others: make(map[int]int)}
	defer calls.call(t, first, 1)()
	until(t, "the mail is being sent", func() bool {
		all := rows(t, first)
		return len(all) == 1 && all[0].Status == "sending"
	})
	_ = first.cmd.Process.Kill()
	<-first.exited

	// Time passes.
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if _, err := db.Exec("UPDATE deliveries SET time = time - ?", time.Minute.Microseconds()); err != nil {
		t.Fatal(err)
	}
	second := startRelayWith(t, providers, section)
	until(t, "it is uncertain", func() bool {
		all := rows(t, second)
		return len(all) == 1 && all[0].Status == "uncertain"
	})
}

// A database that stops in between costs no mail, and no row.
func TestTheDatabaseStopsInBetween(t *testing.T) {
	server := postgrestest.Start(t)
	s, calls := startSink(t), &webhookCaller{others: make(map[int]int)}
	relay := startRelayWith(t, smtpTo(s), fmt.Sprintf(`"deliveries": {"database": %q}, "limits": {"recipient": ""}`, server.Database(t)))
	until(t, "the record is ready", func() bool { return readiness(t, relay) == "written" })
	more := func(what string) {
		t.Helper()
		enough := calls.answered() + 200
		defer calls.call(t, relay, 5)()
		until(t, what, func() bool { return calls.answered() >= enough })
	}
	for range 2 {
		more("mails are accepted")
		server.Stop(t)
		more("mails are accepted without the database")
		if text := readiness(t, relay); !strings.Contains(text, "kept in memory since") {
			t.Errorf("readyz says %q", text)
		}
		server.Start(t)
	}
	waitForRecord(t, relay)
	if lost := metric(t, relay, "relay_deliveries_lost_total"); lost != "0" || len(calls.others) > 0 {
		t.Errorf("%s lost, other answers %v", lost, calls.others)
	}
	judgeRecord(t, relay, calls, s.take())
	for _, words := range []string{"deliveries are kept in memory", "deliveries are written again"} {
		if !strings.Contains(relay.log(), words) {
			t.Errorf("the log does not say %q", words)
		}
	}
}
