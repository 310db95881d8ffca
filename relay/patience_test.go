package relay_test

import (
	"context"
	"encoding/json"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"logto-email-relay/mail"
	"logto-email-relay/providers"
	"logto-email-relay/relay"
	"logto-email-relay/templates"
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

// firstly takes the first mail to one provider, and all others to another.
func firstly(first, others *fakeProvider) *fakeProvider {
	asked := false
	return &fakeProvider{send: func(ctx context.Context, m *mail.Message) (providers.Receipt, error) {
		if !asked {
			asked = true
			return first.send(ctx, m)
		}
		return others.send(ctx, m)
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

// A provider that hung the last time leaves time to one that may take the mail in a while; one
// that is only slow has all of it.
func TestOneThatHangsLeavesTimeToAThrottledOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := inTurn(throttled(time.Second), throttled(time.Second))
		hung := hangs(providers.Temporary)
		r := newRelay(t, nil, a, hung)
		if d := deliver(t, r); d.Accepted() || d.Duration != 8*time.Second {
			t.Errorf("the first mail: accepted by %q after %v", d.Provider, d.Duration)
		}
		if d := deliver(t, r); d.Provider != "a" || d.Duration != 4*time.Second {
			t.Errorf("the next mail: accepted by %q after %v", d.Provider, d.Duration)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		slow := &fakeProvider{send: func(context.Context, *mail.Message) (providers.Receipt, error) {
			time.Sleep(6 * time.Second)
			return providers.Receipt{ID: "2"}, nil
		}}
		r := newRelay(t, nil, inTurn(throttled(time.Second), throttled(time.Second)), slow)
		for range 2 {
			if d := deliver(t, r); d.Provider != "b" || d.Duration != 6*time.Second {
				t.Errorf("accepted by %q after %v", d.Provider, d.Duration)
			}
		}
	})
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

// A service that writes the mail itself gets the link as the relay would print it.
func TestALinkIsHandedOverAsItIsPrinted(t *testing.T) {
	var got *mail.Message
	provider := &fakeProvider{send: func(_ context.Context, m *mail.Message) (providers.Receipt, error) {
		got = m
		return providers.Receipt{ID: "1"}, nil
	}}
	for _, link := range []string{"https://acme.example/?a=%22%3E%3Cb%3E", ""} {
		deliver := newRelay(t, func(o *relay.Options) {
			o.Members[0].Service = composer{provider}
			o.Members[0].Renderer = ownTemplates{mail: templates.Mail{Text: "text", Link: link}}
		}, provider)
		ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
		request := secretive()
		request.Payload["link"] = `https://acme.example/?a="><b>`
		if d := deliver.Deliver(ctx, request); !d.Accepted() || got.Payload["link"] != link {
			t.Errorf("%v, got %v, want %q", d.Status, got.Payload["link"], link)
		}
		delete(request.Payload, "link")
		if d := deliver.Deliver(ctx, request); !d.Accepted() || got.Payload["link"] != nil {
			t.Errorf("%v, got %v", d.Status, got.Payload["link"])
		}
		cancel()
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

// A mail that nobody took up is tried again, after growing pauses, for as long as
// its time allows.
func TestTroubleThatPassesIsWaitedFor(t *testing.T) {
	restarting := func() *providers.Error { return &providers.Error{Kind: providers.Temporary, Momentary: true} }
	// until answers with a failure for a while after the first send.
	until := func(end time.Duration) *fakeProvider {
		var first time.Time
		return &fakeProvider{send: func(context.Context, *mail.Message) (providers.Receipt, error) {
			if first.IsZero() {
				first = time.Now()
			}
			if time.Since(first) < end {
				return providers.Receipt{}, restarting()
			}
			return providers.Receipt{ID: "1"}, nil
		}}
	}
	const never = time.Hour
	for _, test := range []struct {
		name        string
		members     []*fakeProvider
		by          string // who accepted
		reason      mail.Reason
		least, most time.Duration
		calls       []int32 // at least
	}{
		{"a moment", []*fakeProvider{until(200 * time.Millisecond)}, "a", "", 300 * time.Millisecond, 375 * time.Millisecond, []int32{2}},
		{"a second", []*fakeProvider{until(800 * time.Millisecond)}, "a", "", 900 * time.Millisecond, 1125 * time.Millisecond, []int32{3}},
		{"as long as it can be", []*fakeProvider{until(6500 * time.Millisecond)}, "a", "", 6500 * time.Millisecond, 7 * time.Second, []int32{5}},
		{"and no longer", []*fakeProvider{until(never)}, "", mail.ProviderUnavailable, 6 * time.Second, 7 * time.Second, []int32{5}},
		{"whoever is back first", []*fakeProvider{until(never), until(800 * time.Millisecond)}, "b", "", 900 * time.Millisecond, 1125 * time.Millisecond, []int32{2, 3}},
		{"beside what stays", []*fakeProvider{until(800 * time.Millisecond), fails(providers.Error{Kind: providers.Configuration})}, "a", "",
			900 * time.Millisecond, 1125 * time.Millisecond, []int32{3, 1}},
		{"beside one that says when", []*fakeProvider{inTurn(throttled(time.Second)), until(never)}, "a", "",
			time.Second, 1250 * time.Millisecond, []int32{2, 2}},
		{"not while another takes it", []*fakeProvider{until(never), accepts("2")}, "b", "", 0, 0, []int32{1, 1}},
		{"not what stays", []*fakeProvider{fails(providers.Error{Kind: providers.Temporary})}, "", mail.ProviderUnavailable, 0, 0, []int32{1}},
		{"until there is a verdict", []*fakeProvider{inTurn(restarting(), restarting(), &providers.Error{Kind: providers.Recipient})},
			"", mail.RecipientRefused, 900 * time.Millisecond, 1125 * time.Millisecond, []int32{3}},
		{"until there is doubt", []*fakeProvider{inTurn(restarting(), &providers.Error{Kind: providers.Uncertain})},
			"", mail.Uncertain, 300 * time.Millisecond, 375 * time.Millisecond, []int32{2}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := deliver(t, newRelay(t, nil, test.members...))
				if d.Provider != test.by || d.Reason != test.reason || d.Duration < test.least || d.Duration > test.most {
					t.Errorf("accepted by %q, reason %q after %v", d.Provider, d.Reason, d.Duration)
				}
				for i, least := range test.calls {
					if got := test.members[i].calls.Load(); got < least || got > 8 {
						t.Errorf("provider %d was called %d times, want %d", i, got, least)
					}
				}
			})
		})
	}
}

// The name of a container goes with it. That of a host that never answered is a mistake.
func TestAHostThatWasThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := &providers.Error{Kind: providers.Configuration, Err: &net.DNSError{IsNotFound: true}}
		r := newRelay(t, nil, inTurn(gone, nil, gone, gone, nil, &providers.Error{Kind: providers.Uncertain, Err: gone.Err}))
		if d := deliver(t, r); d.Reason != mail.ProviderRefused || len(d.Attempts) != 1 {
			t.Errorf("never seen: %q, %+v", d.Reason, d.Attempts)
		}
		if d := deliver(t, r); !d.Accepted() {
			t.Errorf("%q", d.Reason)
		}
		if d := deliver(t, r); !d.Accepted() || len(d.Attempts) != 3 || d.Attempts[0].Kind != "temporary" {
			t.Errorf("%q, %+v", d.Reason, d.Attempts)
		}
		if d := deliver(t, r); d.Reason != mail.Uncertain || len(d.Attempts) != 1 {
			t.Errorf("gone after the mail: %q, %+v", d.Reason, d.Attempts)
		}
	})
}

