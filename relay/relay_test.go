package relay_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"logto-email-relay/limits"
	"logto-email-relay/mail"
	"logto-email-relay/providers"
	"logto-email-relay/recipients"
	"logto-email-relay/relay"
	"logto-email-relay/settings"
	"logto-email-relay/templates"
)

// fakeProvider answers each send with its function.
type fakeProvider struct {
	send  func(ctx context.Context, m *mail.Message) (providers.Receipt, error)
	calls atomic.Int32
}

func (f *fakeProvider) Send(ctx context.Context, m *mail.Message) (providers.Receipt, error) {
	f.calls.Add(1)
	return f.send(ctx, m)
}

func accepts(id string) *fakeProvider {
	return &fakeProvider{send: func(context.Context, *mail.Message) (providers.Receipt, error) {
		return providers.Receipt{ID: id}, nil
	}}
}

func fails(e providers.Error) *fakeProvider {
	return &fakeProvider{send: func(context.Context, *mail.Message) (providers.Receipt, error) {
		return providers.Receipt{}, &e
	}}
}

// hangs until its context ends, then fails with the kind.
func hangs(kind providers.Kind) *fakeProvider {
	return &fakeProvider{send: func(ctx context.Context, _ *mail.Message) (providers.Receipt, error) {
		<-ctx.Done()
		return providers.Receipt{}, &providers.Error{Kind: kind, Err: ctx.Err()}
	}}
}

// fakeRenderer writes the same mail in the payload's locale.
type fakeRenderer struct{ err error }

func (fakeRenderer) Locale(_ string, payload map[string]any) string {
	if locale, ok := payload["locale"].(string); ok {
		return locale
	}
	return "en"
}

func (f fakeRenderer) Render(r templates.Request) (*templates.Mail, error) {
	link, _ := r.Payload["link"].(string)
	return &templates.Mail{Locale: r.Locale, Subject: r.Branding.SenderName + " mail", Link: link,
		Text: "text", HTML: mail.Body{mail.OwnPart("<p>html</p>")}}, f.err
}

