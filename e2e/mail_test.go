package e2e_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"logto-email-relay/templates"
)

var everyLanguage = strings.Fields("ar cs de en es es-MX fa-IR fr it ja ko pl-PL pt-BR pt-PT ru th tr-TR uk-UA zh-CN zh-HK zh-TW")

// Debian's SpamAssassin, local rules only, on mails as a recipient's server gets
// them. It calls a mail spam from 5 points on.
func TestMailsAreNotSpam(t *testing.T) {
	need(t, "spamassassin")
	mails := sendAllTypes(t, everyLanguage...)
	messages := make([][]byte, len(mails))
	for i := range mails {
		messages[i] = mails[i].raw
	}
	// What has to score, or the scores would mean nothing.
	nameless := regexp.MustCompile(`(Date|Message-ID): [^\n]*\n`).ReplaceAll(messages[0], nil)
	judged := scores(t, append(messages, nameless))
	if bad := judged[len(mails)]; bad.points < 3 {
		t.Errorf("a mail without Date and Message-ID gets %.1f points (%s), want more than 3", bad.points, bad.rules)
	}
	for i, mail := range mails {
		if judged[i].points > 0 {
			t.Errorf("%s gets %.1f points (%s), want none", mail, judged[i].points, judged[i].rules)
		}
	}
}

// The templates that Logto's console offers for its SMTP connector, sent by that
// connector, do no better than ours.
func TestLogtosSamplesAreNoBetter(t *testing.T) {
	need(t, "spamassassin")
	var forms map[string][]formItem
	if err := json.Unmarshal(runNode(t, "forms.mjs", nil), &forms); err != nil {
		t.Fatal(err)
	}
	var samples []struct{ UsageType string }
	config := map[string]any{"host": "127.0.0.1", "ignoreTLS": true, "auth": map[string]any{}, "fromEmail": "Acme <no-reply@acme.example>"}
	for _, item := range forms["smtp"] {
		if item.Key == "templates" {
			config["templates"] = item.DefaultValue
			if err := json.Unmarshal(item.DefaultValue, &samples); err != nil {
				t.Fatal(err)
			}
		}
	}
	server := startSink(t)
	config["port"] = server.port()
	for _, sample := range samples {
		runNode(t, "compare.mjs", map[string]any{"connector": "smtp", "config": config, "message": map[string]any{
			"to": "ada@example.org", "type": sample.UsageType, "payload": templates.Sample(sample.UsageType, "en")}})
	}
	theirs := server.take()
	ours := sendAllTypes(t, "en")
	if len(theirs) != len(ours) {
		t.Fatalf("Logto's connector sent %d mails, the relay %d", len(theirs), len(ours))
	}
	messages := theirs
	for _, mail := range ours {
		messages = append(messages, mail.raw)
	}
	var points [2]float64
	for i, judged := range scores(t, messages) {
		points[i/len(theirs)] += judged.points
	}
	t.Logf("all types together: Logto's samples %.1f points, ours %.1f", points[0], points[1])
	if points[1] > points[0] {
		t.Errorf("ours get %.1f points together, Logto's samples %.1f", points[1], points[0])
	}
}

type judgement struct {
	points float64
	rules  string
}

var spamStatus = regexp.MustCompile(`^\w+, score=(-?[0-9.]+) .*?tests=(.*?) autolearn`)

