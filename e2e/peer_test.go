package e2e_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

const webhookOfAda = `{"to": "ada@example.org", "type": "SignIn", "payload": {"code": "482913", "link": "https://acme.example/magic?x=1"}}`

// rawService answers each request over HTTP/1.1 with a text, whatever it is.
func rawService(t *testing.T, answer string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = connection.Close() }()
				for reader := bufio.NewReader(connection); ; {
					request, err := http.ReadRequest(reader)
					if err != nil {
						return
					}
					_, _ = io.Copy(io.Discard, request.Body)
					_, _ = io.WriteString(connection, answer)
				}
			}()
		}
	}()
	return "http://" + listener.Addr().String()
}

func throughHTTP(t *testing.T, address, more string) *relayProcess {
	t.Helper()
	return startRelay(t, fmt.Sprintf(`[{"type": "http", "url": %q, "body": {"to": "{{to}}", "text": "{{text}}"}%s}]`, address, more))
}

// A service that switches protocols makes no webhook wait for its deadline.
func TestAServiceThatSwitchesProtocols(t *testing.T) {
	relay := throughHTTP(t, rawService(t, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"), "")
	began := time.Now()
	got := post(t, relay.webhook(), "application/json", authorization, strings.NewReader(webhookOfAda))
	if got.status != http.StatusGatewayTimeout || time.Since(began) > 4*time.Second {
		t.Errorf("%d after %v: %s", got.status, time.Since(began), got.body)
	}
}

// The page of a network that wants a password first is no acceptance.
func TestAPageIsNoAcceptance(t *testing.T) {
	relay := throughHTTP(t, rawService(t, "HTTP/1.1 200 OK\r\nContent-Length: 26\r\n\r\n<html>Please log in</html>"), "")
	got := post(t, relay.webhook(), "application/json", authorization, strings.NewReader(webhookOfAda))
	if got.status != http.StatusGatewayTimeout {
		t.Errorf("%d %s", got.status, got.body)
	}
}

// What a service sends unasked, or gives for an id, does not become part of a log
// or an answer.
func TestWhatAServiceQuotesIsNotRepeated(t *testing.T) {
	stray := `{"id":"ada@example.org 482913"}`
	answer := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(stray), stray)
	relay := throughHTTP(t, rawService(t, answer+answer), `, "id": "id"`)
	for range 5 {
		got := post(t, relay.webhook(), "application/json", authorization, strings.NewReader(webhookOfAda))
		var accepted struct{ ID string }
		if err := json.Unmarshal([]byte(got.body), &accepted); err != nil || got.status != http.StatusOK || accepted.ID == "" {
			t.Fatalf("%d %s", got.status, got.body)
		}
		if strings.Contains(got.body, "ada@") || strings.Contains(got.body, "482913") {
			t.Errorf("%s", got.body)
		}
	}
	if log := relay.log(); strings.Contains(log, "482913") || strings.Contains(log, "ada@example.org") || strings.Contains(log, "Unsolicited") {
		t.Error(log)
	}
}
