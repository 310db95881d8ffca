package webhooks

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"logto-email-relay/deliveries"
	"logto-email-relay/deliveries/postgrestest"
	"logto-email-relay/mail"
	"logto-email-relay/settings"
)

// Relays that share a database send each event once, whoever recorded it, also through
// an endpoint that fails now and then.
func TestSeveralRelaysWithOneDatabase(t *testing.T) {
	t.Run("postgres", func(t *testing.T) { sendTogether(t, postgrestest.Start(t).Database(t), 3) })
	t.Run("sqlite", func(t *testing.T) { sendTogether(t, filepath.Join(t.TempDir(), "deliveries.db"), 1) })
}

func sendTogether(t *testing.T, database string, relays int) {
	const mails = 100
	var mu sync.Mutex
	calls, taken := make(map[string]int), make(map[string]int)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		id := r.Header.Get("Webhook-Id")
		mu.Lock()
		defer mu.Unlock()
		if calls[id]++; calls[id] == 1 && len(calls)%20 == 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		taken[id]++
	}))
	defer server.Close()
	recorded := deliveries.DefaultSettings()
	recorded.Database = settings.NewSecret(database)
	e := endpointAt(server.URL)
	e.Statuses = []string{"accepted"}
	s := Settings{Send: []Endpoint{e}}
	var recording sync.WaitGroup
	for range relays {
		store, err := deliveries.Open(recorded, time.Second, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		store.Tell(s.Wants(), func(d *mail.Delivery) any { return d.ID })
		sender := New(store, slog.New(slog.DiscardHandler))
		sender.Use(s)
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			sender.Close(ctx)
			if err := store.Close(ctx); err != nil {
				t.Error(err)
			}
		})
		eventually(t, "the database is ready", func() bool { return store.State().Opened })
		recording.Go(func() {
			for i := range mails {
				store.Finish(t.Context(), &mail.Delivery{ID: mail.NewID(), Time: time.Now(), To: fmt.Sprintf("person%d@example.org", i), Status: mail.StatusAccepted})
			}
		})
	}
	recording.Wait()
	eventually(t, "all are taken", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(taken) == relays*mails
	})
	mu.Lock()
	defer mu.Unlock()
	for id, n := range taken {
		if n != 1 {
			t.Errorf("%s is taken %d times", id, n)
		}
	}
}
