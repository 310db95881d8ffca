package e2e_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
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

			l := startSteadyLoad(t, balancer.program, 200, func() string { return address })
			for n := range 2 * *rolls {
				relay := relays[n%2]
				relay.signal(t, syscall.SIGTERM)
				if code := relay.exitCode(t); code != 0 {
					t.Errorf("exit code %d:\n%s", code, relay.log())
				}
				begin(n % 2)
				until(t, "it has webhooks again", func() bool { return hasMails(t, relay) })
			}
			l.stop()
			t.Logf("%d restarts, %v", 2**rolls, l)
			if len(l.lost) > 0 {
				t.Errorf("lost: %+v\n%s", l.lost[0], proxy.log())
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
