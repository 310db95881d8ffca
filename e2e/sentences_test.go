package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// While no relay answers, nginx says so in the language of the webhook.
func TestNginxSpeaksTheReadersLanguage(t *testing.T) {
	nginx := need(t, "nginx", "/usr/sbin/nginx")
	dir, port := t.TempDir(), freePort(t)
	sentences, err := filepath.Abs("../deploy/nginx-sentences.conf")
	if err != nil {
		t.Fatal(err)
	}
	paths := ""
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		paths += fmt.Sprintf("%s_temp_path %s/%s;\n", kind, dir, kind)
	}
	config := fmt.Sprintf(`daemon off; worker_processes 1; pid %[1]s/pid; error_log stderr error; events {}
		http {
			access_log off; %[2]s
			include %[3]s;
			server {
				listen 127.0.0.1:%[4]d;
				client_body_buffer_size 64k;
				location = /logto/email { proxy_pass http://127.0.0.1:%[5]d; error_page 500 502 503 504 = @unavailable; }
				location @unavailable { default_type "text/plain; charset=utf-8"; return 503 $relay_sentence; }
			}
		}`, dir, paths, sentences, port, freePort(t))
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	url := fmt.Sprintf("http://127.0.0.1:%d/logto/email", port)
	proxy := start(t, exec.Command(nginx, "-e", "stderr", "-c", file))
	t.Cleanup(proxy.terminate) // which ends its worker too
	proxy.until(t, "nginx answers", func() bool {
		response, err := http.Get(url)
		if err != nil {
			return false
		}
		_ = response.Body.Close()
		return true
	})
	for locale, words := range map[string]string{
		"en": "try again in a minute", "fr": "dans une minute", "fr-CA": "dans une minute", "pt-PT": "dentro de um minuto", "pt-BR": "em um minuto",
		"zh-TW": "再試一次", "zh-CN": "再试", "est": "try again in a minute", "": "try again in a minute",
	} {
		long := strings.Repeat("x", 30<<10) // as an invitation may be
		got := post(t, url, "application/json", authorization, strings.NewReader(
			fmt.Sprintf(`{"to":"ada@example.org","type":"SignIn","payload":{"note":"\"locale\":\"ja\" %s","code":"482913","locale":%q}}`, long, locale)))
		if got.status != http.StatusServiceUnavailable || !strings.Contains(got.body, words) || got.header.Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Errorf("%q: %d %q %s\n%s", locale, got.status, got.body, got.header.Get("Content-Type"), proxy.log())
		}
	}
	for _, payload := range []string{
		`{"code":"482913","locale":"fr","user":{"profile":{"locale":"de-DE"}}}`,
		`{"inviter":{"name":"}\"{","profile":{"locale":"de-DE"}},"organization":{"id":"1"},"locale":"fr","user":{"locale":"ar"}}`,
	} {
		got := post(t, url, "application/json", authorization, strings.NewReader(`{"to":"ada@example.org","type":"Generic","payload":`+payload+`}`))
		if !strings.Contains(got.body, "dans une minute") {
			t.Errorf("%s: the language of a profile: %q", payload, got.body)
		}
	}
}
