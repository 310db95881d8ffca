package e2e_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// Somebody has mails sent to one address as fast as it goes: ten arrive, spelled
// as it may be, and the rest is told how long to wait, in the reader's language.
func TestMailBombing(t *testing.T) {
	server := startSink(t)
	relay := startRelayWith(t, fmt.Sprintf(`[{"type": "smtp", "host": "127.0.0.1", "port": %d, "ignoreTLS": true}]`, server.port()),
		`"limits": {"recipient": "10/10m"}`)
	spellings := []string{"ada.lovelace@gmail.com", "AdaLovelace@gmail.com", "ada.lovelace+%d@gmail.com", "a.d.a.lovelace@googlemail.com"}
	var mu sync.Mutex
	answers := make(map[int]int)
	var senders sync.WaitGroup
	for sender := range 20 {
		senders.Go(func() {
			for i := range 50 {
				address := strings.Replace(spellings[i%len(spellings)], "%d", fmt.Sprint(i), 1)
				body := fmt.Sprintf(`{"to":%q,"type":"SignIn","payload":{"code":"482913","locale":"ru"},"ip":"203.0.113.%d"}`, address, sender)
				got := post(t, relay.webhook(), "application/json", authorization, strings.NewReader(body))
				mu.Lock()
				answers[got.status]++
				mu.Unlock()
				if got.status == http.StatusTooManyRequests && (got.header.Get("X-Relay-Error") != "rate_limited" ||
					got.header.Get("Retry-After") == "" || !strings.Contains(got.body, "примерно через 1\u00a0минуту. (ref ")) {
					t.Errorf("%v %s", got.header, got.body)
				}
			}
		})
	}
	senders.Wait()
	if answers[http.StatusOK] != 10 || answers[http.StatusTooManyRequests] != 990 {
		t.Errorf("answers by status: %v", answers)
	}
	if mails := server.take(); len(mails) != 10 {
		t.Errorf("%d mails arrived", len(mails))
	}
	other := post(t, relay.webhook(), "application/json", authorization,
		strings.NewReader(`{"to":"bob@gmail.com","type":"SignIn","payload":{"code":"482913"}}`))
	if other.status != http.StatusOK {
		t.Errorf("somebody else gets %d", other.status)
	}
}