// A mail in doubt stays with a service that knows it again while nobody else may take it, or
// all others are known to be ill.
func TestAMailInDoubtStaysWhereItIsKnown(t *testing.T) {
	for _, away := range []time.Duration{200 * time.Millisecond, time.Second, 3 * time.Second} {
		for _, isFinal := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				until := time.Now().Add(time.Minute)
				first := &fakeProvider{send: func(context.Context, *mail.Message) (providers.Receipt, error) {
					if time.Now().Before(until) {
						return providers.Receipt{}, &providers.Error{Kind: providers.Uncertain}
					}
					return providers.Receipt{ID: "1"}, nil
				}}
				backup := fails(providers.Error{Kind: providers.Configuration})
				if isFinal {
					backup = accepts("2")
				}
				r := newRelay(t, func(o *relay.Options) { o.Members[0].Service, o.FailUncertain = repeatable{first}, isFinal }, first, backup)
				deliver(t, r)
				time.Sleep(20 * time.Second) // the first may be tried again, the backup rests
				until = time.Now().Add(away)
				calls := backup.calls.Load()
				if d := deliver(t, r); d.Provider != "a" || backup.calls.Load() != calls {
					t.Errorf("away for %v, final %v: accepted by %q, %q", away, isFinal, d.Provider, d.Reason)
				}
			})
		}
	}
}

