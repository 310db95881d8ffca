package e2e_test

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The long form: go test ./e2e -run RestartsBehindASocket -restarts 20
var restarts = flag.Int("restarts", 4, "how often the relay is restarted behind a socket that stays open")

// activated starts a relay the way of systemd's socket activation, with sockets
// that somebody else keeps open. The shell knows the process's number, which the
// relay wants to find in LISTEN_PID.
func activated(t *testing.T, config string, names string, sockets ...net.Listener) *process {
	t.Helper()
	path, err := plainBinary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`, path, "--config", config)
	cmd.Env = []string{fmt.Sprintf("LISTEN_FDS=%d", len(sockets)), "LISTEN_FDNAMES=" + names, "RUNTIME_DIRECTORY=" + filepath.Dir(config)}
	for _, socket := range sockets {
		file, err := socket.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = file.Close() })
		cmd.ExtraFiles = append(cmd.ExtraFiles, file)
	}
	return start(t, cmd)
}

func socket(t *testing.T) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener
}

// configureActivated writes a configuration whose own address is not used.
func configureActivated(t *testing.T, providers string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.json")
	text := fmt.Sprintf(`{"server": {"address": "127.0.0.1:1", "authorization": [%q]}, "admin": {"address": ""},
		"sender": {"from": "Acme <no-reply@acme.example>"}, "limits": {"recipient": ""}, "providers": %s}`, authorization, providers)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestSocketsOfSystemd(t *testing.T) {
	public, admin := socket(t), socket(t)
	config := configureActivated(t, inbox)
	for _, order := range []struct {
		names   string
		sockets []net.Listener
	}{
		{"admin:public", []net.Listener{admin, public}},
		{"relay.socket:admin", []net.Listener{public, admin}},
	} {
		relay := activated(t, config, order.names, order.sockets...)
		until(t, "the relay listens", func() bool { return strings.Contains(relay.log(), "listening") })
		got := post(t, "http://"+public.Addr().String()+"/logto/email", "application/json", authorization,
			strings.NewReader(string(captured(t)["signin"])))
		if got.status != 200 {
			t.Errorf("%s: a webhook gets %d", order.names, got.status)
		}
		var readiness struct{ Ready bool }
		if get(t, "http://"+admin.Addr().String()+"/readyz", &readiness); !readiness.Ready {
			t.Errorf("%s: not ready on the admin socket", order.names)
		}
		// The configuration says another port, and healthcheck finds the right one.
		path, err := plainBinary()
		if err != nil {
			t.Fatal(err)
		}
		check := exec.CommandContext(t.Context(), path, "healthcheck", "--config", config)
		check.Env = []string{"RUNTIME_DIRECTORY=" + filepath.Dir(config)}
		if out, err := check.CombinedOutput(); err != nil {
			t.Errorf("healthcheck: %v:\n%s", err, out)
		}
		relay.signal(t, syscall.SIGKILL)
		<-relay.exited
	}
}

// The pages of a socket that others reach have a token, whatever address stands in the
// configuration.
func TestAnAdminSocketForOthersWantsAToken(t *testing.T) {
	admin, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = admin.Close() })
	config := configureActivated(t, inbox)
	without, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	refused := activated(t, config, "public:admin", socket(t), admin)
	until(t, "it ends", func() bool {
		select {
		case <-refused.exited:
			return true
		default:
			return false
		}
	})
	if code := refused.cmd.ProcessState.ExitCode(); code != 2 || !strings.Contains(refused.log(), "admin.token: ") {
		t.Errorf("exit code %d:\n%s", code, refused.log())
	}
	with := strings.Replace(string(without), `"admin": {`, `"admin": {"token": "a-long-token-of-the-pages", `, 1)
	if err := os.WriteFile(config, []byte(with), 0o600); err != nil {
		t.Fatal(err)
	}
	relay := activated(t, config, "public:admin", socket(t), admin)
	until(t, "the relay listens", func() bool { return strings.Contains(relay.log(), "listening") })
	if err := os.WriteFile(config, without, 0o600); err != nil {
		t.Fatal(err)
	}
	until(t, "the change is refused", func() bool { return strings.Contains(relay.log(), "not reloaded") })
	if strings.Contains(relay.log(), `"reloaded"`) || !strings.Contains(relay.log(), "admin.token: ") {
		t.Errorf("it says\n%s", relay.log())
	}
	relay.signal(t, syscall.SIGKILL)
	<-relay.exited
}

// A socket that cannot be listened on, or has no port, is no reason to listen somewhere else.
func TestASocketOfAnotherKind(t *testing.T) {
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	unix, err := net.Listen("unix", filepath.Join(t.TempDir(), "relay.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close()
	path, err := plainBinary()
	if err != nil {
		t.Fatal(err)
	}
	for _, socket := range []interface{ File() (*os.File, error) }{udp.(*net.UDPConn), unix.(*net.UnixListener)} {
		file, err := socket.File()
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		cmd := exec.CommandContext(ctx, "/bin/sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`, path, "--config", configureActivated(t, inbox))
		cmd.Env, cmd.ExtraFiles = []string{"LISTEN_FDS=1"}, []*os.File{file}
		if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "no stream socket") {
			t.Errorf("%v:\n%s", err, out)
		}
	}
}

// Behind a socket that stays open, one process follows another and no webhook is
// lost: whether the next one starts while the last one still serves, or only when
// it is gone and callers wait for a moment.
func TestRestartsBehindASocket(t *testing.T) {
	public := socket(t)
	config := configureActivated(t, inbox)
	begin := func() *process {
		p := activated(t, config, "public", public)
		until(t, "the relay listens", func() bool { return strings.Contains(p.log(), "listening") })
		return p
	}
	current := begin()

	l := startSteadyLoad(t, "restarts", 200, public.Addr().String)
	var leaving []*process
	for n := range *restarts {
		before := l.answered.Load()
		until(t, "webhooks are served", func() bool { return l.answered.Load() > before+200 })
		if n%2 == 0 { // side by side
			next := begin()
			current.signal(t, syscall.SIGTERM)
			leaving = append(leaving, current)
			current = next
			continue
		}
		current.signal(t, syscall.SIGTERM)
		if code := current.exitCode(t); code != 0 {
			t.Errorf("exit code %d", code)
		}
		current = begin()
	}
	for _, p := range leaving {
		if code := p.exitCode(t); code != 0 {
			t.Errorf("exit code %d:\n%s", code, p.log())
		}
	}
	l.stop()
	t.Logf("%d restarts, %v", *restarts, l)
	for i, c := range l.lost {
		if i == 10 {
			break
		}
		t.Errorf("lost: %+v", c)
	}
}
