package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"testing"

	"github.com/mailgun/mailgun-go/v4"
	"github.com/mailgun/mailgun-go/v4/events"
)

// checkService sends mails to a stand-in of a service; arrived tells the numbers of
// those that it took.
func checkService(t *testing.T, provider string, atOnce int, arrived func() []int) {
	t.Helper()
	const mails = 200
	relay := startRelay(t, "["+provider+"]")
	counted := newOutcomes()
	counted.send(relay, newWebhooks(t, []string{"example.org"}), 1, mails, atOnce)
	if len(counted.failed) > 0 {
		t.Errorf("failed: %v\n%s", counted.failed, failedAttempts(relay.log()))
	}
	checkArrived(t, counted, arrived())
}

// checkArrived compares what was answered with 200 to the mails that arrived.
func checkArrived(t *testing.T, counted *outcomes, arrived []int) {
	t.Helper()
	times := map[int]int{}
	for _, number := range arrived {
		times[number]++
	}
	for number := range counted.accepted {
		if times[number] != 1 {
			t.Errorf("mail %d was accepted, and arrived %d times", number, times[number])
		}
	}
	t.Logf("%d mails were accepted, the slowest took %v", len(counted.accepted), counted.slowest)
}

// aws-ses-v2-local understands what the provider sends with Amazon's library.
func TestLocalSES(t *testing.T) {
	const program = "connector/node_modules/aws-ses-v2-local/dist/cli.js"
	if _, err := os.Stat(program); err != nil {
		unavailable(t, "aws-ses-v2-local is not installed: run npm ci in e2e/connector")
	}
	port := freePort(t)
	running := start(t, exec.Command(need(t, "node"), program, "--host", "127.0.0.1", "--port", fmt.Sprint(port)))
	address := fmt.Sprint("http://127.0.0.1:", port)
	running.until(t, "it answers", func() bool {
		response, err := http.Get(address + "/health-check")
		return err == nil && response.Body.Close() == nil && response.StatusCode == http.StatusOK
	})
	provider := fmt.Sprintf(`{"type": "ses", "endpoint": %q, "region": "eu-west-1", "accessKeyId": "ANY", "accessKeySecret": "ANY"}`, address)
	checkService(t, provider, 20, func() (numbers []int) {
		var store struct {
			Emails []struct {
				Destination struct{ To []string }
				Subject     string
				Body        struct{ HTML, Text string }
			}
		}
		get(t, address+"/store", &store)
		for _, email := range store.Emails {
			for _, to := range email.Destination.To {
				number := numberIn([]byte(to))
				if email.Subject == "" || !says([]byte(email.Body.Text), code(number)) || !says([]byte(email.Body.HTML), code(number)) {
					t.Errorf("mail %d is not whole: %+v", number, email)
				}
				numbers = append(numbers, number)
			}
		}
		return numbers
	})
}

// The server that Mailgun's library is tested with understands what the provider sends.
// It keeps its tags without a lock, so it gets one mail at a time.
func TestMailgunsOwnServer(t *testing.T) {
	server := mailgun.NewMockServer()
	t.Cleanup(server.Stop)
	provider := fmt.Sprintf(`{"type": "mailgun", "endpoint": %q, "domain": "mailgun.test", "apiKey": "key"}`, server.URL())
	before := len(server.Events())
	checkService(t, provider, 1, func() (numbers []int) {
		for _, event := range server.Events()[before:] {
			accepted, ok := event.(*events.Accepted)
			if !ok || accepted.Message.Headers.Subject == "" {
				t.Errorf("%+v", event)
				continue
			}
			numbers = append(numbers, numberIn([]byte(accepted.Recipient)))
		}
		return numbers
	})
}
