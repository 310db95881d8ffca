package relay_test

import (
	"context"
	"reflect"
	"testing"
	"time"

	"logto-email-relay/mail"
	"logto-email-relay/providers"
	"logto-email-relay/relay"
)

// fakeRecord keeps what it is told.
type fakeRecord struct {
	begun, finished []mail.Delivery
	suppressed      string
}

func (f *fakeRecord) Suppressed(_ context.Context, to string) bool { return to == f.suppressed }

func (f *fakeRecord) Begin(d *mail.Delivery) { f.begun = append(f.begun, *d) }

func (f *fakeRecord) Finish(_ context.Context, d *mail.Delivery) { f.finished = append(f.finished, *d) }

// A mail is in the record before its first attempt, and its verdict before Deliver
// returns.
func TestEveryMailIsRecorded(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(context.Context, *mail.Message) (providers.Receipt, error)
		want mail.Status
	}{
		{"accepted", accepts("1").send, mail.StatusAccepted},
		{"refused", fails(providers.Error{Kind: providers.Recipient}).send, mail.StatusRefused},
		{"uncertain", fails(providers.Error{Kind: providers.Uncertain}).send, mail.StatusUncertain},
		{"failed", fails(providers.Error{Kind: providers.Temporary}).send, mail.StatusFailed},
	} {
		t.Run(c.name, func(t *testing.T) {
			record := &fakeRecord{}
			service := &fakeProvider{send: func(ctx context.Context, m *mail.Message) (providers.Receipt, error) {
				if len(record.begun) != 1 || len(record.finished) != 0 || record.begun[0].ID != m.ID || record.begun[0].To != m.To {
					t.Errorf("at the attempt the record holds %+v", record)
				}
				return c.end(ctx, m)
			}}
			d := deliver(t, newRelay(t, func(o *relay.Options) { o.Recorder = record }, service))
			if len(record.begun) != 1 || len(record.finished) != 1 || !reflect.DeepEqual(record.finished[0], *d) || d.Status != c.want {
				t.Errorf("delivery %+v, the record holds %+v", d, record)
			}
		})
	}
}

// Nobody is asked to send to an address whose mails come back, and the record tells.
func TestASuppressedRecipient(t *testing.T) {
	record := &fakeRecord{suppressed: "ada@example.com"}
	service := accepts("1")
	r := newRelay(t, func(o *relay.Options) { o.Recorder = record }, service)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	for _, to := range []string{"ada@example.com", "bob@example.com"} {
		d := r.Deliver(ctx, relay.Request{ID: mail.NewID(), To: to, Type: "SignIn", Payload: map[string]any{"code": "123456"}})
		if to == record.suppressed {
			if d.Status != mail.StatusSuppressed || d.Reason != mail.RecipientSuppressed || len(d.Attempts) != 0 {
				t.Errorf("%+v", d)
			}
		} else if !d.Accepted() {
			t.Errorf("%+v", d)
		}
		if n := len(record.finished); n == 0 || !reflect.DeepEqual(record.finished[n-1], *d) {
			t.Errorf("the record holds %+v", record.finished)
		}
	}
}
