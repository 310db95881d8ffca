package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// FuzzLoad feeds the loader any bytes, as JSON and as YAML. It may find
// problems only, at places that the file has, in bounded time, and without a
// word of what the variables and files hold.
func FuzzLoad(f *testing.F) {
	const secret = "Kq7fZ0never-print-this"
	seeds, err := filepath.Glob("testdata/mistakes.*")
	if err != nil || len(seeds) == 0 {
		f.Fatal("no seeds", err)
	}
	for _, seed := range append(seeds, "../config.example.json") {
		data, err := os.ReadFile(seed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("server: {authorization: [\"Bearer ${A}\"]}\nproviders:\n- type: smtp\n  host: |\n    ${file:a}\n  tls: {ca: a}\n"))
	f.Add([]byte("a: &x [*x, *x]\n? !!str b\n: <<\n---\n\tc\n"))
	folder := f.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "a"), []byte(secret), 0o600); err != nil {
		f.Fatal(err)
	}
	lookup := func(string) (string, bool) { return secret, true }
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 64<<10 {
			return
		}
		for _, name := range []string{filepath.Join(folder, "fuzz.json"), filepath.Join(folder, "fuzz.yaml")} {
			// A file that is read for ever is found by this panic alone.
			overdue := time.AfterFunc(20*time.Second, func() { panic(fmt.Sprintf("%s takes for ever: %q", name, data)) })
			loaded, err := Parse(name, data, lookup)
			overdue.Stop()
			if err == nil {
				if loaded.Config == nil {
					t.Fatal("neither a configuration nor an error")
				}
				continue
			}
			var mistakes *Error
			if !errors.As(err, &mistakes) || len(mistakes.Problems) == 0 {
				t.Fatalf("%s: an error without problems: %v", name, err)
			}
			text := err.Error()
			for _, notice := range loaded.Notices {
				text += notice.String()
			}
			if strings.Contains(text, secret) && !strings.Contains(string(data), secret) {
				t.Fatalf("%s: a secret is printed:\n%s", name, text)
			}
			for _, problem := range mistakes.Problems {
				if at := problem.Position; at.Line < 1 || at.Column < 1 || problem.Caret < 0 || problem.Text == "" ||
					problem.Caret > len([]rune(problem.Source)) {
					t.Fatalf("%s: odd problem %#v", name, problem)
				}
			}
		}
	})
}

// planted are texts in all places of a configuration that can hold a secret.
const planted = `server:
  authorization: ["Bearer PLANT00"]
admin: {address: ":9090", token: 'PLANT01'}
providers:
- type: smtp
  host: smtp.example.com
  auth:
    user: relay
    pass: |
      PLANT02
      PLANT03
  proxy: socks5://relay:PLANT04@proxy.example.com:1080
  customHeaders: {X-Key: PLANT05}
  dkim: {domain: acme.example, selector: s1, privateKey: "-----BEGIN KEY\\nPLANT06\\n-----END KEY"}
- {type: http, url: "https://api.example.com/PLANT07/send?key=PLANT08", headers: {api-key: PLANT09},
   body: {PLANT10: "{{to}}", text: [PLANT11, "{{text}}"]}}
- {type: sendgrid, apiKey: SG.PLANT12, name: second}
- type: mailgun # PLANT13
  domain: mg.acme.example
  apiKey: >-
    PLANT14
- {type: ses, region: eu-west-1, accessKeyId: AKIA, accessKeySecret: "PLANT15", logger: {PLANT16: PLANT17}}
`

// plantedJSON is the same as JSON.
const plantedJSON = `{
  "server": { "authorization": ["Bearer PLANT00"] },
  "admin": { "address": ":9090", "token": "PLANT01" },
  "providers": [
    { "type": "smtp", "host": "smtp.example.com", "auth": { "user": "relay", "pass": "PLANT02 PLANT03" },
      "proxy": "socks5://relay:PLANT04@proxy.example.com:1080", "customHeaders": { "X-Key": "PLANT05" },
      "dkim": { "domain": "acme.example", "selector": "s1", "privateKey": "-----BEGIN KEY\\nPLANT06\\n-----END KEY" } },
    { "type": "http", "url": "https://api.example.com/PLANT07/send?key=PLANT08", "headers": { "api-key": "PLANT09" },
      "body": { "PLANT10": "{{to}}", "text": ["PLANT11", "{{text}}"] } },
    { "type": "sendgrid", "apiKey": "SG.PLANT12", "name": "second" },
    { "type": "ses", "region": "eu-west-1", "accessKeyId": "AKIA", "accessKeySecret": "PLANT15", "logger": { "PLANT16": "PLANT17" } }
  ]
}
`

// FuzzExcerpts breaks a configuration with secrets in it: the texts about it hold
// no part of them. Every edit is a place, what to do there and how far.
func FuzzExcerpts(f *testing.F) {
	pieces := []string{"", ":", ": ", "\"", "'", "\n", " ", "  ", ",", "{", "}", "[", "]", "|", ">", "#", "- ", "\\", "$", "1", "&", "*", "!", "%", "\t"}
	for i := range 200 {
		f.Add([]byte{byte(i), byte(i * 37), byte(i * 11), byte(i), byte(i / 8), byte(i * 91), byte(i * 7), 0})
	}
	f.Fuzz(func(t *testing.T, edits []byte) {
		for name, text := range map[string]string{"planted.yaml": planted, "planted.json": plantedJSON} {
			// Every plant is long enough to be told from our own words when it is cut.
			text = strings.ReplaceAll(text, "PLANT", strings.Repeat("Zq7Xw9Kv3Jy5", 8))
			for range 4 {
				if len(edits) < 4 {
					break
				}
				at := (int(edits[0])<<8 + int(edits[1])) % len(text)
				until := min(len(text), at+int(edits[3]%9))
				text = text[:at] + pieces[int(edits[2])%len(pieces)] + text[until:]
				edits = edits[4:]
			}
			loaded, err := Parse(name, []byte(text), variables())
			if err == nil {
				continue
			}
			for _, leak := range []string{"Zq7X", "w9Kv", "3Jy5"} {
				if told := fmt.Sprint(err, loaded.Notices); strings.Contains(told, leak) {
					t.Fatalf("a secret is told:\n%s\nof\n%s", told, text)
				}
			}
		}
	})
}
