package webhooks

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"logto-email-relay/mail"
	"logto-email-relay/settings"
)

// The receiver in the documents takes the event in the documents, once, and nothing that
// somebody else has signed.
func TestTheReceiverInTheDocumentsWorks(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		if os.Getenv("RELAY_TEST_REQUIRE") != "" {
			t.Fatal("there is no Node.js")
		}
		t.Skip("there is no Node.js on this machine")
	}
	page, err := os.ReadFile("../docs/monitoring.md")
	if err != nil {
		t.Fatal(err)
	}
	program := regexp.MustCompile("(?s)```js\n(.*?)```").FindSubmatch(page)
	event := regexp.MustCompile("(?s)```\n(\\{\n  \"type\": \"delivery.*?)```").FindSubmatch(page)
	if program == nil || event == nil {
		t.Fatal("they are not there")
	}
	file := filepath.Join(t.TempDir(), "receiver.mjs")
	if err := os.WriteFile(file, program[1], 0o600); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	_ = listener.Close()
	_, port, _ := net.SplitHostPort(address)
	cmd := exec.Command(node, file)
	cmd.Env = []string{"HOOK_SECRET=" + secret, "PORT=" + port}
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	eventually(t, "it listens", func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})

	s := start(t, nil)
	defer s.close()
	e, forger := endpointAt("http://"+address), endpointAt("http://"+address+"/forger")
	forger.Secret = settings.NewSecret("another text of some length")
	note := func(id, body string) mail.Notification {
		return mail.Notification{ID: id, Body: []byte(body), Since: time.Now()}
	}
	s.queue.queues = map[string][]mail.Notification{
		forger.key(): {note("msg_0", `{"type":"delivery.failed","data":{}}`)},
		e.key():      {note("msg_1", string(event[1])), note("msg_1", string(event[1])), note("msg_2", `{"type":"provider.resting","data":{"provider":"main","cause":"down"}}`)},
	}
	s.Use(Settings{Send: []Endpoint{e, forger}})
	eventually(t, "all are sent", func() bool { return s.State()[0].Sent == 3 && s.State()[1].Failed > 0 })
	if text := fmt.Sprint(s.State()[1].Cause); !strings.Contains(text, "401") {
		t.Errorf("the forger hears %s", text)
	}
	printed := make(map[string]bool)
	for lines := bufio.NewScanner(output); len(printed) < 2 && lines.Scan(); {
		printed[lines.Text()] = true
	}
	if !printed["delivery.bounced: ada@example.com, see 9f8e7d6c"] || !printed["main rests: down"] {
		t.Errorf("printed %v", printed)
	}
}