// A mail that comes again to a provider whose places are all taken by mails that it
// accepts all the time gets its answer at once, and is not tried until its time is up.
func TestABusyProviderIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		busy := firstly(fails(providers.Error{Kind: providers.Temporary, RetryAfter: 7 * time.Second, AboutAddress: true}),
			takes(400*time.Millisecond, nil))
		r := newRelay(t, nil, busy) // two places
		ended := make(chan *mail.Delivery, 1)
		go func() { ended <- deliver(t, r) }()
		time.Sleep(5 * time.Second)
		_, all := crowd(t, r, 300, 10*time.Millisecond)
		if d := <-ended; !d.Accepted() && (d.Reason != mail.ProviderUnavailable || len(d.Attempts) > 2) {
			t.Errorf("%v after %v, %d attempts", d.Reason, d.Duration, len(d.Attempts))
		}
		all.Wait()
	})
}

// A second has to be left of a mail's time after a pause.
func TestThePausesThatAMailsTimeAllows(t *testing.T) {
	away := &providers.Error{Kind: providers.Temporary, Momentary: true}
	for _, test := range []struct {
		time, took time.Duration // in milliseconds
		service    *fakeProvider
		accepted   bool
	}{
		{1300, 300, inTurn(away), true},
		{1299, 0, inTurn(away), false},
		{1800, 800, inTurn(away, away), true},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), test.time*time.Millisecond)
			defer cancel()
			d := newRelay(t, nil, test.service).Deliver(ctx, relay.Request{ID: mail.NewID(), To: "ada@example.org", Type: "SignIn"})
			if d.Accepted() != test.accepted || d.Duration != test.took*time.Millisecond {
				t.Errorf("of %d ms it took %v: %+v", test.time, d.Duration, d)
			}
		})
	}
}

// After a pause, too, providers share what time there is, and a lone one has all of it.
func TestTheTimeIsSharedAfterAPause(t *testing.T) {
	for _, lone := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			away := &providers.Error{Kind: providers.Temporary, Momentary: true}
			var all []time.Duration
			slow := func() *fakeProvider {
				first := true
				return &fakeProvider{send: func(ctx context.Context, _ *mail.Message) (providers.Receipt, error) {
					if first {
						first = false
						return providers.Receipt{}, away
					}
					deadline, _ := ctx.Deadline()
					all = append(all, time.Until(deadline))
					return providers.Receipt{ID: "1"}, nil
				}}
			}
			members := []*fakeProvider{slow(), slow()}
			if lone {
				members = members[:1]
			}
			if d := deliver(t, newRelay(t, nil, members...)); !d.Accepted() || all[0] > 7*time.Second != lone {
				t.Errorf("lone %v: it had %v; %+v", lone, all, d)
			}
		})
	}
}

// Half of the places are for mails that come for the first time.
func TestMailsThatWaitedLeavePlacesToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		r := newRelay(t, nil, &fakeProvider{send: func(context.Context, *mail.Message) (providers.Receipt, error) {
			switch n++; n {
			case 1:
				time.Sleep(3 * time.Second)
			case 2:
				return providers.Receipt{}, &providers.Error{Kind: providers.Temporary, Momentary: true}
			}
			return providers.Receipt{ID: "1"}, nil
		}})
		go deliver(t, r)
		synctest.Wait()
		if d := deliver(t, r); !d.Accepted() || d.Duration < 3*time.Second {
			t.Errorf("%+v", d)
		}
	})
}

