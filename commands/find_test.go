package commands_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"logto-email-relay/commands"
	"logto-email-relay/deliveries"
	"logto-email-relay/mail"
	"logto-email-relay/settings"
)

func TestFind(t *testing.T) {
	file := configure(t, sendgrid("main", "https://api.example.com"))
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte(`"sender"`), []byte(`"deliveries": {"database": "deliveries.db"}, "sender"`), 1)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	find := func(args ...string) (string, int) {
		var out bytes.Buffer
		code := commands.Run(t.Context(), append([]string{"--config", file, "find"}, args...), nil, &out, &out, nil)
		return out.String(), code
	}
	if said, code := find("ada@example.com"); code != 1 || !strings.Contains(said, "read the record") {
		t.Errorf("without a database: %d %s", code, said)
	}

	record := recordBeside(t, file) // it is open meanwhile
	at := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	for i, status := range []mail.Status{mail.StatusAccepted, mail.StatusFailed} {
		d := mail.Delivery{ID: strings.Repeat([]string{"a", "b"}[i], 26), Time: at.Add(time.Duration(i) * time.Minute), To: "Ada@example.com",
			Type: "SignIn", Locale: "en", Route: -1, Status: status, Duration: time.Second}
		d.Attempts = []mail.Attempt{{Provider: "main", Kind: mail.AttemptAccepted, Duration: time.Second}}
		d.Provider = "main"
		if status == mail.StatusFailed {
			d.Attempts[0].Kind, d.Provider, d.Reason = "temporary", "", mail.ProviderUnavailable
		}
		record.Finish(t.Context(), &d)
	}
	for i := range 3 {
		record.Finish(t.Context(), &mail.Delivery{ID: mail.NewID(), Time: at.Add(time.Duration(i) * time.Hour), To: "cid@example.com", Status: mail.StatusAccepted})
	}
	eventually(t, "all is written", func() bool { return record.State().Waiting == 0 })

	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"ada@EXAMPLE.com"}, `TIME (UTC) REFERENCE TO TYPE PROVIDER STATUS
2026-11-26 12:01:00 bbbbbbbb Ada@example.com SignIn failed
2026-11-26 12:00:00 aaaaaaaa Ada@example.com SignIn main accepted

bbbbbbbb, failed:
2026-11-26 12:01:00.0 a SignIn mail was asked for, in en
2026-11-26 12:01:01.0 not taken by main after 1.0 s: temporary
2026-11-26 12:01:01.0 it was not sent: provider_unavailable
`},
		{[]string{"aaaaaaaa"}, `TIME (UTC) REFERENCE TO TYPE PROVIDER STATUS
2026-11-26 12:00:00 aaaaaaaa Ada@example.com SignIn main accepted

aaaaaaaa, accepted:
2026-11-26 12:00:00.0 a SignIn mail was asked for, in en
2026-11-26 12:00:01.0 accepted by main, 1.0 s after the request
`},
		{[]string{"(ref AAAAAAAA)"}, `TIME (UTC) REFERENCE TO TYPE PROVIDER STATUS
2026-11-26 12:00:00 aaaaaaaa Ada@example.com SignIn main accepted

aaaaaaaa, accepted:
2026-11-26 12:00:00.0 a SignIn mail was asked for, in en
2026-11-26 12:00:01.0 accepted by main, 1.0 s after the request
`},
		{[]string{"Bob <bob@example.com>"}, "Nothing is recorded of bob@example.com.\n"},
		{[]string{" <bob@example.com> "}, "Nothing is recorded of bob@example.com.\n"},
		{[]string{"bob@example.com"}, "Nothing is recorded of bob@example.com.\n"},
		{[]string{"bob\x1b[2J\n@example.com"}, "Nothing is recorded of bob?[2J?@example.com.\n"},
	} {
		said, code := find(c.args...)
		if got := regexp.MustCompile(`(?m)^ +| {2,}`).ReplaceAllStringFunc(said, func(blanks string) string {
			return " "
		}); code != 0 || strings.ReplaceAll(got, "\n ", "\n") != c.want {
			t.Errorf("find %v: %d\n%s", c.args, code, said)
		}
	}
	if said, _ := find("--limit", "1", "ada@example.com"); !strings.Contains(said, "--limit 10 shows more") || strings.Contains(said, "aaaaaaaa") {
		t.Errorf("one of two: %s", said)
	}
	for limit, more := range map[string]string{"2": "--limit 20 shows more", "3": "", "100000": ""} {
		if said, code := find("--limit", limit, "cid@example.com"); code != 0 || !strings.Contains(said, more) || more == "" && strings.Contains(said, "Older ones") {
			t.Errorf("%s of three: %d %s", limit, code, said)
		}
	}
	for _, limit := range []string{"0", "100001", "9223372036854775807"} {
		if said, code := find("--limit", limit, "ada@example.com"); code != 2 {
			t.Errorf("%s: %d %s", limit, code, said)
		}
	}
	file = configure(t, sendgrid("main", "https://api.example.com"))
	if said, code := find("ada@example.com"); code != 2 || !strings.Contains(said, "deliveries.database is not set") {
		t.Errorf("without a record: %d %s", code, said)
	}
}

// recordBeside opens the record deliveries.db beside a configuration file, as a running
// relay does.
func recordBeside(t *testing.T, file string) *deliveries.Store {
	t.Helper()
	s := deliveries.DefaultSettings()
	s.Database = settings.NewSecret(filepath.Join(filepath.Dir(file), "deliveries.db"))
	record, err := deliveries.Open(s, time.Second, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = record.Close(context.Background()) })
	return record
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it never holds that %s", what)
		}
	}
}
