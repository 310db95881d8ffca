package deliveries

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"logto-email-relay/mail"
)

func TestTimeline(t *testing.T) {
	for _, c := range []struct {
		d    mail.Delivery
		want []string
	}{
		{mail.Delivery{Time: noon, Type: "SignIn", Locale: "en", Status: mail.StatusBounced, Attempts: []mail.Attempt{
			{Provider: "first", Kind: "temporary", Stage: "data", Code: "451", Duration: 1500 * time.Millisecond},
			{Provider: "ses", Kind: mail.AttemptAccepted, Duration: 100 * time.Millisecond},
		}, Events: []mail.Event{
			{Time: noon.Add(3600 * time.Millisecond), Status: mail.StatusDelivered, Provider: "ses", Detail: "mx1.example.org"},
			{Time: noon.Add(3 * time.Hour), Status: mail.StatusBounced, Provider: "ses"},
		}}, []string{
			"a SignIn mail was asked for, in en", "not taken by first after 1.5 s: temporary: data: 451",
			"accepted by ses, 1.6 s after the request", "delivered, 2.0 s later, says ses: mx1.example.org", "bounced, 3 h later, says ses"}},
		{mail.Delivery{Time: noon, Type: "SignIn", Status: mail.StatusDelivered, Attempts: []mail.Attempt{ // with pauses before
			{Provider: "smtp", Kind: "temporary", Start: time.Second, Duration: time.Millisecond},
			{Provider: "smtp", Kind: mail.AttemptAccepted, Start: 4 * time.Second, Duration: 500 * time.Millisecond},
		}, Events: []mail.Event{{Time: noon.Add(6 * time.Second), Status: mail.StatusDelivered, Provider: "smtp"}}}, []string{
			"a SignIn mail was asked for", "not taken by smtp after 1 ms: temporary", "accepted by smtp, 4.5 s after the request", "delivered, 1.5 s later, says smtp"}},
		{mail.Delivery{Time: noon, Type: "Register", Locale: "fr", Trace: "88cfdc1c1f2a4b3c", Status: mail.StatusSending}, []string{
			"a Register mail was asked for, in fr; its trace is 88cfdc1c1f2a4b3c", "there is no verdict yet"}},
		{mail.Delivery{Time: noon, Type: "Register", Status: mail.StatusUncertain}, []string{"a Register mail was asked for",
			"no verdict was recorded: the relay has probably been killed in between, and the mail may have been sent"}},
		{mail.Delivery{Time: noon, Type: "Register", Status: mail.StatusFailed, Reason: mail.ProviderUnavailable, Duration: time.Second,
			Attempts: []mail.Attempt{{Provider: "ses", Kind: "temporary", Duration: time.Second}}}, []string{"a Register mail was asked for",
			"not taken by ses after 1.0 s: temporary", "it was not sent: provider_unavailable"}},
		{mail.Delivery{Time: noon, Type: "Register", Status: mail.StatusUncertain, Reason: mail.Uncertain,
			Attempts: []mail.Attempt{{Provider: "ses", Kind: "uncertain", Duration: 8 * time.Second}}}, []string{"a Register mail was asked for",
			"not taken by ses after 8.0 s: uncertain", "nobody knows whether it was sent"}},
	} {
		var got []string
		for _, m := range Timeline(&c.d) {
			got = append(got, m.Text)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("got  %q\nwant %q", got, c.want)
		}
	}
}

func TestSpoken(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0.0 s", 0: "0.0 s", 1: "1 ms", 94 * time.Millisecond: "94 ms", 95 * time.Millisecond: "0.1 s", 9900 * time.Millisecond: "9.9 s",
		10 * time.Second: "10 s", 119 * time.Second: "119 s", 2 * time.Minute: "2 min", 119 * time.Minute: "119 min", 2 * time.Hour: "2 h",
		47 * time.Hour: "47 h", 48 * time.Hour: "2 d", 72 * time.Hour: "3 d",
	} {
		if got := Spoken(d); got != want {
			t.Errorf("%d: %s, want %s", d, got, want)
		}
	}
}

// docs/monitoring.md shows a timeline as find prints it.
func TestTheTimelineInTheDocuments(t *testing.T) {
	page, err := os.ReadFile("../docs/monitoring.md")
	if err != nil {
		t.Fatal(err)
	}
	noon := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	for _, m := range Timeline(&mail.Delivery{Time: noon, Type: "SignIn", Locale: "fr", Trace: "4bf92f3577b34da6a3ce929d0e0e4736", Status: mail.StatusBounced,
		Attempts: []mail.Attempt{{Provider: "ses", Kind: "temporary", Stage: "POST", Code: "503", Duration: 1500 * time.Millisecond},
			{Provider: "backup", Kind: mail.AttemptAccepted, Duration: 100 * time.Millisecond}},
		Events: []mail.Event{{Time: noon.Add(3600 * time.Millisecond), Status: mail.StatusDelivered, Provider: "backup", Detail: "mx1.example.org"},
			{Time: noon.Add(3*time.Hour + 3600*time.Millisecond), Status: mail.StatusBounced, Provider: "backup"}}}) {
		if line := m.Time.Format("2006-01-02 15:04:05.0") + "  " + m.Text + "\n"; !strings.Contains(string(page), line) {
			t.Errorf("there is no line %s", line)
		}
	}
}