// The last attempt that a mail's time allows waits for a place for longer than a first
// one does, and leaves time for an answer.
func TestTheLastAttemptWaitsForAPlace(t *testing.T) {
	for _, test := range []struct {
		held, took time.Duration // in milliseconds
		accepted   bool
	}{{7400, 7410, true}, {7600, 7500, false}} {
		synctest.Test(t, func(t *testing.T) {
			var calls atomic.Int32
			r := newRelay(t, nil, &fakeProvider{send: func(context.Context, *mail.Message) (providers.Receipt, error) {
				switch calls.Add(1) {
				case 1:
					return providers.Receipt{}, &providers.Error{Kind: providers.Temporary, Momentary: true}
				case 2, 3:
					time.Sleep(test.held * time.Millisecond)
				}
				return providers.Receipt{ID: "1"}, nil
			}})
			var others sync.WaitGroup
			for range 2 {
				others.Go(func() {
					time.Sleep(10 * time.Millisecond)
					deliver(t, r)
				})
			}
			if d := deliver(t, r); d.Accepted() != test.accepted || d.Duration != test.took*time.Millisecond {
				t.Errorf("%+v", d)
			}
			others.Wait()
		})
	}
}

// A burst at the only provider stands in line, and who comes to the end of that in time is
// sent. Nobody is sent so late that it would end in doubt.
func TestABurstStandsInLine(t *testing.T) {
	for _, test := range []struct {
		mails, accepted int
		longest         time.Duration
	}{{9, 9, 4 * time.Second}, {16, 16, 7 * time.Second}, {30, 16, 7 * time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			r := newRelay(t, nil, takes(800*time.Millisecond, nil)) // two at a time
			deliver(t, r)
			var sending sync.WaitGroup
			var accepted, doubtful atomic.Int32
			start := time.Now()
			for range test.mails {
				sending.Go(func() {
					d := deliver(t, r)
					switch {
					case d.Accepted():
						accepted.Add(1)
					case d.Reason != mail.ProviderUnavailable:
						doubtful.Add(1)
					}
					if len(d.Attempts) != 1 {
						t.Errorf("attempts are %v", d.Attempts)
					}
				})
			}
			sending.Wait()
			if took := time.Since(start); int(accepted.Load()) != test.accepted || doubtful.Load() > 0 || took > test.longest {
				t.Errorf("of %d mails %d were accepted within %v, %d are in doubt", test.mails, accepted.Load(), took, doubtful.Load())
			}
		})
	}
}

// burst sends mails at once, and returns how many were accepted.
func burst(t *testing.T, r *relay.Relay, mails int) int {
	var sending sync.WaitGroup
	var accepted atomic.Int32
	for range mails {
		sending.Go(func() {
			if deliver(t, r).Accepted() {
				accepted.Add(1)
			}
		})
	}
	sending.Wait()
	return int(accepted.Load())
}

// acceptedAfterTwo sends two mails, and another that comes when they have their places. It has
// to be accepted after the time that it says.
func acceptedAfterTwo(t *testing.T, r *relay.Relay, want time.Duration) {
	t.Helper()
	var others sync.WaitGroup
	for range 2 {
		others.Go(func() { deliver(t, r) })
	}
	synctest.Wait()
	if d := deliver(t, r); !d.Accepted() || d.Duration != want {
		t.Errorf("%+v", d)
	}
	others.Wait()
}

// slow takes a while for a mail. A send that is cut ends in doubt.
func slow(while time.Duration) *fakeProvider {
	return &fakeProvider{send: func(ctx context.Context, _ *mail.Message) (providers.Receipt, error) {
		select {
		case <-time.After(while):
			return providers.Receipt{ID: "1"}, nil
		case <-ctx.Done():
			return providers.Receipt{}, &providers.Error{Kind: providers.Uncertain}
		}
	}}
}

