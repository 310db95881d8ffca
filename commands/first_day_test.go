package commands_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"logto-email-relay/commands"
)

func run(t *testing.T, env []string, args ...string) (code int, told string) {
	t.Helper()
	var out bytes.Buffer
	code = commands.Run(t.Context(), args, env, &out, &out, nil)
	return code, out.String()
}

const routed = `{"server": {"authorization": ["Bearer a-token-of-the-test"]}, "sender": {"from": "no-reply@acme.example"},
	"branding": {"senderName": "Acme"}, "limits": {"ip": "60/10m"},
	"providers": [{"name": "main", "type": "smtp", "host": "smtp.example.com"},
		{"name": "backup", "type": "postmark", "serverToken": "t", "fromEmail": "Postmaster <post@acme.example>"}],
	"recipients": {"deny": ["mailinator.com"]},
	"routes": [{"domains": ["qq.com"], "providers": ["backup", "main"]},
		{"domains": ["staging.example"], "providers": ["main"], "recipients": {"redirectTo": "all@acme.example"}},
		{"applications": ["a1"], "types": ["SignIn"], "providers": ["main"]},
		{"organizations": ["o1"], "locales": ["fr"], "sender": {"from": "corp@example.org"}, "branding": {"senderName": "Corp"},
			"limits": {"recipient": "", "total": "1000/1h"}}]}`

func TestCheckShowsTheWayOfMails(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(file, []byte(routed), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ arguments, row string }{
		{"--type SignIn", "SignIn none Acme <no-reply@acme.example>, then Postmaster <post@acme.example> Acme en main, then backup recipient 10/10m, ip 60/10m"},
		{"--to a@qq.com --type BindMfa", "BindMfa routes[0] Postmaster <post@acme.example>, then Acme <no-reply@acme.example> Acme en backup, then main"},
		{"--type SignIn --application a1 --locale de", "SignIn routes[2] Acme <no-reply@acme.example> Acme de main"},
		{"--type Register --organization o1 --locale fr-CA", "Register routes[3] Corp <corp@example.org> Corp fr main, then backup ip 60/10m, total 1000/1h"},
		{"--type Register --organization o1 --locale de", "Register none Acme"},
		{"--to a@mailinator.com --type SignIn", "SignIn none Acme <no-reply@acme.example>, then Postmaster <post@acme.example> Acme en none, by recipients.deny"},
		{"--to a@staging.example --type SignIn", "SignIn routes[1] Acme <no-reply@acme.example> Acme en main, to all@acme.example"},
	} {
		code, told := run(t, nil, append([]string{"check", "--config", file}, strings.Fields(test.arguments)...)...)
		told = strings.Join(strings.Fields(told), " ")
		if code != 0 || !strings.Contains(told, "TYPE ROUTE SENDER BRAND LANGUAGE PROVIDERS LIMITS "+test.row) || strings.Count(told, "main, then backup") > 1 {
			t.Errorf("%s: exit code %d\n%s\nwant %s", test.arguments, code, told, test.row)
		}
	}
	if _, told := run(t, nil, "check", "--config", file); strings.Count(told, "\n") > 20 || !strings.Contains(told, "\nBindNewIdentifier ") {
		t.Errorf("all types: %s", told)
	}
}

func TestUnknownMessageTypes(t *testing.T) {
	for _, arguments := range [][]string{{"send", "--to", "a@b.example", "--type", "Signin"}, {"check", "--type", "Signin"}} {
		if code, told := run(t, nil, arguments...); code != 2 || !strings.Contains(told, "did you mean SignIn?") {
			t.Errorf("%v: exit code %d: %s", arguments, code, told)
		}
	}
	if code, told := run(t, nil, "send", "--to", "a@b.example", "--type", "x"); code != 2 || !strings.Contains(told, "it has SignIn, Register") {
		t.Errorf("exit code %d: %s", code, told)
	}
}

func TestEveryBuildHasAVersion(t *testing.T) {
	if code, told := run(t, nil, "--version"); code != 0 || !regexp.MustCompile(`^v\d+\.\d+\.\d+`).MatchString(told) {
		t.Errorf("exit code %d: %q", code, told)
	}
}

// A file that is asked for and is not there is never development mode.
func TestTheConfigurationThatIsAskedForIsNeeded(t *testing.T) {
	t.Chdir(t.TempDir())
	code, told := run(t, []string{"RELAY_CONFIG=/nowhere/config\x1b[2J.json"})
	if code != 2 || !strings.Contains(told, "RELAY_CONFIG") || strings.Contains(told, "\x1b") || strings.Contains(told, "usage") {
		t.Errorf("exit code %d: %q", code, told)
	}
	if err := os.Mkdir("config.json", 0o700); err != nil {
		t.Fatal(err)
	}
	if code, told := run(t, nil); code != 2 || !strings.Contains(told, "not a regular file") || strings.Contains(told, "RELAY_CONFIG") {
		t.Errorf("with a folder in the way: %d %s", code, told)
	}
	if err := errors.Join(os.Remove("config.json"), os.Symlink("nowhere.json", "config.yaml")); err != nil {
		t.Skipf("no links here: %v", err)
	}
	if code, told := run(t, nil); code != 2 || !strings.Contains(told, "config.yaml") {
		t.Errorf("with a link to nothing: %d %s", code, told)
	}
}