func mailbox(t testing.TB, text string) settings.Mailbox {
	t.Helper()
	var m settings.Mailbox
	if err := m.UnmarshalText([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return m
}

func newRelay(t testing.TB, change func(*relay.Options), members ...*fakeProvider) *relay.Relay {
	t.Helper()
	o := relay.Options{Renderer: fakeRenderer{}, Sender: relay.Sender{From: mailbox(t, "Acme <no-reply@acme.example>")}}
	for i, p := range members {
		o.Members = append(o.Members, relay.Member{Provider: relay.NewProvider(relay.ProviderOptions{Name: string(rune('a' + i)), Service: p, MaxConcurrent: 2})})
	}
	if change != nil {
		change(&o)
	}
	r, err := relay.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func deliver(t testing.TB, r *relay.Relay) *mail.Delivery {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
	defer cancel()
	return r.Deliver(ctx, relay.Request{ID: mail.NewID(), To: "ada@example.org", Type: "SignIn", Payload: map[string]any{}})
}

func TestFailoverFollowsTheKindOfTheFailure(t *testing.T) {
	type outcome struct {
		reason   mail.Reason // empty: accepted
		provider string
		calls    []int32
	}
	e := func(kind providers.Kind) providers.Error { return providers.Error{Kind: kind} }
	tests := []struct {
		name    string
		change  func(*relay.Options)
		members []*fakeProvider
		want    outcome
	}{
		{"accepted at once", nil, []*fakeProvider{accepts("1"), accepts("2")}, outcome{"", "a", []int32{1, 0}}},
		{"configuration goes on", nil, []*fakeProvider{fails(e(providers.Configuration)), accepts("2")}, outcome{"", "b", []int32{1, 1}}},
		{"rate limit goes on", nil, []*fakeProvider{fails(e(providers.RateLimited)), accepts("2")}, outcome{"", "b", []int32{1, 1}}},
		{"temporary goes on", nil, []*fakeProvider{fails(e(providers.Temporary)), accepts("2")}, outcome{"", "b", []int32{1, 1}}},
		{"uncertain goes on", nil, []*fakeProvider{fails(e(providers.Uncertain)), accepts("2")}, outcome{"", "b", []int32{1, 1}}},
		{"uncertain goes on once only", nil,
			[]*fakeProvider{fails(e(providers.Uncertain)), fails(e(providers.Uncertain)), accepts("3")},
			outcome{mail.Uncertain, "", []int32{1, 1, 0}}},
		{"uncertain stops when told so", func(o *relay.Options) { o.FailUncertain = true },
			[]*fakeProvider{fails(e(providers.Uncertain)), accepts("2")}, outcome{mail.Uncertain, "", []int32{1, 0}}},
		{"recipient stops", nil, []*fakeProvider{fails(e(providers.Recipient)), accepts("2")}, outcome{mail.RecipientRefused, "", []int32{1, 0}}},
		{"suppressed stops", nil, []*fakeProvider{fails(providers.Error{Kind: providers.Recipient, Suppressed: true}), accepts("2")},
			outcome{mail.RecipientSuppressed, "", []int32{1, 0}}},
		{"message stops", nil, []*fakeProvider{fails(e(providers.Content)), accepts("2")}, outcome{mail.ProviderRefused, "", []int32{1, 0}}},
		{"what one filter refuses goes on", nil, []*fakeProvider{fails(providers.Error{Kind: providers.Content, Filtered: true}), accepts("2")},
			outcome{"", "b", []int32{1, 1}}},
		{"an address that one service does not take goes on", nil, []*fakeProvider{fails(providers.Error{Kind: providers.Recipient, Filtered: true}), accepts("2")},
			outcome{"", "b", []int32{1, 1}}},
		{"an address that one service does not take, while the other is away", nil,
			[]*fakeProvider{fails(providers.Error{Kind: providers.Recipient, Filtered: true}), fails(e(providers.Temporary))},
			outcome{mail.ProviderUnavailable, "", []int32{1, 1}}},
		{"an address that one service answers about, while the other is away", nil,
			[]*fakeProvider{fails(providers.Error{Kind: providers.Recipient, Filtered: true, Code: "450 4.1.2"}), fails(providers.Error{Kind: providers.Temporary, Momentary: true})},
			outcome{mail.RecipientRefused, "", []int32{1, 1}}},
		{"an address that nobody takes", nil,
			[]*fakeProvider{fails(providers.Error{Kind: providers.Recipient, Filtered: true}), fails(providers.Error{Kind: providers.Recipient, Filtered: true})},
			outcome{mail.RecipientRefused, "", []int32{1, 1}}},
		{"what the reader can mend is told before what a filter refused", nil,
			[]*fakeProvider{fails(providers.Error{Kind: providers.Content, Filtered: true}), fails(e(providers.Recipient))},
			outcome{mail.RecipientRefused, "", []int32{1, 1}}},
		{"what will pass is told before what a filter refused", nil,
			[]*fakeProvider{fails(providers.Error{Kind: providers.Content, Filtered: true}), fails(e(providers.Temporary))},
			outcome{mail.ProviderUnavailable, "", []int32{1, 1}}},
		{"what all filters refuse", nil,
			[]*fakeProvider{fails(providers.Error{Kind: providers.Content, Filtered: true}), fails(providers.Error{Kind: providers.Content, Filtered: true})},
			outcome{mail.ProviderRefused, "", []int32{1, 1}}},
		{"a moment of the address is told before what an operator must mend", nil,
			[]*fakeProvider{fails(e(providers.Configuration)), fails(providers.Error{Kind: providers.Temporary, AboutAddress: true})},
			outcome{mail.ProviderUnavailable, "", []int32{1, 1}}},
		{"all misconfigured", nil, []*fakeProvider{fails(e(providers.Configuration)), fails(e(providers.Configuration))},
			outcome{mail.ProviderRefused, "", []int32{1, 1}}},
		{"what will pass is told before what an operator must mend", nil,
			[]*fakeProvider{fails(e(providers.Configuration)), fails(e(providers.Temporary))},
			outcome{mail.ProviderUnavailable, "", []int32{1, 1}}},
		{"a mail that may be on its way is told before all else", nil,
			[]*fakeProvider{fails(e(providers.Uncertain)), fails(e(providers.Recipient))},
			outcome{mail.Uncertain, "", []int32{1, 1}}},
		{"a foreign error promises nothing", nil, []*fakeProvider{{send: func(context.Context, *mail.Message) (providers.Receipt, error) {
			return providers.Receipt{}, errors.New("odd")
		}}}, outcome{mail.Uncertain, "", []int32{1}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d := deliver(t, newRelay(t, test.change, test.members...))
			got := outcome{provider: d.Provider, reason: d.Reason}
			if d.Accepted() != (d.Reason == "") || d.Accepted() != (d.Provider != "") {
				t.Errorf("the delivery contradicts itself: %+v", d)
			}
			for _, m := range test.members {
				got.calls = append(got.calls, m.calls.Load())
			}
			if got.reason != test.want.reason || got.provider != test.want.provider || !slices.Equal(got.calls, test.want.calls) {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

// repeatable is a provider whose service recognises a mail that it had before.
type repeatable struct{ *fakeProvider }

func (repeatable) Repeatable() {}

func TestAnUncertainMailIsRepeatedWhereThatIsSafe(t *testing.T) {
	const uncertain, temporary, recipient, content = providers.Uncertain, providers.Temporary, providers.Recipient, providers.Content
	for _, test := range []struct {
		name     string
		change   func(*relay.Options)
		failures []providers.Kind // of the first provider, one a send; then it accepts
		reason   mail.Reason
		provider string
		first    int32 // sends to the first provider
		second   int32 // sends to the next one, which accepts
	}{
		{"accepted the second time", nil, []providers.Kind{uncertain}, "", "a", 2, 0},
		{"twice in doubt", nil, []providers.Kind{uncertain, uncertain}, "", "b", 2, 1},
		{"in trouble the second time", nil, []providers.Kind{uncertain, temporary}, "", "b", 2, 1},
		{"refused the second time", nil, []providers.Kind{uncertain, recipient}, mail.Uncertain, "", 2, 0},
		{"its content refused the second time", nil, []providers.Kind{uncertain, content}, mail.Uncertain, "", 2, 0},
		{"nothing but doubt is repeated", nil, []providers.Kind{temporary}, "", "b", 1, 1},
		{"also where doubt is final", func(o *relay.Options) { o.FailUncertain = true }, []providers.Kind{uncertain}, "", "a", 2, 0},
		{"again and again, where doubt is final", func(o *relay.Options) { o.FailUncertain = true },
			[]providers.Kind{uncertain, uncertain}, "", "a", 3, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			var ids []string
			first := &fakeProvider{}
			first.send = func(_ context.Context, m *mail.Message) (providers.Receipt, error) {
				ids = append(ids, m.ID)
				if n := len(ids); n <= len(test.failures) {
					return providers.Receipt{}, &providers.Error{Kind: test.failures[n-1]}
				}
				return providers.Receipt{ID: "1"}, nil
			}
			second := accepts("2")
			r := newRelay(t, func(o *relay.Options) {
				o.Members[0].Service = repeatable{first}
				if test.change != nil {
					test.change(o)
				}
			}, first, second)
			d := deliver(t, r)
			if d.Reason != test.reason {
				t.Errorf("reason %q, want %q", d.Reason, test.reason)
			}
			if d.Provider != test.provider || first.calls.Load() != test.first || second.calls.Load() != test.second {
				t.Errorf("provider %q after %d and %d sends", d.Provider, first.calls.Load(), second.calls.Load())
			}
			if len(slices.Compact(ids)) != 1 {
				t.Errorf("the sends had the ids %q", ids)
			}
		})
	}
}

// A service that is still at work on the first mail is asked again while the time allows,
// of which the next provider keeps its half.
func TestAMailUnderWayIsAskedForAgain(t *testing.T) {
	for _, test := range []struct {
		busy     int32 // answers of the first provider that the mail is under way
		backup   bool
		provider string
		first    int32
		took     time.Duration
		says     time.Duration // how long it will be
	}{
		{2, true, "a", 4, 900 * time.Millisecond, 300 * time.Millisecond},
		{2, false, "a", 4, 900 * time.Millisecond, 300 * time.Millisecond},
		{9, true, "b", 5, 2100 * time.Millisecond, 300 * time.Millisecond},
		{9, false, "", 7, 6100 * time.Millisecond, 300 * time.Millisecond},
		{2, true, "b", 2, 0, 0},
		{2, false, "a", 4, 900 * time.Millisecond, 0},
		{9, false, "", 7, 6100 * time.Millisecond, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			first := &fakeProvider{}
			first.send = func(context.Context, *mail.Message) (providers.Receipt, error) {
				switch n := first.calls.Load(); {
				case n == 1:
					return providers.Receipt{}, &providers.Error{Kind: providers.Uncertain}
				case n <= 1+test.busy:
					return providers.Receipt{}, &providers.Error{Kind: providers.Uncertain, RetryAfter: test.says, AboutAddress: true}
				}
				return providers.Receipt{ID: "1"}, nil
			}
			members := []*fakeProvider{first}
			if test.backup {
				members = append(members, accepts("2"))
			}
			d := deliver(t, newRelay(t, func(o *relay.Options) { o.Members[0].Service = repeatable{first} }, members...))
			if d.Provider != test.provider || first.calls.Load() != test.first || d.Duration != test.took || !d.Accepted() && d.Reason != mail.Uncertain {
				t.Errorf("%+v: %q, %q after %d sends and %v", test, d.Provider, d.Reason, first.calls.Load(), d.Duration)
			}
		})
	}
}

// What a filter says of the repeated mail does not end the doubt about the first.
func TestAFilterDoesNotEndADoubt(t *testing.T) {
	for _, final := range []bool{false, true} {
		first := &fakeProvider{}
		first.send = func(context.Context, *mail.Message) (providers.Receipt, error) {
			if first.calls.Load() == 1 {
				return providers.Receipt{}, &providers.Error{Kind: providers.Uncertain}
			}
			return providers.Receipt{}, &providers.Error{Kind: providers.Content, Filtered: true}
		}
		second := accepts("2")
		d := deliver(t, newRelay(t, func(o *relay.Options) {
			o.Members[0].Service, o.FailUncertain = repeatable{first}, final
		}, first, second))
		if d.Accepted() == final || final && d.Reason != mail.Uncertain || first.calls.Load() != 2 || second.calls.Load() == 0 != final {
			t.Errorf("final %v: %q after %d and %d sends", final, d.Reason, first.calls.Load(), second.calls.Load())
		}
	}
}

func TestAMailIsNotRepeatedWithoutTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hung := hangs(providers.Uncertain)
		r := newRelay(t, func(o *relay.Options) { o.Members[0].Service = repeatable{hung} }, hung)
		if d := deliver(t, r); d.Accepted() || hung.calls.Load() != 1 {
			t.Errorf("%+v after %d sends", d, hung.calls.Load())
		}
	})
}

func TestAHungProviderLeavesTheNextItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var left time.Duration
		second := &fakeProvider{send: func(ctx context.Context, _ *mail.Message) (providers.Receipt, error) {
			deadline, _ := ctx.Deadline()
			left = time.Until(deadline)
			return providers.Receipt{ID: "2"}, nil
		}}
		if d := deliver(t, newRelay(t, nil, hangs(providers.Temporary), second)); d.Provider != "b" {
			t.Fatalf("got %+v; want the second provider's receipt", d)
		}
		if waited := time.Since(start); waited != 4*time.Second || left != 4*time.Second {
			t.Errorf("waited %v and left the second %v; want 4s each", waited, left)
		}
	})
}

