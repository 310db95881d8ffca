package app_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

const eventPassword = "a-long-event-password"

func postmark(name, url string) string {
	return fmt.Sprintf(`{"name": %q, "type": "postmark", "endpoint": %q, "serverToken": "token-of-the-server", "eventCredentials": "relay:%s"}`, name, url, eventPassword)
}

// post calls the relay as a service does.
func (r *running) post(path, password, body string) int {
	r.t.Helper()
	request, err := http.NewRequest(http.MethodPost, "http://"+r.public+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	request.SetBasicAuth("relay", password)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	_ = response.Body.Close()
	return response.StatusCode
}

// A mail is sent, delivered, and comes back; its address is spared until somebody
// lifts it. What must not be kept is planted in all that the service says.
func TestAMailThatComesBack(t *testing.T) {
	var mails, lifts atomic.Int32
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/suppressions/delete") {
			lifts.Add(1)
			_, _ = io.WriteString(w, `{"Suppressions":[{"EmailAddress":"ada@example.org","Status":"Deleted"}]}`)
			return
		}
		mails.Add(1)
		_, _ = io.WriteString(w, `{"ErrorCode":0,"MessageID":"883953f4-6105-42a2"}`)
	}))
	defer service.Close()
	r := run(t, settings{providers: []string{postmark("main", service.URL), smtp("other", startMailServer(t))},
		more: `, "deliveries": {"database": "deliveries.db", "addresses": "hashed", "addressKey": "never-print-this-key"}, "log": {"level": "debug"}`})
	eventually(t, "the database is ready", func() bool { return strings.Contains(r.page("/readyz"), `"deliveries":"written"`) })
	if line := `relay_events_total{provider="main",status="bounced"} 0`; !strings.Contains(r.page("/metrics"), line) {
		t.Errorf("there is no %s", line)
	}
	if got := r.webhook(token); got != 200 || mails.Load() != 1 {
		t.Fatalf("got %d", got)
	}
	d := r.recordOf("")[0]
	event := func(rest string) string {
		return fmt.Sprintf(`{"MessageID":"883953f4-6105-42a2","Metadata":{"relay_id":%q},"Subject":"482913 never-print-this","Content":"482913 never-print-this",
			"Email":"ada@example.org","Details":"smtp;550 5.1.1 <ada@example.org> 482913: see https://acme.example/?never-print-this",%s}`, d["id"], rest)
	}
	delivered := event(`"RecordType":"Delivery","DeliveredAt":"2026-11-26T12:00:00Z"`)
	bounced := event(`"RecordType":"Bounce","ID":42,"Type":"HardBounce","BouncedAt":"2036-11-26T12:00:00Z"`)
	for _, c := range []struct {
		path, password, body string
		want                 int
	}{
		{"/events/main", "somebody-else", bounced, 401},
		{"/events/other", eventPassword, bounced, 404},
		{"/events/nobody", eventPassword, bounced, 404},
		{"/events/main", eventPassword, delivered, 200},
		{"/events/main", eventPassword, bounced, 200},
		{"/events/main", eventPassword, delivered, 200},                                                // once more
		{"/events/main", eventPassword, strings.Replace(bounced, d["id"].(string), "unknown", 1), 200}, // by the service's id, once more
		{"/events/main", eventPassword, `{"RecordType":"Delivery","MessageID":"another","DeliveredAt":"2026-11-26T12:00:00Z"}`, 200},
	} {
		if got := r.post(c.path, c.password, c.body); got != c.want {
			t.Errorf("%s: got %d, want %d", c.path, got, c.want)
		}
	}
	d = r.recordOf("")[0]
	if events := d["events"].([]any); d["status"] != "bounced" || len(events) != 2 {
		t.Errorf("recorded %v", d)
	}
	metrics := r.page("/metrics")
	for _, line := range []string{`relay_events_total{provider="main",status="bounced"} 1`, `relay_events_total{provider="main",status="delivered"} 1`,
		`relay_events_total{provider="main",status="unknown"} 1`} {
		if !strings.Contains(metrics, line+"\n") {
			t.Errorf("there is no %s", line)
		}
	}

	if got := r.webhook(token); got != 422 || mails.Load() != 1 {
		t.Errorf("the next mail gets %d, the service has %d", got, mails.Load())
	}
	if found := r.recordOf("status=suppressed"); len(found) != 1 {
		t.Errorf("recorded %v", found)
	}
	if list := r.page("/suppressions"); !strings.Contains(list, `"to":"a***@example.org","reason":"hard_bounce","provider":"main"`) {
		t.Errorf("the list is %s", list)
	}
	request, err := http.NewRequest(http.MethodDelete, "http://"+r.admin+"/suppressions/ada@example.org", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Lifted    bool
		Providers map[string]string
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || !answer.Lifted || len(answer.Providers) != 1 || answer.Providers["main"] != "lifted" || lifts.Load() != 1 {
		t.Errorf("%+v, %v", answer, err)
	}
	_ = response.Body.Close()
	if got := r.webhook(token); got != 200 || mails.Load() != 2 {
		t.Errorf("lifted, the next mail gets %d", got)
	}

	places := map[string][]byte{"the answers": []byte(r.page("/deliveries") + r.page("/suppressions")), "the pages": []byte(r.page("/") + r.page("/readyz") + r.page("/metrics")), "the log": []byte(r.log.String())}
	for _, end := range []string{"", "-wal"} {
		content, err := os.ReadFile(filepath.Join(r.dir, "deliveries.db"+end))
		if err != nil {
			t.Fatal(err)
		}
		places["deliveries.db"+end] = content
	}
	for place, content := range places {
		for _, secret := range []string{"never-print-this", "482913", "ada@", eventPassword} {
			if i := bytes.Index(bytes.ToLower(content), []byte(secret)); i >= 0 {
				t.Errorf("%s holds %s: …%q…", place, secret, content[max(0, i-80):min(len(content), i+80)])
			}
		}
	}
}