// What is no command, flag or argument is told, and no command runs without it.
func TestWrongCommandLines(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, test := range []struct {
		arguments string
		code      int
		says      string
	}{
		{"servee", 2, "Did you mean this?\n\tserve\n"},
		{"help servee", 2, "Did you mean this?\n\tserve\n"},
		{"help suppressions add", 0, "Keep mails from an address for a while\n"},
		{"help", 0, "What became of mails:"},
		{"-- serve", 2, "there is an argument"},
		{"--version -- 1", 2, "there is an argument"},
		{"-c a check -c b", 2, "cannot read the configuration b: "},
		{"check x", 2, "there is an argument, and only flags are known, which begin with two dashes\nUsage: logto-email-relay check"},
		{"--config= check", 2, "--config: write the name of a file"},
		{"bounce", 75, `"provider" not set`},
		{"bounce --provider", 75, "needs an argument"},
		{"--nope bounce --provider main", 75, "unknown flag: --nope"},
		{"-n bounce --provider main", 75, "unknown flag: -n"},
		{"bounce --provider main", 75, "there is no configuration"},
	} {
		if code, told := run(t, nil, strings.Fields(test.arguments)...); code != test.code || !strings.Contains(told, test.says) {
			t.Errorf("%s: exit code %d: %s", test.arguments, code, told)
		}
	}
	for _, arguments := range [][]string{{"find", ""}, {"suppressions", ""}, {"suppressions", "list", " "},
		{"call", "http://127.0.0.1:1/logto/email", "--authorization", "Bearer x", "--to", ""}} {
		if code, told := run(t, nil, arguments...); code != 2 || !strings.Contains(told, "an argument is empty") {
			t.Errorf("%q: exit code %d: %s", arguments, code, told)
		}
	}
}

// full is a disk or a reader that takes nothing.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

// What could not be printed is no success, and no mistake on the command line.
func TestWhatCannotBePrinted(t *testing.T) {
	file := configure(t, `{"type": "inbox"}`)
	for _, arguments := range [][]string{{"--version"}, {"--help"}, {"help", "find"}, {"schema"}, {"check", "--config", file}} {
		var told bytes.Buffer
		if code := commands.Run(t.Context(), arguments, nil, full{}, &told, nil); code != 1 || told.String() != syscall.ENOSPC.Error()+"\n" {
			t.Errorf("%v: exit code %d: %s", arguments, code, &told)
		}
	}
}

func TestDevelopmentModeListensWhereItIsTold(t *testing.T) {
	t.Parallel() // a clean stop takes its time
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, test := range []struct {
		arguments []string
		code      int
		says      string
	}{
		{[]string{"--listen", taken.Addr().String(), "--admin", "127.0.0.1:0"}, 1, "--listen 127.0.0.1:8081"},
		{[]string{"--listen", "127.0.0.1:0", "--admin", taken.Addr().String()}, 1, "--admin 127.0.0.1:9091"},
		{[]string{"--admin", "0.0.0.0:0"}, 2, "--admin: write an address of this machine alone"},
		{[]string{"--listen", "8081"}, 2, "--listen: write a host and a port"},
		{[]string{"--config", "config.example.json", "--listen", "127.0.0.1:0"}, 2, "are for development mode"},
		{[]string{"serve", "--config", configure(t, `{"type": "inbox"}`), "--admin", "127.0.0.1:0"}, 2, "are for development mode"},
	} {
		if code, told := run(t, nil, test.arguments...); code != test.code || !strings.Contains(told, test.says) {
			t.Errorf("%v: exit code %d: %s", test.arguments, code, told)
		}
	}

	for address, says := range map[string]string{
		taken.Addr().String(): "stop the program that has this port, or write another port into server.address",
		"192.0.2.77:0":        "this machine has no such address",
	} {
		file := filepath.Join(t.TempDir(), "config.json")
		text := strings.Replace(routed, `"server": {`, `"admin": {"address": ""}, "server": {"address": "`+address+`", `, 1)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if code, told := run(t, nil, "--config", file); code != 1 || !strings.Contains(told, says) {
			t.Errorf("%s: exit code %d: %s", address, code, told)
		}
	}

	ctx, stop := context.WithCancel(t.Context())
	var out lines
	done := make(chan int)
	go func() {
		done <- commands.Run(ctx, []string{"serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"}, nil, &out, &out, nil)
	}()
	inbox := regexp.MustCompile(`Inbox +(\S+)`)
	var url string
	for end := time.Now().Add(20 * time.Second); url == ""; time.Sleep(5 * time.Millisecond) {
		if found := inbox.FindStringSubmatch(out.String()); found != nil {
			url = found[1]
		}
		if time.Now().After(end) {
			t.Fatalf("it does not listen:\n%s", out.String())
		}
	}
	if answer, err := http.Get(url); err != nil || answer.StatusCode != http.StatusOK {
		t.Errorf("%s: %v, %v", url, answer, err)
	}
	stop()
	if code := <-done; code != 0 {
		t.Errorf("exit code %d:\n%s", code, out.String())
	}
}