// stalls never answers, of which it may be asked again.
func stalls() *fakeProvider {
	return &fakeProvider{send: func(ctx context.Context, _ *mail.Message) (providers.Receipt, error) {
		<-ctx.Done()
		return providers.Receipt{}, &providers.Error{Kind: providers.Temporary, Momentary: true}
	}}
}

// A burst that has more than one provider uses the places of all that are well, and one that
// refuses takes nothing from it. Here too nothing ends in doubt.
func TestABurstStandsInLineAtAll(t *testing.T) {
	refuses := func(err providers.Error) *fakeProvider {
		return &fakeProvider{send: func(context.Context, *mail.Message) (providers.Receipt, error) {
			time.Sleep(100 * time.Millisecond)
			return providers.Receipt{}, &err
		}}
	}
	good := func() *fakeProvider { return slow(800 * time.Millisecond) }
	wrongKey := providers.Error{Kind: providers.Configuration, Stage: "auth"}
	noConnection := providers.Error{Kind: providers.Temporary, Stage: "connect", Momentary: true}
	for _, test := range []struct {
		name     string
		chain    []*fakeProvider
		accepted int // of 40; each place takes one in 800 ms
	}{
		{"with one whose key is wrong", []*fakeProvider{good(), refuses(wrongKey)}, 16},
		{"behind one whose key is wrong", []*fakeProvider{refuses(wrongKey), good()}, 16},
		{"with one that is away", []*fakeProvider{good(), refuses(noConnection)}, 16},
		{"behind one that is away", []*fakeProvider{refuses(noConnection), good()}, 16},
		{"with a backup that was never asked", []*fakeProvider{good(), good()}, 32},
		{"that takes 3.5 s, behind one that is away", []*fakeProvider{refuses(noConnection), slow(3500 * time.Millisecond)}, 4},
		{"that takes 3.5 s, behind one whose key is wrong", []*fakeProvider{refuses(wrongKey), slow(3500 * time.Millisecond)}, 4},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRelay(t, nil, test.chain...) // two at a time each
				for range 3 {
					deliver(t, r)
				}
				var sending sync.WaitGroup
				var accepted, doubtful atomic.Int32
				for range 40 {
					sending.Go(func() {
						switch d := deliver(t, r); {
						case d.Accepted():
							accepted.Add(1)
						case d.Reason != mail.ProviderUnavailable:
							doubtful.Add(1)
						}
					})
				}
				sending.Wait()
				if int(accepted.Load()) < test.accepted || doubtful.Load() > 0 {
					t.Errorf("%d of 40 were accepted, want %d; %d have another end than 503", accepted.Load(), test.accepted, doubtful.Load())
				}
			})
		})
	}
}

// Who has stood in line gets all of the time that is left, though another provider has asked
// for a moment: a send that is cut ends in doubt.
func TestAPlaceInLineIsForTheWholeTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRelay(t, nil, takes(0, &providers.Error{Kind: providers.RateLimited, RetryAfter: 5 * time.Second}), slow(3*time.Second)) // two at a time
		deliver(t, r)
		acceptedAfterTwo(t, r, 6*time.Second)
	})
}

// A place at a provider that hangs, where no other has a line, leaves half of the time to one
// that may be back.
func TestAPlaceWhereItHangsLeavesTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var back time.Time
		returns := &fakeProvider{send: func(context.Context, *mail.Message) (providers.Receipt, error) {
			if time.Now().Before(back) {
				return providers.Receipt{}, &providers.Error{Kind: providers.Temporary, Stage: "connect", Momentary: true}
			}
			return providers.Receipt{ID: "1"}, nil
		}}
		r := newRelay(t, nil, stalls(), returns) // two at a time each
		deliver(t, r)
		back = time.Now().Add(5 * time.Second)
		var others sync.WaitGroup
		for range 2 {
			others.Go(func() { deliver(t, r) })
		}
		synctest.Wait()
		if d := deliver(t, r); !d.Accepted() {
			t.Errorf("%+v", d)
		}
		others.Wait()
	})
}