// takes a while, whatever its context says, and ends with this.
func takes(while time.Duration, end *providers.Error) *fakeProvider {
	return &fakeProvider{send: func(context.Context, *mail.Message) (providers.Receipt, error) {
		if time.Sleep(while); end != nil {
			return providers.Receipt{}, end
		}
		return providers.Receipt{ID: "1"}, nil
	}}
}

// Those that rest share what time there is, and the last of them has the rest of it.
func TestTheTimeIsSharedByThoseThatRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		last := &fakeProvider{send: func(ctx context.Context, _ *mail.Message) (providers.Receipt, error) {
			select {
			case <-time.After(3 * time.Second):
				return providers.Receipt{ID: "2"}, nil
			case <-ctx.Done():
				return providers.Receipt{}, ctx.Err()
			}
		}}
		r := newRelay(t, func(o *relay.Options) {
			for _, m := range o.Members {
				m.Suspend(&providers.Error{Kind: providers.Temporary})
			}
		}, hangs(providers.Temporary), last)
		if d := deliver(t, r); d.Provider != "b" || d.Duration != 7*time.Second {
			t.Errorf("%+v", d)
		}
	})
}

// One that hangs leaves a second to those that rest, unless it has no more than that itself,
// and so does one whose service knows a repeated mail.
func TestTheLastSecondIsForThoseThatRest(t *testing.T) {
	for name, service := range map[string]providers.Provider{
		"away": hangs(providers.Temporary), "in doubt": hangs(providers.Uncertain), "in doubt, and repeatable": repeatable{hangs(providers.Uncertain)},
	} {
		for timeout, tries := range map[time.Duration]time.Duration{
			8 * time.Second: 7 * time.Second, 2001 * time.Millisecond: 1001 * time.Millisecond, 2 * time.Second: 2 * time.Second,
		} {
			synctest.Test(t, func(t *testing.T) {
				r := newRelay(t, func(o *relay.Options) {
					o.Members[0].Suspend(&providers.Error{Kind: providers.Temporary})
					o.Members[1].Service = service
				}, accepts("1"), accepts("2"))
				ctx, cancel := context.WithTimeout(t.Context(), timeout)
				defer cancel()
				d := r.Deliver(ctx, relay.Request{ID: mail.NewID(), To: "ada@example.org", Type: "SignIn", Payload: map[string]any{}})
				if first := d.Attempts[0]; first.Provider != "b" || first.Duration != tries || d.Accepted() != (tries < timeout) {
					t.Errorf("%s, %v: %q, %+v", name, timeout, d.Reason, d.Attempts)
				}
			})
		}
	}
}

// Where nobody else is, a mail in doubt is sent again in its last second, too.
func TestADoubtInTheLastSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := firstly(takes(7500*time.Millisecond, &providers.Error{Kind: providers.Uncertain}), accepts("1"))
		r := newRelay(t, func(o *relay.Options) { o.Members[0].Service = repeatable{slow} }, slow)
		if d := deliver(t, r); !d.Accepted() || len(d.Attempts) != 2 {
			t.Errorf("%q, %+v", d.Reason, d.Attempts)
		}
	})
}

// An attempt needs 300 ms, and a mail that had as much was not out of time.
func TestTheTimeThatAnAttemptNeeds(t *testing.T) {
	for left, want := range map[time.Duration]mail.Reason{300 * time.Millisecond: mail.ProviderUnavailable, 299 * time.Millisecond: mail.Timeout} {
		synctest.Test(t, func(t *testing.T) {
			temporary := &providers.Error{Kind: providers.Temporary}
			second := takes(0, temporary)
			d := deliver(t, newRelay(t, nil, takes(8*time.Second-left, temporary), second))
			if d.Reason != want || second.calls.Load() == 1 != (want == mail.ProviderUnavailable) {
				t.Errorf("%v left: %s, %d attempts at the second", left, d.Reason, second.calls.Load())
			}
		})
	}
}

// A mail waits for a place for a quarter of its time, and for 250 ms at most.
func TestHowLongAMailWaitsForAPlace(t *testing.T) {
	for all, want := range map[time.Duration]time.Duration{8 * time.Second: 250 * time.Millisecond, 400 * time.Millisecond: 100 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			r := newRelay(t, nil, takes(5*time.Second, nil))
			go deliver(t, r)
			go deliver(t, r)
			synctest.Wait()
			ctx, cancel := context.WithTimeout(t.Context(), all)
			defer cancel()
			d := r.Deliver(ctx, relay.Request{ID: mail.NewID(), To: "ada@example.org", Type: "SignIn"})
			if d.Accepted() || d.Attempts[0].Duration != want {
				t.Errorf("of %v it waited %v", all, d.Attempts[0].Duration)
			}
			time.Sleep(5 * time.Second)
		})
	}
}

// Logto's side is told the shortest wait that a provider asks for.
func TestTheShortestWaitIsTold(t *testing.T) {
	for _, test := range []struct {
		waits []time.Duration // that providers ask for, in seconds
		want  time.Duration
	}{
		{[]time.Duration{0}, 10}, {[]time.Duration{0, 0}, 10}, {[]time.Duration{30}, 30}, {[]time.Duration{30, 20}, 20},
		{[]time.Duration{20, 30}, 20}, {[]time.Duration{0, 30}, 30}, {[]time.Duration{30, 0}, 30}, {[]time.Duration{40, 0, 20, 30}, 20},
	} {
		var members []*fakeProvider
		for _, wait := range test.waits {
			members = append(members, fails(providers.Error{Kind: providers.RateLimited, RetryAfter: wait * time.Second}))
		}
		if d := deliver(t, newRelay(t, nil, members...)); d.RetryAfter != test.want*time.Second {
			t.Errorf("of %v seconds the caller is told %v", test.waits, d.RetryAfter)
		}
	}
}

func TestNothingOutlastsTheDeadline(t *testing.T) {
	for _, kind := range []providers.Kind{providers.Temporary, providers.Uncertain} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			d := deliver(t, newRelay(t, nil, hangs(kind), hangs(kind), hangs(kind), hangs(kind), hangs(kind), hangs(kind)))
			if took := time.Since(start); took > 8*time.Second {
				t.Errorf("%v: took %v", kind, took)
			}
			want := map[providers.Kind]mail.Reason{providers.Temporary: mail.Timeout, providers.Uncertain: mail.Uncertain}[kind]
			if d.Reason != want {
				t.Errorf("%v: got %+v, want %s", kind, d, want)
			}
		})
	}
}

