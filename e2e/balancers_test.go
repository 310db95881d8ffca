package e2e_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// The long form: go test ./e2e -run RollingRestarts -rolls 10
var rolls = flag.Int("rolls", 1, "how often each relay behind a balancer is restarted")

// Relays behind a balancer that asks /readyz are restarted in turn, and no webhook is
// lost. nginx, which has no such check, is in the campaign.
func TestRollingRestarts(t *testing.T) {
	for _, balancer := range []struct {
		program, file string
		args          []string
	}{
		{"caddy", "Caddyfile", []string{"run", "--adapter", "caddyfile", "--config"}},
		{"haproxy", "haproxy.cfg", []string{"-db", "-f"}},
	} {
		t.Run(balancer.program, func(t *testing.T) {
			program := need(t, balancer.program, "/usr/sbin/"+balancer.program)
			path, err := plainBinary()
			if err != nil {
				t.Fatal(err)
			}
			var relays [2]*relayProcess
			var files [2]string
			begin := func(i int) {
				cmd := exec.Command(path, "--config", files[i])
				cmd.Env = []string{}
				relays[i].process = start(t, cmd)
				relays[i].waitReady(t)
			}
			for i := range relays {
				relays[i], files[i] = configure(t, inbox, `"log": {"level": "warn"}`)
				begin(i)
			}

			text, err := os.ReadFile(filepath.Join("..", "deploy", balancer.file))
			if err != nil {
				t.Fatal(err)
			}
			address := fmt.Sprintf("127.0.0.1:%d", freePort(t))
			config := strings.NewReplacer("relay-1:8080", relays[0].public, "relay-2:8080", relays[1].public,
				"bind :8000", "bind "+address, ":8000 {", "http://"+address+" {").Replace(string(text))
			if balancer.program == "caddy" {
				config = "{\n\tadmin off\n\tauto_https off\n}\n" + config
			}
			file := filepath.Join(t.TempDir(), balancer.file)
			if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(program, append(balancer.args, file)...)
			cmd.Env = []string{"HOME=" + t.TempDir()}
			proxy := start(t, cmd)
			until(t, "the balancer answers", func() bool {
				c := &caller{address: func() string { return address }}
				defer c.hangUp()
				var result call
				c.call(&result, captured(t)["signin"])
				return result.status == 200
			})

			var sent, answered atomic.Int64
			var mu sync.Mutex
			var lost []call
			var slowest time.Duration
			webhooks := newWebhooks(t, []string{"example.org"})
			ctx, stop := context.WithCancel(t.Context())
			l := &load{
				phase: balancer.program, address: func() string { return address }, limit: 10 * time.Second, rate: 200,
				next: func() (int, bool) { return int(sent.Add(1)), ctx.Err() == nil },
				body: webhooks.body,
				done: func(c call) {
					mu.Lock()
					defer mu.Unlock()
					slowest = max(slowest, c.took)
					if c.status != 200 {
						lost = append(lost, c)
						return
					}
					answered.Add(1)
				},
			}
			var loading sync.WaitGroup
			loading.Go(func() { l.run(context.Background(), 1) })
			for n := range 2 * *rolls {
				relay := relays[n%2]
				relay.signal(t, syscall.SIGTERM)
				if code := relay.exitCode(t); code != 0 {
					t.Errorf("exit code %d:\n%s", code, relay.log())
				}
				begin(n % 2)
				until(t, "it has webhooks again", func() bool { return strings.Contains(metrics(t, relay), `relay_mails_total{`) })
			}
			stop()
			loading.Wait()
			t.Logf("%d restarts, %d webhooks, %d lost, the slowest took %v", 2**rolls, answered.Load()+int64(len(lost)), len(lost), slowest)
			if len(lost) > 0 {
				t.Errorf("lost: %+v\n%s", lost[0], proxy.log())
			}
		})
	}
}

// The configurations that operators read are the ones that are tested.
func TestTheDocumentShowsTheTestedBalancers(t *testing.T) {
	document := read(t, "../docs/operations.md")
	for _, file := range []string{"Caddyfile", "haproxy.cfg"} {
		if !strings.Contains(document, "\n"+read(t, "../deploy/"+file)+"```\n") {
			t.Errorf("docs/operations.md does not hold deploy/%s as it is", file)
		}
	}
}