// A provider that asked for a moment gets all of the time, too, though the mail stands in the
// line of another.
func TestWhoIsAskedAgainHasTheWholeTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mails atomic.Int32
		throttles := &fakeProvider{send: func(ctx context.Context, m *mail.Message) (providers.Receipt, error) {
			if mails.Add(1) == 2 {
				return providers.Receipt{}, &providers.Error{Kind: providers.RateLimited, RetryAfter: 2 * time.Second}
			}
			return slow(3*time.Second).send(ctx, m)
		}}
		members := make([]relay.Member, 2)
		for i, service := range []*fakeProvider{throttles, takes(7*time.Second, nil)} {
			members[i] = relay.Member{Provider: relay.NewProvider(relay.ProviderOptions{Name: string("ab"[i]), Service: service, MaxConcurrent: 2})}
		}
		first := newRelay(t, func(o *relay.Options) { o.Members = members })
		second := newRelay(t, func(o *relay.Options) { o.Members = members[1:] })
		deliver(t, first)
		deliver(t, second)
		var others sync.WaitGroup
		for range 2 {
			others.Go(func() { deliver(t, second) })
		}
		synctest.Wait()
		if d := deliver(t, first); !d.Accepted() || d.Provider != "a" {
			t.Errorf("%+v", d)
		}
		others.Wait()
	})
}

// A mail in doubt stays with a service that knows it again only while it stands in no line.
func TestADoubtLeavesTheLineItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		doubtful := takes(500*time.Millisecond, &providers.Error{Kind: providers.Uncertain})
		good := takes(2*time.Second, nil)
		r := newRelay(t, func(o *relay.Options) { o.Members[1].Service = repeatable{doubtful} }, good, doubtful) // two at a time each
		deliver(t, r)
		var others sync.WaitGroup
		for range 2 {
			others.Go(func() { deliver(t, r) })
		}
		synctest.Wait()
		if d := deliver(t, r); !d.Accepted() || d.Provider != "a" {
			t.Errorf("%+v", d)
		}
		others.Wait()
	})
}

// A place at a provider that hangs is none to stand in line for while another is well.
func TestABurstDoesNotStandAtOneThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRelay(t, nil, stalls(), takes(800*time.Millisecond, nil)) // two at a time each
		for range 3 {
			deliver(t, r)
		}
		time.Sleep(time.Minute)
		var sending sync.WaitGroup
		for range 16 {
			sending.Go(func() {
				if d := deliver(t, r); !d.Accepted() {
					t.Errorf("%+v", d)
				}
			})
		}
		sending.Wait()
	})
}

// A backup that hung when it was asked last, long ago, takes its part of a burst as soon as it
// has shown that it is well, also from those that stood in line before.
func TestABurstTurnsToABackupThatIsWellAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var outage atomic.Bool
		service := func() *fakeProvider {
			return &fakeProvider{send: func(ctx context.Context, _ *mail.Message) (providers.Receipt, error) {
				if !outage.Load() {
					time.Sleep(800 * time.Millisecond)
					return providers.Receipt{ID: "1"}, nil
				}
				select {
				case <-time.After(3 * time.Second):
				case <-ctx.Done():
				}
				return providers.Receipt{}, &providers.Error{Kind: providers.Temporary}
			}}
		}
		r := newRelay(t, nil, service(), service()) // two at a time each
		outage.Store(true)
		deliver(t, r)
		outage.Store(false)
		for range 2 {
			deliver(t, r) // the first one takes them, and nobody asks the second
			time.Sleep(time.Minute)
		}
		accepted := burst(t, r, 40)
		if accepted < 32 {
			t.Errorf("%d of 40 were accepted, want 32", accepted)
		}
	})
}

