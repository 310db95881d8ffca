package commands_test

import (
	"bytes"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"logto-email-relay/commands"
	"logto-email-relay/deliveries"
)

func TestSuppressions(t *testing.T) {
	may, _ := service(t, http.StatusNoContent, "")
	mayNot, _ := service(t, http.StatusForbidden, `{"errors":[{"message":"access forbidden"}]}`)
	file := configure(t, sendgrid("main", may), sendgrid("backup", mayNot), `{"type": "smtp", "host": "127.0.0.1"}`)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	without := text
	text = bytes.Replace(text, []byte(`"sender"`), []byte(`"deliveries": {"database": "deliveries.db"}, "sender"`), 1)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	var raw string // with the times
	run := func(args ...string) (string, int) {
		var out bytes.Buffer
		code := commands.Run(t.Context(), append([]string{"--config", file, "suppressions"}, args...), nil, &out, &out, nil)
		raw = out.String()
		said := regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`).ReplaceAllString(raw, "TIME")
		return regexp.MustCompile(` {2,}`).ReplaceAllString(said, " "), code
	}
	if said, code := run(); code != 1 || !strings.Contains(said, "read the suppressions") {
		t.Errorf("without a database: %d %s", code, said)
	}
	record := recordBeside(t, file) // it is open meanwhile
	eventually(t, "the database is ready", func() bool { return record.State().Opened })
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{nil, 0, "No address is suppressed.\n"},
		{[]string{"add", "Ada@EXAMPLE.com", "--for", "30d", "--note", "on her wish"}, 0, "Ada@example.com gets no mails until TIME UTC.\n"},
		{[]string{"list"}, 0, "ADDRESS REASON PROVIDER SINCE (UTC) UNTIL (UTC)\nAda@example.com manual: on her wish TIME TIME\n"},
		{[]string{"ada@example.com"}, 0, "ADDRESS REASON PROVIDER SINCE (UTC) UNTIL (UTC)\nAda@example.com manual: on her wish TIME TIME\n"},
		{[]string{"bob@example.com"}, 0, "No address is suppressed.\n"},
		{[]string{"add", "a***@example.com"}, 1, "write the suppression: " + deliveries.ErrMasked.Error() + "\n"},
		{[]string{"lift", "a***@example.com"}, 1, "lift the suppression: " + deliveries.ErrMasked.Error() + "\n"},
		{[]string{"lift", "ada@example.com"}, 0, "ada@example.com gets mails again.\nbackup: not possible: configuration: DELETE: 403: access forbidden: " +
			"give the key the permissions Suppressions and Unsubscribe Groups, or take the address off the lists by hand\nmain: lifted\n"},
		{[]string{"lift", "bob@example.com"}, 0, "bob@example.com was not suppressed here.\nbackup: not possible: configuration: DELETE: 403: access forbidden: " +
			"give the key the permissions Suppressions and Unsubscribe Groups, or take the address off the lists by hand\nmain: lifted\n"},
		{[]string{"remove"}, 2, "usage: write add, lift, list or an address: recipient has no @\n"},
		{[]string{"list", "nobody"}, 2, "usage: write add, lift, list or an address: recipient has no @\n"},
		{[]string{"add", "nobody"}, 2, "usage: recipient has no @\n"},
		{[]string{"lift", "nobody"}, 2, "usage: recipient has no @\n"},
		{[]string{"add", "ada@example.com", "--for", "soon"}, 2, "usage: --for: write a time such as \"24h\" or \"30d\"\n"},
	} {
		if said, code := run(c.args...); code != c.code || said != c.want {
			t.Errorf("%q: %d\n%s\nwant %d\n%s", c.args, code, said, c.code, c.want)
		}
	}
	run("add", "cem@example.com", "--for", "30d")
	longer := raw
	if run("add", "cem@example.com", "--for", "1h"); raw != longer {
		t.Errorf("says %s after %s", raw, longer)
	}
	if err := os.WriteFile(file, without, 0o600); err != nil {
		t.Fatal(err)
	}
	if said, code := run(); code != 2 || !strings.Contains(said, "nothing is recorded") {
		t.Errorf("without a record: %d %s", code, said)
	}
}
