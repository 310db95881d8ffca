package commands_test

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// It asks where the relay says that it listens, else where the configuration says.
func TestHealthcheck(t *testing.T) {
	var status atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			t.Errorf("asked for %s", r.URL.Path)
		}
		if host, _, err := net.SplitHostPort(r.Host); err != nil || host != "localhost" && host != "127.0.0.1" {
			t.Errorf("asked at %s, which not every system connects to", r.Host)
		}
		w.WriteHeader(int(status.Load()))
	}))
	defer server.Close()
	where, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	left := t.TempDir() // by a running relay
	if err := os.WriteFile(filepath.Join(left, "address"), []byte(where.Host+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, address, runtime string // the address may bring a mistake along
		status                 int32
		code                   int
		says                   string
	}{
		{"alive", where.Host, "", 200, 0, ""},
		{"on every address", ":" + where.Port(), "", 200, 0, ""},
		{"on every address of version 4", "0.0.0.0:" + where.Port(), "", 200, 0, ""},
		{"on every address of version 6", "[::]:" + where.Port(), "", 200, 0, ""},
		{"another port than that of the configuration", "127.0.0.1:1", left, 200, 0, ""},
		{"several directories of systemd's", "127.0.0.1:1", left + ":" + t.TempDir(), 200, 0, ""},
		{"nothing is left", where.Host, t.TempDir(), 200, 0, ""},
		{"a mistake elsewhere", where.Host + `", "adress": "`, "", 200, 0, ""},
		{"a file that is none", `"`, left, 200, 0, ""},
		{"ill, and a mistake", where.Host + `", "adress": "`, "", 503, 2, ""},
		{"ill", where.Host, "", 503, 1, "not alive: " + server.URL + "/healthz answers 503\n"},
		{"nobody", "127.0.0.1:1", "", 200, 1, "not alive: "},
	} {
		file := configure(t, `{"type": "inbox"}`)
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(strings.Replace(string(text), "127.0.0.1:0", c.address, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		status.Store(c.status)
		if code, told := run(t, []string{"RUNTIME_DIRECTORY=" + c.runtime}, "healthcheck", "--config", file); code != c.code || !strings.HasPrefix(told, c.says) || (told == "") != (c.code == 0) {
			t.Errorf("%s: exit code %d: %s", c.name, code, told)
		}
	}
	t.Chdir(t.TempDir()) // where no configuration is, it is development mode that may run
	if code, told := run(t, nil, "healthcheck"); code != 0 && !strings.Contains(told, "127.0.0.1:8080") {
		t.Errorf("exit code %d: %s", code, told)
	}
	if code, told := run(t, nil, "healthcheck", "--config", "missing.json"); code != 2 {
		t.Errorf("exit code %d: %s", code, told)
	}
}

func TestSend(t *testing.T) {
	good, mails := service(t, 202, "")
	bad, _ := service(t, 401, `{"errors":[{"message":"authorization required","field":null}]}`)
	send := func(t *testing.T, providers ...string) (int, string) {
		return run(t, nil, "send", "--config", configure(t, providers...), "--to", "ada@example.org", "--type", "SignIn", "--locale", "fr")
	}
	if code, told := send(t, sendgrid("main", good)); code != 0 || !strings.HasPrefix(told, "main accepted the mail in ") || !strings.Contains(told, ", in fr, with id ") {
		t.Errorf("exit code %d: %s", code, told)
	}
	code, told := send(t, sendgrid("wrong", bad), sendgrid("main", good))
	if first, rest, _ := strings.Cut(told, "\n"); code != 0 || !strings.HasPrefix(first, "wrong, after ") || !strings.Contains(first, "authorization required") || !strings.HasPrefix(rest, "main accepted") {
		t.Errorf("exit code %d: %s", code, told)
	}
	if code, told := send(t, sendgrid("wrong", bad)); code != 1 || !strings.Contains(told, "\nprovider_") {
		t.Errorf("exit code %d: %s", code, told)
	}
	if mails.Load() != 2 {
		t.Errorf("%d mails", mails.Load())
	}
	if code, told := run(t, nil, "send", "--config", "missing.json", "--to", "ada@example.org"); code != 2 {
		t.Errorf("exit code %d: %s", code, told)
	}
}

func TestSchema(t *testing.T) {
	code, told := run(t, nil, "schema")
	var schema map[string]any
	if err := json.Unmarshal([]byte(told), &schema); err != nil || code != 0 || schema["$schema"] == nil {
		t.Errorf("exit code %d, %v: %.200s", code, err, told)
	}
}