func TestAProvidersOwnTimeoutBoundsItsAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		r := newRelay(t, func(o *relay.Options) { o.Members[0].Timeout = time.Second }, hangs(providers.Temporary), accepts("2"))
		if d := deliver(t, r); !d.Accepted() || time.Since(start) != time.Second || d.Duration != time.Second {
			t.Errorf("took %v: %+v; want 1s and an accepted mail", time.Since(start), d)
		}
	})
}

// A provider in trouble is skipped, and tried again after its rest.
func TestAFailingProviderRestsAndComesBack(t *testing.T) {
	tests := []struct {
		name      string
		err       providers.Error
		failures  int // mails that still try it
		rest      time.Duration
		quietFrom time.Duration // just before the rest is over
	}{
		{"three temporary failures", providers.Error{Kind: providers.Temporary}, 3, 10 * time.Second, 9 * time.Second},
		{"a wrong key", providers.Error{Kind: providers.Configuration}, 1, 2 * time.Minute, 119 * time.Second},
		{"three refusals that nobody can place", providers.Error{Kind: providers.Configuration, Unplaced: true}, 3, 10 * time.Second, 9 * time.Second},
		{"a spent quota", providers.Error{Kind: providers.RateLimited, Quota: true}, 1, 2 * time.Minute, 119 * time.Second},
		{"throttled for a while", providers.Error{Kind: providers.RateLimited, RetryAfter: 7 * time.Second}, 1, 7 * time.Second, 6 * time.Second},
		{"throttled without a word", providers.Error{Kind: providers.RateLimited}, 1, 5 * time.Second, 4 * time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var broken atomic.Bool
				broken.Store(true)
				first := &fakeProvider{send: func(context.Context, *mail.Message) (providers.Receipt, error) {
					if broken.Load() {
						e := test.err
						return providers.Receipt{}, &e
					}
					return providers.Receipt{ID: "1"}, nil
				}}
				var told []bool
				r := newRelay(t, func(o *relay.Options) {
					o.Changed = func(s relay.Status) { told = append(told, s.Resting) }
				}, first, accepts("2"))
				send := func() string {
					d := deliver(t, r)
					if !d.Accepted() {
						t.Fatal(d)
					}
					return d.Provider
				}
				for range test.failures + 5 {
					if got := send(); got != "b" {
						t.Fatalf("accepted by %s, want b", got)
					}
				}
				if calls := first.calls.Load(); calls != int32(test.failures) {
					t.Fatalf("the failing provider was tried %d times, want %d", calls, test.failures)
				}
				if s := r.Status()[0]; !s.Resting || s.Cause == nil {
					t.Errorf("status %+v does not show the rest", s)
				}
				broken.Store(false)
				time.Sleep(test.quietFrom)
				if got := send(); got != "b" {
					t.Errorf("tried %v into a rest of %v", test.quietFrom, test.rest)
				}
				time.Sleep(test.rest - test.quietFrom)
				if got := send(); got != "a" {
					t.Error("not tried after its rest")
				}
				if s := r.Status()[0]; s.Resting {
					t.Errorf("still resting after an accepted mail: %+v", s)
				}
				if !slices.Equal(told, []bool{true, false}) {
					t.Errorf("told of the changes %v, want of the rest and of its end", told)
				}
			})
		})
	}
}

// A backup that had trouble once is seldom asked again. When the first provider hangs, it
// gets its time all the same.
func TestOldTroubleOfABackup(t *testing.T) {
	for name, trouble := range map[string]providers.Error{
		"was away": {Kind: providers.Temporary}, "throttled": {Kind: providers.RateLimited}, "a wrong key": {Kind: providers.Configuration},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hangs, isAway := false, true
				first := &fakeProvider{send: func(ctx context.Context, _ *mail.Message) (providers.Receipt, error) {
					if hangs {
						<-ctx.Done()
					}
					if hangs || isAway {
						return providers.Receipt{}, &providers.Error{Kind: providers.Temporary}
					}
					return providers.Receipt{ID: "1"}, nil
				}}
				backup := &fakeProvider{send: func(context.Context, *mail.Message) (providers.Receipt, error) {
					if isAway {
						e := trouble
						return providers.Receipt{}, &e
					}
					return providers.Receipt{ID: "2"}, nil
				}}
				r := newRelay(t, nil, first, backup)
				for range 3 {
					if d := deliver(t, r); d.Accepted() {
						t.Fatal(d)
					}
				}
				isAway = false
				for range 3 {
					time.Sleep(time.Minute)
					if d := deliver(t, r); d.Provider != "a" {
						t.Fatal(d)
					}
				}
				if hangs = true; deliver(t, r).Provider != "b" {
					t.Error("the backup is not asked")
				}
			})
		})
	}
}

// What a service was not asked is no sign that it is well, and what it answered is.
func TestAnAddressThatWasNotTriedEndsNoRest(t *testing.T) {
	hasKey, code := false, ""
	p := &fakeProvider{}
	p.send = func(context.Context, *mail.Message) (providers.Receipt, error) {
		if !hasKey {
			return providers.Receipt{}, &providers.Error{Kind: providers.Configuration}
		}
		return providers.Receipt{}, &providers.Error{Kind: providers.Recipient, Filtered: true, Code: code}
	}
	r := newRelay(t, nil, p)
	deliver(t, r)
	hasKey = true
	if d := deliver(t, r); d.Reason != mail.RecipientRefused || !r.Status()[0].Resting {
		t.Errorf("%v, %+v", d.Reason, r.Status()[0])
	}
	code = "450 4.1.2"
	if d := deliver(t, r); d.Reason != mail.RecipientRefused || r.Status()[0].Resting {
		t.Errorf("%v, %+v", d.Reason, r.Status()[0])
	}
}

func TestAfterARestOneMailProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var slow atomic.Bool
		first := &fakeProvider{send: func(ctx context.Context, _ *mail.Message) (providers.Receipt, error) {
			if slow.Load() {
				time.Sleep(time.Second)
			}
			return providers.Receipt{}, &providers.Error{Kind: providers.Configuration}
		}}
		r := newRelay(t, nil, first, accepts("2"))
		if d := deliver(t, r); !d.Accepted() {
			t.Fatal(d)
		}
		time.Sleep(2 * time.Minute)
		slow.Store(true)
		for range 10 {
			go deliver(t, r)
		}
		time.Sleep(2 * time.Second)
		if calls := first.calls.Load(); calls != 2 {
			t.Errorf("%d mails tried a provider that just came out of its rest, want 1", calls-1)
		}
	})
}

// The last resort: a resting provider is still better than none.
func TestARestingProviderIsTriedWhenNobodyElseAccepts(t *testing.T) {
	first := fails(providers.Error{Kind: providers.Configuration})
	r := newRelay(t, nil, first, fails(providers.Error{Kind: providers.Temporary}))
	for range 3 {
		if d := deliver(t, r); d.Accepted() || d.Reason == "" {
			t.Fatal("accepted by nobody, and no reason")
		}
	}
	if calls := first.calls.Load(); calls != 3 {
		t.Errorf("tried %d times, want 3", calls)
	}
}

func TestPastItsBoundAProviderIsNotQueuedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRelay(t, nil, hangs(providers.Temporary))
		for range 2 {
			go deliver(t, r)
		}
		synctest.Wait()
		start := time.Now()
		if d := deliver(t, r); d.Reason != mail.ProviderUnavailable || d.RetryAfter <= 0 {
			t.Errorf("got %+v, want provider_unavailable with a wait", d)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("refused after %v, want at once", took)
		}
		if s := r.Status()[0]; s.InFlight != 2 || s.Resting {
			t.Errorf("status %+v, want 2 in flight and no rest", s)
		}
		time.Sleep(10 * time.Second)
	})
}

// inOrder is a route's providers, one after the other.
func inOrder(names ...string) (groups []relay.Group) {
	for _, name := range names {
		groups = append(groups, relay.Group{{Name: name, Weight: 1}})
	}
	return groups
}

func TestRoutes(t *testing.T) {
	routes := []relay.Route{
		{Domains: []string{"qq.com", "*.edu.cn"}, Providers: inOrder("b")},
		{Types: []string{"OrganizationInvitation"}, Organizations: []string{"org1"}, Providers: inOrder("c", "a")},
		{Applications: []string{"app1"}, Providers: inOrder("c")},
		{Locales: []string{"pt"}, Providers: inOrder("b", "c")},
		{Locales: []string{"zh-Hant"}, Providers: inOrder("c", "b")},
		{Locales: []string{"fr-CA"}, Providers: inOrder("c")},
	}
	r := newRelay(t, func(o *relay.Options) { o.Routes = routes }, accepts("1"), accepts("2"), accepts("3"))
	with := func(payload map[string]any, to, kind string) relay.Request {
		return relay.Request{To: to, Type: kind, Payload: payload}
	}
	object := func(id string) map[string]any { return map[string]any{"id": id} }
	tests := []struct {
		name  string
		give  relay.Request
		route int
		names string
	}{
		{"no match", with(nil, "a@example.com", "SignIn"), -1, "a b c"},
		{"domain", with(nil, "a@qq.com", "SignIn"), 0, "b"},
		{"domain below", with(nil, "a@mail.edu.cn", "SignIn"), 0, "b"},
		{"not the domain itself", with(nil, "a@edu.cn", "SignIn"), -1, "a b c"},
		{"not a longer name", with(nil, "a@notqq.com", "SignIn"), -1, "a b c"},
		{"type and organization", with(map[string]any{"organization": object("org1")}, "a@b.c", "OrganizationInvitation"), 1, "c a"},
		{"type alone is not enough", with(map[string]any{"organization": "org1"}, "a@b.c", "OrganizationInvitation"), -1, "a b c"},
		{"application", with(map[string]any{"application": object("app1")}, "a@b.c", "SignIn"), 2, "c"},
		{"region of a language", with(map[string]any{"locale": "fr-CA"}, "a@b.c", "SignIn"), 5, "c"},
		{"other region", with(map[string]any{"locale": "fr-FR"}, "a@b.c", "SignIn"), -1, "a b c"},
		{"no region", with(map[string]any{"locale": "fr"}, "a@b.c", "SignIn"), -1, "a b c"},
		{"language of another region", with(map[string]any{"locale": "pt-PT"}, "a@b.c", "SignIn"), 3, "b c"},
		{"language", with(map[string]any{"locale": "pt-BR"}, "a@b.c", "SignIn"), 3, "b c"},
		{"script of a region", with(map[string]any{"locale": "zh-TW"}, "a@b.c", "SignIn"), 4, "c b"},
		{"other script", with(map[string]any{"locale": "zh-CN"}, "a@b.c", "SignIn"), -1, "a b c"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			route, names := r.RouteFor(test.give)
			var flat []string
			for _, share := range slices.Concat(names...) {
				flat = append(flat, share.Name)
			}
			if got := strings.Join(flat, " "); route != test.route || got != test.names {
				t.Errorf("got route %d to %q, want %d to %q", route, got, test.route, test.names)
			}
		})
	}
}

// A group shares the mails as its weights say, whoever of it fails leaves them to the
// others of the group, and only then to the next group.
func TestAGroupSharesTheMails(t *testing.T) {
	const mails = 6000
	a, b, c, d := accepts("a"), accepts("b"), accepts("c"), accepts("d")
	r := newRelay(t, func(o *relay.Options) {
		o.Routes = []relay.Route{{Providers: []relay.Group{{{Name: "d", Weight: 1}, {Name: "b", Weight: 3}, {Name: "c", Weight: 2}}, {{Name: "a", Weight: 1}}}}}
	}, a, b, c, d)
	shares := func() (got [4]int32) {
		for i, p := range []*fakeProvider{a, b, c, d} {
			got[i] = p.calls.Swap(0)
		}
		return got
	}
	send := func(want [4]int32) {
		t.Helper()
		for range mails {
			if d := deliver(t, r); !d.Accepted() {
				t.Fatalf("not accepted: %+v", d.Attempts)
			}
		}
		got := shares()
		for i := range got {
			// Five standard deviations are 194 of 6,000 at most.
			if off := got[i] - want[i]; off < -200 || off > 200 || want[i] == 0 && got[i] > 0 {
				t.Errorf("got %v mails, want about %v", got, want)
			}
		}
	}
	send([4]int32{0, mails * 3 / 6, mails * 2 / 6, mails / 6})

	// One is away: the others take its mails, as their weights say.
	b.send = fails(providers.Error{Kind: providers.Configuration}).send
	deliverUntil(t, r, "b")
	shares()
	send([4]int32{0, 0, mails * 2 / 3, mails / 3})

	// All are away: the next group has them.
	c.send, d.send = b.send, b.send
	deliverUntil(t, r, "c", "d")
	shares()
	send([4]int32{mails, 0, 0, 0})
}

// deliverUntil sends mails until each of some providers rests.
func deliverUntil(t *testing.T, r *relay.Relay, names ...string) {
	t.Helper()
	resting := func(s relay.Status) bool { return s.Resting || !slices.Contains(names, s.Name) }
	for range 1000 {
		if states := r.Status(); !slices.ContainsFunc(states, func(s relay.Status) bool { return !resting(s) }) {
			return
		}
		deliver(t, r)
	}
	t.Fatal("they do not rest")
}

// A mail that its provider did not take goes to the others of the group first, in
// whatever order.
func TestFailoverStaysInTheGroupFirst(t *testing.T) {
	refuses := func() *fakeProvider { return fails(providers.Error{Kind: providers.Temporary}) }
	first := make(map[string]int)
	for range 200 {
		r := newRelay(t, func(o *relay.Options) {
			o.Routes = []relay.Route{{Providers: []relay.Group{{{Name: "a", Weight: 1}, {Name: "b", Weight: 1}}, {{Name: "c", Weight: 1}, {Name: "d", Weight: 9}}}}}
		}, refuses(), refuses(), refuses(), refuses())
		var tried []string
		for _, attempt := range deliver(t, r).Attempts {
			tried = append(tried, attempt.Provider)
		}
		order := strings.Join(tried, "")
		if len(order) != 4 || strings.Trim(order[:2], "ab") != "" || strings.Trim(order[2:], "cd") != "" {
			t.Fatalf("tried in the order %v", tried)
		}
		first[tried[0]]++
		first[tried[2]]++
	}
	if first["a"] < 50 || first["b"] < 50 || first["c"] > 50 || first["c"] == 0 {
		t.Errorf("first of their groups: %v", first)
	}
}

