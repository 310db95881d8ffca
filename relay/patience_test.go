package relay_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"logto-email-relay/mail"
	"logto-email-relay/providers"
	"logto-email-relay/relay"
)

// inTurn answers one send after the other; nil accepts.
func inTurn(ends ...*providers.Error) *fakeProvider {
	n := 0
	return &fakeProvider{send: func(context.Context, *mail.Message) (providers.Receipt, error) {
		n++
		if n > len(ends) || ends[n-1] == nil {
			return providers.Receipt{ID: "1"}, nil
		}
		return providers.Receipt{}, ends[n-1]
	}}
}

func throttled(wait time.Duration) *providers.Error {
	return &providers.Error{Kind: providers.RateLimited, RetryAfter: wait}
}

// A mail waits once for a provider that asks for a moment, if nobody else takes it
// and the moment fits into its time.
func TestAThrottledMailWaits(t *testing.T) {
	for _, test := range []struct {
		name        string
		members     []*fakeProvider
		by          string // who accepted
		reason      mail.Reason
		least, most time.Duration
		calls       []int32
	}{
		{"the only one", []*fakeProvider{inTurn(throttled(time.Second))}, "a", "", time.Second, 1250 * time.Millisecond, []int32{2}},
		{"as long as it fits", []*fakeProvider{inTurn(throttled(7 * time.Second))}, "a", "", 7 * time.Second, 7 * time.Second, []int32{2}},
		{"not longer", []*fakeProvider{inTurn(throttled(7001 * time.Millisecond))}, "", mail.ProviderUnavailable, 0, 0, []int32{1}},
		{"once", []*fakeProvider{inTurn(throttled(time.Second), throttled(time.Second))}, "", mail.ProviderUnavailable,
			time.Second, 1250 * time.Millisecond, []int32{2}},
		{"not while another takes it", []*fakeProvider{inTurn(throttled(time.Second)), accepts("2")}, "b", "", 0, 0, []int32{1, 1}},
		{"for the one that asks for least", []*fakeProvider{inTurn(throttled(3 * time.Second)), inTurn(throttled(2 * time.Second)),
			fails(providers.Error{Kind: providers.Configuration})}, "b", "", 2 * time.Second, 2500 * time.Millisecond, []int32{1, 2, 1}},
		{"for one in trouble that says how long", []*fakeProvider{inTurn(&providers.Error{Kind: providers.Temporary, RetryAfter: time.Second})},
			"a", "", time.Second, 1250 * time.Millisecond, []int32{2}},
		{"not for a quota", []*fakeProvider{inTurn(&providers.Error{Kind: providers.RateLimited, Quota: true, RetryAfter: time.Second})},
			"", mail.ProviderUnavailable, 0, 0, []int32{1}},
		{"not without a word", []*fakeProvider{inTurn(throttled(0))}, "", mail.ProviderUnavailable, 0, 0, []int32{1}},
		{"not after a verdict on the mail", []*fakeProvider{inTurn(throttled(time.Second)), fails(providers.Error{Kind: providers.Recipient})},
			"", mail.RecipientRefused, 0, 0, []int32{1, 1}},
		{"not in doubt", []*fakeProvider{fails(providers.Error{Kind: providers.Uncertain}), inTurn(throttled(time.Second))},
			"", mail.Uncertain, 0, 0, []int32{1, 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := deliver(t, newRelay(t, nil, test.members...))
				if d.Provider != test.by || d.Reason != test.reason || d.Duration < test.least || d.Duration > test.most {
					t.Errorf("accepted by %q, reason %q after %v", d.Provider, d.Reason, d.Duration)
				}
				for i, want := range test.calls {
					if got := test.members[i].calls.Load(); got != want {
						t.Errorf("provider %d was called %d times, want %d", i, got, want)
					}
				}
			})
		})
	}
}

func TestAThrottledMailGivesUpWithItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRelay(t, nil, inTurn(throttled(3*time.Second)))
		ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
		time.AfterFunc(time.Second, cancel)
		d := r.Deliver(ctx, relay.Request{ID: mail.NewID(), To: "ada@example.org", Type: "SignIn"})
		if d.Accepted() || d.Duration != time.Second {
			t.Errorf("%+v", d)
		}
	})
}

// secretive is a request whose code, link and recipient nobody may repeat.
func secretive() relay.Request {
	return relay.Request{ID: "01k9zq4v7x2m5n8p3r6t0w1yab", To: "anna.bell@example.org", Type: "SignIn", Payload: map[string]any{
		"code": json.Number("482913"), "link": "https://acme.example/join?token=magic77", "locale": "en",
		"user": map[string]any{"name": "see https://evil.example/now", "avatar": "javascript:x", "primaryEmail": "anna.bell@example.org"},
		"more": []any{"evil.example", true},
	}}
}

// composer is a provider that writes mails itself.
type composer struct{ *fakeProvider }

func (composer) Composes() {}

// What a provider is handed of the payload is harmless, and what it says of the
// mail is not repeated.
func TestAProviderGetsAndSaysNothingHarmful(t *testing.T) {
	var got map[string]any
	provider := &fakeProvider{send: func(_ context.Context, m *mail.Message) (providers.Receipt, error) {
		got = m.Payload
		return providers.Receipt{}, &providers.Error{Kind: providers.Content, Detail: "no 482 913 for ANNA.BELL%40example.org or join?token=magic77"}
	}}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
	defer cancel()
	request := secretive()
	d := newRelay(t, func(o *relay.Options) { o.Members[0].Service = composer{provider} }, provider).Deliver(ctx, request)
	if said := d.Attempts[0].Detail; said != "no [code] for [address] or join?token=[link]" {
		t.Errorf("it repeats %q", said)
	}
	user, _ := got["user"].(map[string]any)
	if name := user["name"]; name != "see https: /evil. example/now" {
		t.Errorf("the name is %q", name)
	}
	if user["avatar"] != "" || user["primaryEmail"] != "anna.bell@example.org" || got["code"] != json.Number("482913") ||
		got["link"] != request.Payload["link"] || got["more"].([]any)[0] != "evil. example" {
		t.Errorf("%v", got)
	}
	if request.Payload["user"].(map[string]any)["name"] != "see https://evil.example/now" {
		t.Error("the request was changed")
	}
}

func TestAnIDIsBoundedAndQuotesNothing(t *testing.T) {
	own := secretive().ID
	for id, want := range map[string]string{
		"<20261121.1.ABC@mail.example.com>":       "<20261121.1.ABC@mail.example.com>",
		strings.Repeat("ä", 300):                  strings.Repeat("ä", 256),
		"a\r\nb\x1b\u202e":                        "a  b",
		"anna.bell@example.org":                   own,
		"<Anna.Bell%40Example.org>":               own,
		"482913":                                  own,
		"code 482-913":                            own,
		"https://acme.example/join?token=magic77": own,
		"magic77":                                 own,
		"1152921482913440156":                     "1152921482913440156", // by chance
		" ":                                       own,
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
		d := newRelay(t, nil, accepts(id)).Deliver(ctx, secretive())
		cancel()
		if d.ProviderID != want {
			t.Errorf("%q became %q, want %q", id, d.ProviderID, want)
		}
	}
}