// A provider that is away for a moment does not lose those that stand in its line: nobody else
// may ask it again.
func TestABurstStaysInLineThroughABlip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var away atomic.Bool
		blips := &fakeProvider{send: func(context.Context, *mail.Message) (providers.Receipt, error) {
			time.Sleep(600 * time.Millisecond)
			if !away.Load() {
				return providers.Receipt{ID: "1"}, nil
			}
			for away.Load() {
				time.Sleep(10 * time.Millisecond)
			}
			return providers.Receipt{}, &providers.Error{Kind: providers.Temporary, Momentary: true}
		}}
		r := newRelay(t, nil, blips, slow(600*time.Millisecond)) // two at a time each
		for range 3 {
			deliver(t, r)
		}
		time.AfterFunc(500*time.Millisecond, func() { away.Store(true) })
		time.AfterFunc(2*time.Second, func() { away.Store(false) })
		accepted := burst(t, r, 30)
		if accepted != 30 {
			t.Errorf("%d of 30 were accepted", accepted)
		}
	})
}

// A provider that refuses some mails, and quickly, does not lose those that stand in its line
// to one that hangs.
func TestAQuickRefusalIsNoHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mails atomic.Int32
		quick := &fakeProvider{send: func(context.Context, *mail.Message) (providers.Receipt, error) {
			time.Sleep(300 * time.Millisecond)
			if mails.Add(1)%5 == 0 {
				return providers.Receipt{}, &providers.Error{Kind: providers.Temporary, Momentary: true}
			}
			return providers.Receipt{ID: "1"}, nil
		}}
		r := newRelay(t, nil, quick, takes(time.Minute, nil)) // two at a time each
		deliver(t, r)
		var sending sync.WaitGroup
		var accepted atomic.Int32
		for range 40 { // what the places of the first take in their time, and the second has two
			sending.Go(func() {
				if deliver(t, r).Accepted() {
					accepted.Add(1)
				}
			})
			time.Sleep(20 * time.Millisecond)
		}
		sending.Wait()
		if accepted.Load() < 35 {
			t.Errorf("%d of 40 were accepted", accepted.Load())
		}
	})
}

// An address that one service takes no mail for, and another may, stands in line at that one.
func TestAnUnusualAddressStandsInLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		strict := &fakeProvider{send: func(_ context.Context, m *mail.Message) (providers.Receipt, error) {
			return providers.Receipt{}, &providers.Error{Kind: providers.Recipient, Filtered: true, Code: "400"}
		}}
		r := newRelay(t, nil, strict, takes(time.Second, nil)) // two at a time
		deliver(t, r)
		acceptedAfterTwo(t, r, 2*time.Second)
	})
}

// A mail that finds no place waits on where the provider has ever taken one, or failed in
// the last ten seconds; else it may hang, and the mail has its answer at once.
func TestWhatAMailWithoutAPlaceWaitsFor(t *testing.T) {
	failure := &providers.Error{Kind: providers.Temporary}
	for _, test := range []struct {
		name  string
		first *providers.Error // what the first mail ended with
		since time.Duration    // then, when another looks for a place
		waits bool
	}{
		{"accepted lately", nil, 50 * time.Millisecond, true},
		{"accepted nothing for a while", nil, 500 * time.Millisecond, true},
		{"failed lately", failure, 9999 * time.Millisecond, true},
		{"failed long ago", failure, 10 * time.Second, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				first := true
				r := newRelay(t, nil, &fakeProvider{send: func(context.Context, *mail.Message) (providers.Receipt, error) {
					if first {
						first = false
						if test.first != nil {
							return providers.Receipt{}, test.first
						}
						return providers.Receipt{ID: "1"}, nil
					}
					time.Sleep(2 * time.Second)
					return providers.Receipt{ID: "1"}, nil
				}})
				deliver(t, r)
				const looksFor = 250 * time.Millisecond
				time.Sleep(test.since)
				var others sync.WaitGroup
				for range 2 {
					others.Go(func() { deliver(t, r) })
				}
				synctest.Wait()
				if d := deliver(t, r); d.Accepted() != test.waits || !test.waits && d.Duration != looksFor {
					t.Errorf("%+v", d)
				}
				others.Wait()
			})
		})
	}
}