func TestAProviderThatARouteNamesTwiceIsAskedOnce(t *testing.T) {
	for _, groups := range [][]relay.Group{
		inOrder("a", "b", "a", "b"),
		{{{Name: "a", Weight: 1}, {Name: "b", Weight: 3}}, {{Name: "b", Weight: 1}}, {{Name: "a", Weight: 1}}},
	} {
		refuses := fails(providers.Error{Kind: providers.Configuration})
		r := newRelay(t, func(o *relay.Options) { o.Routes = []relay.Route{{Providers: groups}} }, refuses, refuses, accepts("1"))
		if got := deliver(t, r); len(got.Attempts) != 2 || got.Attempts[0].Provider == got.Attempts[1].Provider {
			t.Errorf("%v: %+v", groups, got.Attempts)
		}
		if _, order := r.RouteFor(relay.Request{Type: "SignIn", To: "ada@example.com"}); slices.ContainsFunc(order, func(g relay.Group) bool { return len(g) == 0 }) {
			t.Errorf("%v: %v", groups, order)
		}
	}
}

func TestARouteNamesOnlyProvidersThatExist(t *testing.T) {
	_, err := relay.New(relay.Options{Routes: []relay.Route{{Providers: inOrder("none")}}})
	if err == nil || !strings.Contains(err.Error(), `"none"`) {
		t.Errorf("got %v, want an error that names the provider", err)
	}
}

func TestTheSenderIsTheRoutesElseTheProvidersElseTheGeneralOne(t *testing.T) {
	var got mail.Message
	remember := func() *fakeProvider {
		return &fakeProvider{send: func(_ context.Context, m *mail.Message) (providers.Receipt, error) {
			got = *m
			return providers.Receipt{ID: "1"}, nil
		}}
	}
	general := relay.Sender{From: mailbox(t, "general@acme.example"), ReplyTo: mailbox(t, "help@acme.example")}
	own := providers.Sender{From: mailbox(t, "Own <own@own.example>")}
	routes := []relay.Route{{Sender: &relay.Sender{From: mailbox(t, "route@route.example")},
		Branding: &templates.Branding{SenderName: "Routed"}}}
	tests := []struct {
		name                   string
		change                 func(*relay.Options)
		from, replyTo, subject string
	}{
		{"general, named by the branding", nil, `"Acme" <general@acme.example>`, "<help@acme.example>", "Acme mail"},
		{"the provider's", func(o *relay.Options) { o.Members[0].Sender = own }, `"Own" <own@own.example>`, "<help@acme.example>", "Acme mail"},
		{"the route's", func(o *relay.Options) { o.Members[0].Sender, o.Routes = own, routes }, `"Routed" <route@route.example>`, "<help@acme.example>", "Routed mail"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := newRelay(t, func(o *relay.Options) {
				o.Sender, o.Branding = general, templates.Branding{SenderName: "Acme"}
				if test.change != nil {
					test.change(o)
				}
			}, remember())
			if d := deliver(t, r); !d.Accepted() {
				t.Fatal(d)
			}
			if got.From.String() != test.from || got.ReplyTo.String() != test.replyTo || got.Subject != test.subject {
				t.Errorf("got from %s, reply to %s, subject %q", got.From.String(), got.ReplyTo.String(), got.Subject)
			}
			_, domain, _ := strings.Cut(got.From.Address, "@")
			if got.MessageID != got.ID+"@"+domain {
				t.Errorf("Message-ID %s is not at the sender's domain", got.MessageID)
			}
		})
	}
}

func TestARenderErrorIsOurs(t *testing.T) {
	r := newRelay(t, func(o *relay.Options) { o.Renderer = fakeRenderer{errors.New("broken for ada@example.org")} }, accepts("1"), accepts("2"))
	if d := deliver(t, r); d.Reason != mail.Internal || len(d.Attempts) != 1 || !strings.Contains(d.Cause, "[address]") {
		t.Errorf("got %+v, want internal after one attempt", d)
	}
	if s := r.Status()[0]; s.Resting {
		t.Errorf("a provider rests for our fault: %+v", s)
	}
}

// ownTemplates writes mails from a provider's own settings.
type ownTemplates struct {
	fakeRenderer
	mail templates.Mail
}

func (o ownTemplates) Render(templates.Request) (*templates.Mail, error) { return &o.mail, o.err }

func TestAProviderMayHaveTemplatesOfItsOwn(t *testing.T) {
	var got []mail.Message
	keep := func(err error) *fakeProvider {
		return &fakeProvider{send: func(_ context.Context, m *mail.Message) (providers.Receipt, error) {
			got = append(got, *m)
			return providers.Receipt{ID: "1"}, err
		}}
	}
	stored := &mail.StoredTemplate{Name: "sign-in", Data: map[string]any{"code": "482913"}}
	r := newRelay(t, func(o *relay.Options) {
		o.Members[0].Renderer = ownTemplates{mail: templates.Mail{Stored: stored, ReplyTo: mail.Address{Address: "help@acme.example"}}}
		o.Members[1].Renderer = ownTemplates{fakeRenderer: fakeRenderer{err: errors.New("broken")}}
	}, keep(&providers.Error{Kind: providers.Temporary}), accepts("never"), keep(nil))
	if d := deliver(t, r); d.Provider != "c" || d.Locale != "en" || len(got) != 2 {
		t.Fatalf("%+v, %d messages", d, len(got))
	}
	if m := got[0]; m.Stored == nil || m.Stored.Name != "sign-in" || m.Stored.Data["code"] != "482913" ||
		m.Text != "" || m.Locale != "" || m.ReplyTo.Address != "help@acme.example" ||
		slices.ContainsFunc(m.Headers, func(h mail.Header) bool { return h.Name == "Content-Language" }) {
		t.Errorf("the provider with templates of its own got %+v", m)
	}
	if m := got[1]; m.Stored != nil || m.Text != "text" || m.Locale != "en" || m.ReplyTo.Address != "" {
		t.Errorf("the provider without got %+v", m)
	}
}

// A provider that cannot be signed in at when the relay starts comes after the
// others, until a mail shows that it is well.
func TestASuspendedProviderIsAskedLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a relay.Member
		r := newRelay(t, func(o *relay.Options) { a = o.Members[0] }, accepts("1"), accepts("2"))
		a.Suspend(&providers.Error{Kind: providers.Temporary})
		for _, want := range []string{"b", "a", "a"} {
			if d := deliver(t, r); d.Provider != want {
				t.Errorf("accepted by %q; want %s", d.Provider, want)
			}
			time.Sleep(10 * time.Second)
		}
		a.Suspend(&providers.Error{Kind: providers.Configuration})
		a.Resume()
		if d := deliver(t, r); d.Provider != "a" {
			t.Errorf("after its rest was ended, accepted by %q", d.Provider)
		}
	})
}

// A sign-in that ends just now does not know what a mail was told meanwhile.
func TestASignInEndsNoRestOfAMail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a relay.Member
		r := newRelay(t, func(o *relay.Options) { a = o.Members[0] }, fails(providers.Error{Kind: providers.RateLimited, Quota: true}), accepts("2"))
		deliver(t, r)
		if a.Resume() || !a.Status().Resting {
			t.Errorf("%+v", a.Status())
		}
	})
}

