package relay_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"logto-email-relay/mail"
	"logto-email-relay/providers"
	"logto-email-relay/relay"
)

// sends is what became of one mail, send by send.
type sends struct {
	providers []string
	ends      []providers.Kind // zero for accepted
}

// erratic is a provider that ends sends by lot, after a while that may be longer than
// the mail has.
type erratic struct {
	name string
	mu   *sync.Mutex
	lots *rand.Rand
	all  map[string]*sends
}

func (e *erratic) Send(ctx context.Context, m *mail.Message) (providers.Receipt, error) {
	e.mu.Lock()
	took := time.Duration(e.lots.ExpFloat64() * float64(300*time.Millisecond))
	failure := &providers.Error{Kind: providers.Kind(1 + e.lots.IntN(int(providers.Uncertain)))}
	switch lot := e.lots.IntN(100); {
	case lot < 30:
		failure = nil
	case lot < 90: // most troubles pass
		failure.Kind = providers.Temporary
		failure.Momentary = lot < 75
		failure.AboutAddress = lot%7 == 0
		if lot%5 == 0 {
			failure.RetryAfter = time.Duration(e.lots.Int64N(int64(9 * time.Second)))
		}
	default:
		failure.RetryAfter = time.Duration(e.lots.Int64N(2)) * time.Second
	}
	e.mu.Unlock()
	select {
	case <-time.After(took):
	case <-ctx.Done():
		failure = &providers.Error{Kind: providers.Uncertain}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	one := e.all[m.ID]
	if one == nil {
		one = new(sends)
		e.all[m.ID] = one
	}
	one.providers = append(one.providers, e.name)
	if failure == nil {
		one.ends = append(one.ends, 0)
		return providers.Receipt{ID: "1"}, nil
	}
	one.ends = append(one.ends, failure.Kind)
	return providers.Receipt{}, failure
}

// Whatever providers do: no mail takes longer than its time, none is sent again once one
// has it, and none once more than one may have it, or to the one that may.
func TestWhateverProvidersDo(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex
			lots, all := rand.New(rand.NewPCG(seed, 0)), make(map[string]*sends)
			o := relay.Options{Renderer: fakeRenderer{}, Sender: relay.Sender{From: mailbox(t, "Acme <no-reply@acme.example>")}}
			for _, name := range []string{"a", "b", "c"}[:1+seed%3] {
				o.Members = append(o.Members, relay.Member{Provider: relay.NewProvider(relay.ProviderOptions{
					Name: name, Service: &erratic{name, &mu, lots, all}, MaxConcurrent: 1 + int(seed)%6})})
			}
			r, err := relay.New(o)
			if err != nil {
				t.Fatal(err)
			}
			var sending sync.WaitGroup
			var given sync.Map
			for range 200 {
				sending.Go(func() {
					begin, length := time.Now(), 8*time.Second
					ctx, cancel := context.WithTimeout(t.Context(), length)
					defer cancel()
					d := r.Deliver(ctx, relay.Request{ID: mail.NewID(), To: "ada@example.org", Type: "SignIn", Payload: map[string]any{}})
					given.Store(d.ID, d)
					if took := time.Since(begin); took > length {
						t.Errorf("it took %v", took)
					}
				})
				time.Sleep(50 * time.Millisecond)
			}
			sending.Wait()
			for id, one := range all {
				uncertain := make(map[string]bool)
				accepted := false
				for i, name := range one.providers {
					if accepted || uncertain[name] || len(uncertain) > 1 {
						t.Errorf("seed %d, %s: %v %v", seed, id, one.providers, one.ends)
						break
					}
					accepted = one.ends[i] == 0
					if one.ends[i] == providers.Uncertain {
						uncertain[name] = true
					}
				}
				v, _ := given.Load(id)
				if d := v.(*mail.Delivery); d.Accepted() != accepted {
					t.Errorf("seed %d, %s: %+v", seed, id, d)
				}
			}
		})
	}
}