// scores lets SpamAssassin look at messages.
func scores(t *testing.T, messages [][]byte) []judgement {
	t.Helper()
	var mbox bytes.Buffer
	const separator = "From no-reply@acme.example "
	now := time.Now()
	for i, message := range messages {
		// The hop into the recipient's server. The number tells the message,
		// because SpamAssassin goes through a mailbox in an order of its own.
		fmt.Fprintf(&mbox, "%s%s\nX-Number: %d\nReceived: from mta.acme.example (mta.acme.example [192.88.97.20])\n"+
			"\tby mx.example.org (Postfix) with ESMTPS id 4WgK2x1YzQz\n\tfor <ada@example.org>; %s\n",
			separator, now.UTC().Format(time.ANSIC), i, now.Format(time.RFC1123Z))
		mbox.Write(bytes.ReplaceAll(message, []byte("\r\n"), []byte("\n")))
		mbox.WriteString("\n")
	}
	home := t.TempDir()
	file := filepath.Join(home, "mails.mbox")
	if err := os.WriteFile(file, mbox.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "spamassassin", "--local", "--test-mode", "--mbox", "--cf=use_bayes 0", file)
	cmd.Env = append(os.Environ(), "HOME="+home)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("spamassassin: %v\n%s", err, stderr.String())
	}
	judged := make([]judgement, len(messages))
	found := 0
	for _, text := range strings.Split("\n"+string(out), "\n"+separator)[1:] {
		_, text, _ = strings.Cut(text, "\n")
		parsed, err := mail.ReadMessage(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		status := spamStatus.FindStringSubmatch(parsed.Header.Get("X-Spam-Status"))
		number, err := strconv.Atoi(parsed.Header.Get("X-Number"))
		if err != nil || status == nil {
			t.Fatalf("SpamAssassin says %q", parsed.Header)
		}
		points, err := strconv.ParseFloat(status[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		judged[number] = judgement{points, status[2]}
		found++
	}
	if found != len(messages) {
		t.Fatalf("SpamAssassin gave %d judgements on %d messages", found, len(messages))
	}
	return judged
}

// wanted are the headers of every mail, and how their values look.
var wanted = map[string]string{
	"Date":                     `.+ [+-]\d{4}`,
	"From":                     `=\?utf-8\?q\?Acme_S=C3=B6hne\?= <no-reply@acme\.example>`,
	"Reply-To":                 `"Help" <help@acme\.example>`,
	"To":                       `<ada@example\.org>`,
	"Message-Id":               `<[0-9a-z]+@acme\.example>`,
	"Subject":                  `.+`,
	"Auto-Submitted":           `auto-generated`,
	"X-Auto-Response-Suppress": `OOF, AutoReply, DR, RN, NRN`,
	"X-Entity-Ref-Id":          `[0-9a-z]+`,
	"Content-Language":         `[a-zA-Z-]+`,
	"Mime-Version":             `1\.0`,
	"Dkim-Signature":           `a=ed25519-sha256; .*d=acme\.example; .*v=1; .*`,
	"Content-Type":             `multipart/alternative; boundary="[^"]+"`,
}

// Every type in every language, as it stands on the wire.
func TestMessagesAreWellFormed(t *testing.T) {
	seen := make(map[string]bool)
	largest := 0
	for _, m := range sendAllTypes(t, everyLanguage...) {
		largest = max(largest, len(m.raw))
		for line := range bytes.SplitSeq(m.raw, []byte("\r\n")) {
			if len(line) > 998 || bytes.ContainsAny(line, "\r\n") {
				t.Errorf("%s: a line of %d bytes, or ended by half a line end", m, len(line))
			}
			if i := bytes.IndexFunc(line, func(r rune) bool { return r > '~' || r < ' ' && r != '\t' }); i >= 0 {
				t.Errorf("%s: a byte that is not 7-bit text in %q", m, line)
			}
		}
		parsed, err := mail.ReadMessage(bytes.NewReader(m.raw))
		if err != nil {
			t.Fatalf("%s: %v", m, err)
		}
		for name, values := range parsed.Header {
			pattern, ok := wanted[name]
			if !ok || len(values) != 1 || !regexp.MustCompile(`^`+pattern+`$`).MatchString(values[0]) {
				t.Errorf("%s: %s: %q, want %s", m, name, values, pattern)
			}
		}
		if len(parsed.Header) != len(wanted) {
			t.Errorf("%s: %d headers, want %d", m, len(parsed.Header), len(wanted))
		}
		if date, err := parsed.Header.Date(); err != nil || time.Since(date).Abs() > time.Minute {
			t.Errorf("%s: Date is %v, %v", m, date, err)
		}
		if got := parsed.Header.Get("Content-Language"); got != m.locale {
			t.Errorf("%s: Content-Language is %s", m, got)
		}
		for _, name := range []string{"Message-Id", "X-Entity-Ref-Id"} {
			if id := name + parsed.Header.Get(name); seen[id] {
				t.Errorf("%s: %s came before", m, id)
			} else {
				seen[id] = true
			}
		}
		m.checkParts(t, parsed)
	}
	t.Logf("the largest message has %d bytes", largest)
	if largest > 32<<10 {
		t.Errorf("the largest message has %d bytes, want at most 32 KB: Gmail clips at 102 KB of HTML", largest)
	}
}

// checkParts asks for the same message in text and in HTML, in this order.
func (m arrived) checkParts(t *testing.T, message *mail.Message) {
	t.Helper()
	_, parameters, err := mime.ParseMediaType(message.Header.Get("Content-Type"))
	if err != nil {
		t.Fatalf("%s: %v", m, err)
	}
	var types, contents []string
	for parts := multipart.NewReader(message.Body, parameters["boundary"]); ; {
		part, err := parts.NextRawPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("%s: %v", m, err)
		}
		var content io.Reader = quotedprintable.NewReader(part)
		if part.Header.Get("Content-Transfer-Encoding") == "base64" {
			content = base64.NewDecoder(base64.StdEncoding, part)
		}
		text, err := io.ReadAll(content)
		if err != nil {
			t.Fatalf("%s: %v", m, err)
		}
		types = append(types, part.Header.Get("Content-Type"))
		contents = append(contents, strings.ReplaceAll(string(text), "&amp;", "&"))
	}
	if !slices.Equal(types, []string{"text/plain; charset=utf-8", "text/html; charset=utf-8"}) {
		t.Fatalf("%s: the parts are %v", m, types)
	}
	code, _ := m.payload["code"].(string)
	link, _ := m.payload["link"].(string)
	for i, content := range contents {
		if !strings.Contains(content, code) || !strings.Contains(content, link) || !strings.Contains(content, "ada@example.org") || !strings.Contains(content, "info@acme.example") {
			t.Errorf("%s: the %s part lacks the code, the link, the recipient or the support address", m, types[i])
		}
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(message.Header.Get("Subject"))
	if err != nil || !strings.Contains(contents[1], "<title>"+subject+"</title>") {
		t.Errorf("%s: the subject %q (%v) is not the title", m, subject, err)
	}
	if code != "" && strings.Contains(subject, code) {
		t.Errorf("%s: the subject has the code", m)
	}
}