// A service that was away, and can be signed in at, is back.
func TestASignInEndsTheRestOfOneThatWasAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a relay.Member
		r := newRelay(t, func(o *relay.Options) { a = o.Members[0] }, fails(providers.Error{Kind: providers.Temporary}), accepts("2"))
		for range 3 {
			deliver(t, r)
		}
		if rested := a.Status().Resting; !rested || !a.Resume() || a.Status().Resting {
			t.Errorf("rested %v, and then %+v", rested, a.Status())
		}
		if a.Resume() {
			t.Error("a rest ended twice")
		}
	})
}

// countingRenderer counts what it writes, and writes another mail each time.
type countingRenderer struct {
	fakeRenderer
	calls *int
}

func (c countingRenderer) Render(r templates.Request) (*templates.Mail, error) {
	*c.calls++
	m, err := c.fakeRenderer.Render(r)
	m.Text = strings.Repeat("text ", *c.calls)
	return m, err
}

func TestAMailIsRenderedWhereItIsNeeded(t *testing.T) {
	for _, test := range []struct {
		name           string
		members        []*fakeProvider
		own            []int // members with templates of their own
		resting        []int // members that rest
		general, owned int   // how often each renderer wrote
	}{
		{"once for one", []*fakeProvider{accepts("1")}, nil, nil, 1, 0},
		{"once for all that share it", []*fakeProvider{fails(providers.Error{Kind: providers.Temporary}),
			fails(providers.Error{Kind: providers.Uncertain}), accepts("3")}, nil, nil, 1, 0},
		{"once, where one rests", []*fakeProvider{accepts("1"), fails(providers.Error{Kind: providers.Temporary}), accepts("3")}, nil, []int{0}, 1, 0},
		{"once, where all others rest", []*fakeProvider{fails(providers.Error{Kind: providers.Temporary}), accepts("2"),
			fails(providers.Error{Kind: providers.Temporary})}, nil, []int{0, 1}, 1, 0},
		{"not for one with templates of its own", []*fakeProvider{accepts("1"), accepts("2")}, []int{0}, nil, 0, 1},
		{"once for those around it", []*fakeProvider{fails(providers.Error{Kind: providers.Temporary}),
			fails(providers.Error{Kind: providers.Temporary}), accepts("3")}, []int{1}, nil, 1, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			var general, owned int
			var texts []string
			for _, p := range test.members {
				send := p.send
				p.send = func(ctx context.Context, m *mail.Message) (providers.Receipt, error) {
					texts = append(texts, m.Text)
					return send(ctx, m)
				}
			}
			r := newRelay(t, func(o *relay.Options) {
				o.Renderer = countingRenderer{calls: &general}
				for _, i := range test.own {
					o.Members[i].Renderer = countingRenderer{calls: &owned}
				}
				for _, i := range test.resting {
					o.Members[i].Suspend(&providers.Error{Kind: providers.Temporary})
				}
			}, test.members...)
			if d := deliver(t, r); !d.Accepted() || general != test.general || owned != test.owned {
				t.Errorf("%+v after %d and %d renderings", d, general, owned)
			}
			if len(slices.Compact(texts)) != 1 {
				t.Errorf("the attempts said %q", texts)
			}
		})
	}
}

// A provider outlives the relay that a new configuration replaces.
func TestAProviderKeepsItsHealthAndItsPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := fails(providers.Error{Kind: providers.Configuration})
		var kept []relay.Member
		old := newRelay(t, func(o *relay.Options) { kept = o.Members }, first, hangs(providers.Temporary))
		go deliver(t, old)
		synctest.Wait()
		fresh := newRelay(t, func(o *relay.Options) { o.Members = kept })
		status := fresh.Status()
		if !status[0].Resting || status[1].InFlight != 1 {
			t.Errorf("the new relay sees %+v", status)
		}
		time.Sleep(10 * time.Second)
	})
}

// limiter is a limit made of one function.
type limiter func(m limits.Mail) *limits.Refusal

func (l limiter) Take(_ context.Context, m limits.Mail) *limits.Refusal { return l(m) }

func TestAMailOverALimitIsNotTried(t *testing.T) {
	var asked limits.Mail
	refuses := limiter(func(m limits.Mail) *limits.Refusal {
		asked = m
		return &limits.Refusal{Limit: "limits.recipient", Wait: 90 * time.Second}
	})
	own := &limits.Rules{}
	main := accepts("1")
	r := newRelay(t, func(o *relay.Options) {
		o.Limits = refuses
		o.Routes = []relay.Route{{Types: []string{"Register"}}, {Types: []string{"OrganizationInvitation"}, Limits: own}}
	}, main)
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
	defer cancel()
	const ip = "203.0.113.9"
	d := r.Deliver(ctx, relay.Request{ID: mail.NewID(), To: "ada@example.org", IP: ip, Type: "OrganizationInvitation"})
	if d.Reason != mail.RateLimited || d.Status != mail.StatusFailed || d.RetryAfter != 90*time.Second || d.Cause != "limits.recipient" || len(d.Attempts) != 0 {
		t.Errorf("got %+v", d)
	}
	key := asked.RouteKey
	if want := (limits.Mail{To: "ada@example.org", IP: ip, Invitation: true, Route: 1, RouteKey: key, Own: own}); asked != want || key == "" {
		t.Errorf("asked for %+v, want %+v", asked, want)
	}
	// The route is counted for itself, wherever it stands.
	for types, isSame := range map[string]bool{"OrganizationInvitation": true, "OrganizationInvitation Register": false} {
		moved := newRelay(t, func(o *relay.Options) {
			o.Limits, o.Routes = refuses, []relay.Route{{Types: strings.Fields(types), Limits: &limits.Rules{}}}
		}, main)
		moved.Deliver(ctx, relay.Request{ID: mail.NewID(), To: "ada@example.org", Type: "OrganizationInvitation"})
		if asked.Route != 0 || (asked.RouteKey == key) != isSame {
			t.Errorf("%s: counted as %q, and as %q before", types, asked.RouteKey, key)
		}
	}
	if main.calls.Load() != 0 {
		t.Error("the mail was tried")
	}
}

// domains are what DNS says, by domain.
type domains map[string]string

func (d domains) Refusal(_ context.Context, domain string) string { return d[domain] }

func TestWhoMayNotBeSentMail(t *testing.T) {
	yes, no := true, false
	main := accepts("1")
	r := newRelay(t, func(o *relay.Options) {
		o.Recipients = recipients.Settings{Deny: []string{"denied.example"}, CheckDomain: &yes}
		o.Domains = domains{"gmial.con": "the domain does not exist", "nx.example": "the domain does not exist", "own.example": "unknown to DNS"}
		o.Routes = []relay.Route{
			{Domains: []string{"own.example"}, Recipients: &recipients.Settings{CheckDomain: &no}},
			{Domains: []string{"closed.example"}, Recipients: &recipients.Settings{Allow: []string{"ada@closed.example"}}},
		}
	}, main)
	sent := int32(0)
	for _, test := range []struct{ to, cause, suggestion string }{
		{"ada@example.org", "", ""},
		{"ada@denied.example", "recipients.deny", ""},
		{"ada@gmial.con", "recipients.checkDomain: the domain does not exist", "gmail.com"},
		{"ada@nx.example", "recipients.checkDomain: the domain does not exist", ""},
		{"ada@own.example", "", ""},
		{"ada@closed.example", "", ""},
		{"bob@closed.example", "recipients.allow", ""},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
		d := r.Deliver(ctx, relay.Request{ID: mail.NewID(), To: test.to, Type: "SignIn", Payload: map[string]any{}})
		cancel()
		want := mail.StatusRefused
		if test.cause == "" {
			want = mail.StatusAccepted
			sent++
		}
		if d.Status != want || d.Cause != test.cause || d.Suggestion != test.suggestion || d.Accepted() != (d.Reason == "") ||
			!d.Accepted() && d.Reason != mail.RecipientRefused {
			t.Errorf("%s: got %+v", test.to, d)
		}
		if main.calls.Load() != sent {
			t.Errorf("%s: %d mails tried, want %d", test.to, main.calls.Load(), sent)
		}
	}
}