// While new mails show that a provider is in trouble, some of those that wait come
// again, ten a second.
func TestMailsThatWaitedComeAgainDuringTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := make(map[string]bool)
		var mu sync.Mutex
		r := newRelay(t, nil, &fakeProvider{send: func(_ context.Context, m *mail.Message) (providers.Receipt, error) {
			mu.Lock()
			defer mu.Unlock()
			if !seen[m.ID] {
				seen[m.ID] = true
				return providers.Receipt{}, &providers.Error{Kind: providers.Temporary, Momentary: true}
			}
			return providers.Receipt{ID: "1"}, nil
		}})
		var soon atomic.Int32
		var all sync.WaitGroup
		for range 500 { // in five seconds
			all.Go(func() {
				if d := deliver(t, r); d.Accepted() && time.Since(d.Time) < 5*time.Second {
					soon.Add(1)
				}
			})
			time.Sleep(10 * time.Millisecond)
		}
		before := soon.Load()
		all.Wait()
		if before < 30 || before > 60 {
			t.Errorf("%d mails came again in five seconds", before)
		}
	})
}

// crowd sends mails one after the other, and counts those that were accepted.
func crowd(t *testing.T, r *relay.Relay, mails int, gap time.Duration) (accepted *atomic.Int32, all *sync.WaitGroup) {
	accepted, all = new(atomic.Int32), new(sync.WaitGroup)
	all.Go(func() {
		for range mails {
			all.Go(func() {
				if deliver(t, r).Accepted() {
					accepted.Add(1)
				}
			})
			time.Sleep(gap)
		}
	})
	return accepted, all
}

// The only provider restarts under load: no mail fails, those that wait hold no
// place, and the load on a provider in trouble is no multiple.
func TestARestartOfTheOnlyProvider(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		isAway := func() bool { s := time.Since(begun); return s > time.Second && s < 4*time.Second }
		var refused atomic.Int32
		restarts := &fakeProvider{send: func(context.Context, *mail.Message) (providers.Receipt, error) {
			if isAway() {
				refused.Add(1)
				return providers.Receipt{}, &providers.Error{Kind: providers.Temporary, Momentary: true}
			}
			time.Sleep(5 * time.Millisecond)
			return providers.Receipt{ID: "1"}, nil
		}}
		r := newRelay(t, nil, restarts) // two places
		const mails = 1600              // in eight seconds
		accepted, all := crowd(t, r, mails, 5*time.Millisecond)
		all.Wait()
		if accepted.Load() != mails {
			t.Errorf("%d of %d were accepted", accepted.Load(), mails)
		}
		if got := refused.Load(); got > 600+60 { // those that came meanwhile, and ten a second
			t.Errorf("%d attempts while it was away", got)
		}
	})
}

// A provider that is overloaded and says so gets each mail twice at most, and some.
func TestOverloadIsNotMultiplied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var turn atomic.Int32
		every := &fakeProvider{send: func(context.Context, *mail.Message) (providers.Receipt, error) {
			if turn.Add(1)%2 == 0 {
				return providers.Receipt{}, &providers.Error{Kind: providers.RateLimited, Momentary: true}
			}
			return providers.Receipt{ID: "1"}, nil
		}}
		const mails = 4000
		accepted, all := crowd(t, newRelay(t, nil, every), mails, 5*time.Millisecond)
		all.Wait()
		calls := every.calls.Load()
		t.Logf("%d mails, %d accepted, %d attempts", mails, accepted.Load(), calls)
		if calls > 2*mails+10*30 || accepted.Load() < mails/2 {
			t.Errorf("%d mails, %d accepted, %d attempts", mails, accepted.Load(), calls)
		}
	})
}

// Mails beyond the bound on those that wait fail at once.
func TestTheMailsThatWaitAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away := fails(providers.Error{Kind: providers.Temporary, Momentary: true})
		r := newRelay(t, func(o *relay.Options) {
			o.Members[0].Provider = relay.NewProvider(relay.ProviderOptions{Name: "a", Service: away, MaxConcurrent: 5000})
		}, away)
		for range 2 { // those that have waited make room
			var quick atomic.Int32
			var all sync.WaitGroup
			for range 2500 {
				all.Go(func() {
					if d := deliver(t, r); d.Duration < time.Second {
						quick.Add(1)
					}
				})
			}
			all.Wait()
			if quick.Load() != 500 {
				t.Errorf("%d failed at once", quick.Load())
			}
		}
	})
}