// A test environment writes to nobody but its own address, in which readers see whom
// a mail was for.
func TestAllMailsGoToOneAddress(t *testing.T) {
	staging := mailbox(t, "Staging <staging@acme.example>")
	const neil, linked = "o'neil@gmial.con", "evil.example/x@gmial.con"
	for name, test := range map[string]struct{ to, shown, html, want string }{
		"a page":     {neil, neil, "<html><BODY class=x>\n<p>Hi</p></BODY></html>", "<html><BODY class=x><p>To: o&#39;neil@gmial.con</p>\n<p>Hi</p></BODY></html>"},
		"a fragment": {neil, neil, "<p>Hi</p>", "<p>To: o&#39;neil@gmial.con</p><p>Hi</p>"},
		"no HTML":    {neil, neil, "", ""},
		"Outlook's part": {neil, neil, "<!--[if mso]><body class=mso><![endif]--><!--[if !mso]><!--><body class=all><!--<![endif]--><p>Hi</p></body>",
			"<!--[if mso]><body class=mso><![endif]--><!--[if !mso]><!--><body class=all><p>To: o&#39;neil@gmial.con</p><!--<![endif]--><p>Hi</p></body>"},
		"a style sheet": {neil, neil, "<style>/* reset of <body> */ p{}</style><body><p>Hi</p>", "<style>/* reset of <body> */ p{}</style><body><p>To: o&#39;neil@gmial.con</p><p>Hi</p>"},
		"a doctype":     {neil, neil, "<!doctype html>\n<p>Hi</p>", "<!doctype html><p>To: o&#39;neil@gmial.con</p>\n<p>Hi</p>"},
		"a host":        {linked, "evil. example/x @ gmial. con", "<p>Hi</p>", "<p>To: evil. example/x @ gmial. con</p><p>Hi</p>"},
	} {
		t.Run(name, func(t *testing.T) {
			var got *mail.Message
			main := &fakeProvider{send: func(_ context.Context, m *mail.Message) (providers.Receipt, error) {
				got = m
				return providers.Receipt{ID: "1"}, nil
			}}
			yes := true
			r := newRelay(t, func(o *relay.Options) {
				o.Renderer = htmlRenderer(test.html)
				o.Recipients = recipients.Settings{RedirectTo: &staging, CheckDomain: &yes}
				o.Domains = domains{"gmial.con": "the domain does not exist"}
			}, fails(providers.Error{Kind: providers.Temporary}), main)
			ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
			defer cancel()
			d := r.Deliver(ctx, relay.Request{ID: mail.NewID(), To: test.to, Type: "SignIn", Payload: map[string]any{}})
			if !d.Accepted() || d.To != test.to || d.RedirectedTo != "staging@acme.example" {
				t.Errorf("got %+v", d)
			}
			if got.To != "staging@acme.example" || !slices.Contains(got.Headers, mail.Header{Name: "X-Original-To", Value: test.to}) ||
				got.Text != "To: "+test.shown+"\n\ntext" || got.HTML.String() != test.want {
				t.Errorf("sent %+v with %q", got, got.HTML.String())
			}
		})
	}
}

// htmlRenderer writes mails of this HTML.
type htmlRenderer string

func (htmlRenderer) Locale(string, map[string]any) string { return "en" }

func (r htmlRenderer) Render(templates.Request) (*templates.Mail, error) {
	m := &templates.Mail{Subject: "subject", Text: "text"}
	if r != "" {
		m.HTML = mail.Body{mail.OwnPart(string(r))}
	}
	return m, nil
}

// seenRequest is a renderer that keeps what it was asked for.
type seenRequest struct {
	fakeRenderer
	seen *templates.Request
}

func (s seenRequest) Render(r templates.Request) (*templates.Mail, error) {
	*s.seen = r
	return s.fakeRenderer.Render(r)
}

func TestTheTemplatesKnowWhoAskedAndWhen(t *testing.T) {
	var seen templates.Request
	r := newRelay(t, func(o *relay.Options) {
		o.Renderer = seenRequest{seen: &seen}
		o.Routes = []relay.Route{{Branding: &templates.Branding{ReplyToInviter: new(true)}}}
	}, accepts("1"))
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
	defer cancel()
	d := r.Deliver(ctx, relay.Request{ID: mail.NewID(), To: "ada@example.org", Type: "SignIn", Payload: map[string]any{}, IP: "203.0.113.7"})
	if seen.To != "ada@example.org" || seen.IP != "203.0.113.7" || seen.Time != d.Time || !*seen.Branding.ReplyToInviter {
		t.Errorf("the templates were asked for %+v", seen)
	}
}

// A route switches on and off what is general, and leaves what it does not name.
func TestTheBrandingOfARoute(t *testing.T) {
	general := templates.Branding{SenderName: "Acme", Color: "#6b3fa0", ReplyToInviter: new(true)}
	logos := templates.Branding{AppLogo: "acme", AppLogoDark: "acme-dark", ReplyToInviter: new(true)}
	for _, test := range []struct {
		general, route templates.Branding
		want           string
	}{
		{general, templates.Branding{}, "Acme #6b3fa0 true"},
		{general, templates.Branding{SenderName: "Example", ReplyToInviter: new(false)}, "Example #6b3fa0 false"},
		{templates.Branding{ReplyToInviter: new(false)}, templates.Branding{Color: "#000000", ReplyToInviter: new(true)}, " #000000 true"},
		{logos, templates.Branding{Color: "#000000"}, " #000000 true acme acme-dark"},
		{logos, templates.Branding{AppLogo: "cedar"}, "  true cedar"},
		{logos, templates.Branding{AppLogo: "cedar", AppLogoDark: "cedar-dark"}, "  true cedar cedar-dark"},
		{logos, templates.Branding{AppLogoDark: "cedar-dark"}, "  true acme cedar-dark"},
	} {
		var seen templates.Request
		deliver(t, newRelay(t, func(o *relay.Options) {
			o.Renderer, o.Branding = seenRequest{seen: &seen}, test.general
			o.Routes = []relay.Route{{Branding: &test.route}}
		}, accepts("1")))
		b := seen.Branding
		if got := strings.TrimRight(fmt.Sprint(b.SenderName, " ", b.Color, " ", *b.ReplyToInviter, " ", b.AppLogo, " ", b.AppLogoDark), " "); got != test.want {
			t.Errorf("got %s, want %s", got, test.want)
		}
	}
}

// What is about one address says nothing of the provider, however often it comes.
func TestOneAddressIsNoIllness(t *testing.T) {
	greylists := fails(providers.Error{Kind: providers.Temporary, AboutAddress: true})
	r := newRelay(t, nil, greylists)
	for range 5 {
		if d := deliver(t, r); d.Reason != mail.ProviderUnavailable {
			t.Errorf("%v", d.Reason)
		}
	}
	if status := r.Status()[0]; status.Resting {
		t.Errorf("%+v", status)
	}
}
