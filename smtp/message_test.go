package smtp

import (
	"mime"
	"strings"
	"testing"
	"unicode/utf8"

	"logto-email-relay/smtp/smtptest"
)

func build(t testing.TB, m *Message) []byte {
	t.Helper()
	built, err := m.AppendTo(nil)
	if err != nil {
		t.Fatal(err)
	}
	return built
}

// Each part takes the encoding that is shorter.
func TestPartEncoding(t *testing.T) {
	for text, want := range map[string]string{
		strings.Repeat("Your code is 482913.\n", 40):                                                     "quoted-printable",
		strings.Repeat("Ihr Code lautet 482913, Grüße.\n", 40):                                           "quoted-printable",
		strings.Repeat("Ваш код подтверждения: 482913.\n", 40):                                           "base64",
		strings.Repeat("您的验证码是 482913。\n", 40):                                                           "base64",
		strings.Repeat("<p class=\"lead dim\">Код</p>\n<!-- and the markup around it is long -->\n", 99): "quoted-printable",
		"éé" + strings.Repeat("x", 12) + "\n":                                                            "quoted-printable", // as long as in Base64
	} {
		built := string(appendPart(nil, "plain", testText(text)))
		if !strings.Contains(built, "Content-Transfer-Encoding: "+want+"\r\n") {
			t.Errorf("%.30q: not in %s", text, want)
		}
		_, body, _ := strings.Cut(built, "\r\n\r\n")
		for name, other := range map[string]string{
			"quoted-printable": string(testText(text).AppendQuoted(nil)),
			"base64":           string(testText(text).AppendBase64(nil)),
		} {
			if len(other) < len(body) {
				t.Errorf("%.30q: %d bytes, but %d in %s", text, len(body), len(other), name)
			}
		}
	}
}

func TestHeaderFolding(t *testing.T) {
	for _, subject := range []string{
		"",
		"Hello",
		"  blanks  inside   and around  ",
		strings.Repeat("word ", 60) + "end",
		strings.Repeat("x", 1500),
		strings.Repeat("длинное ", 60),
		strings.Repeat("長い件名", 80),
		strings.Repeat("👩‍👩‍👧", 40),
		"tab\tinside",
		"=?utf-8?q?not_encoded?=",
		"Привет " + strings.Repeat("plain words between ", 20) + "мир",
	} {
		m := testMessage()
		m.Subject = subject
		built := build(t, m)
		header, _ := smtptest.ReadMIME(t, built)
		got, err := new(mime.WordDecoder).DecodeHeader(header.Get("Subject"))
		if err != nil || got != strings.Trim(subject, " ") {
			t.Errorf("%q arrives as %q: %v", subject, got, err)
		}
		for line := range strings.SplitSeq(string(built), "\r\n") {
			if len(line) > 78 {
				t.Errorf("%.20q: a line of %d: %q", subject, len(line), line)
			}
			if line != "" && strings.Trim(line, " \t") == "" {
				t.Errorf("%.20q: a blank line within the header", subject)
			}
		}
	}
}

// What needs no encoding is to be read by people, and lines are as full as may be.
func TestHeaderForms(t *testing.T) {
	x := func(n int) string { return strings.Repeat("x", n) }
	for subject, want := range map[string]string{
		"~ plain words ~":                      " ~ plain words ~",
		"azAZ09 !*+-/é":                        " =?utf-8?q?azAZ09_!*+-/=C3=A9?=",
		"abcdefghijé":                          " =?utf-8?q?abcdefghij=C3=A9?=", // as long as in Base64
		"abcdefghé,":                           " =?utf-8?b?YWJjZGVmZ2jDqSw=?=",
		x(34) + "  " + x(33):                   " " + x(34) + "  " + x(33), // a line of 78
		x(34) + " " + x(34):                    " " + x(34) + " " + x(34),
		x(34) + " " + x(35):                    " " + x(34) + "\r\n " + x(35),
		x(99) + " y " + x(75) + " zz " + x(80): " " + x(99) + "\r\n y " + x(75) + "\r\n zz\r\n " + x(80),
		x(longestWord):                         " " + x(longestWord),
		x(130) + "é":                           " =?utf-8?q?" + x(55) + "?=\r\n =?utf-8?q?" + x(63) + "?=\r\n =?utf-8?q?" + x(12) + "=C3=A9?=",
	} {
		m := testMessage()
		m.Subject = subject
		_, got, _ := strings.Cut(string(build(t, m)), "\r\nSubject:")
		if got, _, _ = strings.Cut(got, "\r\nAuto-Submitted:"); got != want {
			t.Errorf("%q:\n%q, want\n%q", subject, got, want)
		}
	}
	m := testMessage()
	m.Subject = strings.Repeat("ї", 90)
	_, got, _ := strings.Cut(string(build(t, m)), "\r\nSubject:")
	for i, line := range strings.Split(got, "\r\n")[:4] {
		if i > 0 && i < 4 && len(line) < 72 {
			t.Errorf("line %d has only %d bytes: %q", i, len(line), line)
		}
	}
	for name, want := range map[string]string{
		"=?utf-8?q?x?=":    " =?utf-8?b?PT91dGYtOD9xP3g/PQ==?= <",
		x(longestName):     ` "` + x(longestName) + "\"\r\n <",
		x(longestName + 1): " =?utf-8?q?" + x(58) + "?=\r\n =?utf-8?q?xxx?= <",
		x(76 - len(`From: "" <no-reply@acme.example>`)):     ` "` + x(44) + `" <`,
		x(76 - len(`From: "" <no-reply@acme.example>`) + 1): ` "` + x(45) + "\"\r\n <",
	} {
		m.From.Name = name
		_, got, _ := strings.Cut(string(build(t, m)), "\r\nFrom:")
		if !strings.HasPrefix(got, want+"no-reply@acme.example>\r\n") {
			t.Errorf("%q:\n%.99q, want\n%q", name, got, want)
		}
	}
}

func TestDisplayNames(t *testing.T) {
	for _, name := range []string{
		"", "Acme", "Acme, Inc.", `The "Acme" \ Co.`, "Ünïcode GmbH", "アクメ株式会社", "=?utf-8?q?x?=",
		strings.Repeat("A rather long company name ", 5), strings.Repeat("ї", 200), "a@b <c>", "О'Коннор (Acme)",
	} {
		m := testMessage()
		m.From.Name, m.ReplyTo.Name = name, name
		header, _ := smtptest.ReadMIME(t, build(t, m))
		for _, key := range []string{"From", "Reply-To"} {
			list, err := header.AddressList(key)
			if err != nil || len(list) != 1 || list[0].Name != strings.TrimRight(name, " ") && list[0].Name != name {
				t.Errorf("%s of %q: %v %v", key, name, list, err)
			}
		}
	}
}

func TestMessageRefuses(t *testing.T) {
	for name, spoil := range map[string]func(*Message){
		"message id":    func(m *Message) { m.ID = "a>\r\nb" },
		"long id":       func(m *Message) { m.ID = strings.Repeat("x", longestWord+1) },
		"not ASCII":     func(m *Message) { m.ID = "ü" },
		"angle in id":   func(m *Message) { m.ID = "a<b" },
		"end of id":     func(m *Message) { m.ID = "a>b" },
		"quote in id":   func(m *Message) { m.ID = `a"b` },
		"blank in id":   func(m *Message) { m.ID = "a b" },
		"no id":         func(m *Message) { m.ID = "" },
		"boundary":      func(m *Message) { m.Boundary = "a\"b" },
		"to":            func(m *Message) { m.To = "a\r\nBcc: eve@example.com" },
		"delete in to":  func(m *Message) { m.To = "a\x7fb@example.com" },
		"to at once":    func(m *Message) { m.To = "\nBcc: eve@example.com" },
		"long to":       func(m *Message) { m.To = strings.Repeat("x", longestWord+1) },
		"from":          func(m *Message) { m.From.Address = "a\nb@example.com" },
		"reply address": func(m *Message) { m.ReplyTo.Address = "a\x00b@example.com" },
		"name":          func(m *Message) { m.Headers = []Header{{"X A", "a"}} },
		"no name":       func(m *Message) { m.Headers = []Header{{"", "a"}} },
		"colon":         func(m *Message) { m.Headers = []Header{{"X:A", "a"}} },
	} {
		m := testMessage()
		spoil(m)
		if built, err := m.AppendTo(nil); err == nil {
			t.Errorf("%s: built\n%s", name, built)
		}
	}
}

// What only looks odd is taken.
func TestMessageTakes(t *testing.T) {
	for name, change := range map[string]func(*Message){
		"long id":     func(m *Message) { m.ID = strings.Repeat("x", longestWord) },
		"sign in id":  func(m *Message) { m.ID = "!~" },
		"long to":     func(m *Message) { m.To = strings.Repeat("x", longestWord) },
		"blank in to": func(m *Message) { m.To = `"ada lovelace"@example.net` },
	} {
		m := testMessage()
		change(m)
		header, _ := smtptest.ReadMIME(t, build(t, m))
		if header.Get("Message-ID") != "<"+m.ID+">" || header.Get("To") != "<"+m.To+">" {
			t.Errorf("%s: %q", name, header)
		}
		if !strings.Contains(string(build(t, m)), "\r\nTo: <"+m.To+">\r\n") {
			t.Errorf("%s: To is folded", name)
		}
	}
}

// A text that would break out of its header is encoded.
func TestMessageEncodesBreaks(t *testing.T) {
	m := testMessage()
	m.Subject, m.From.Name, m.Headers = "a\r\nBcc: eve@example.com", "a\r\nb", []Header{{"X-A", "a\n\x00b"}}
	header, _ := smtptest.ReadMIME(t, build(t, m))
	for name, want := range map[string]string{"Subject": m.Subject, "X-A": "a\n\x00b", "Bcc": ""} {
		if got, err := new(mime.WordDecoder).DecodeHeader(header.Get(name)); err != nil || got != want {
			t.Errorf("%s: %q %v", name, got, err)
		}
	}
}

// The message says what it was given, and in UTC.
func TestMessageHeader(t *testing.T) {
	m := testMessage()
	m.To = `"foo."@docomo.ne.jp`
	header, parts := smtptest.ReadMIME(t, build(t, m))
	for name, want := range map[string]string{
		"Date": "Fri, 20 Nov 2026 08:30:15 +0000", "From": `"Acme" <no-reply@acme.example>`, "Reply-To": "<help@acme.example>",
		"To": `<"foo."@docomo.ne.jp>`, "Message-ID": "<" + m.ID + ">", "Auto-Submitted": "auto-generated", "Content-Language": "en",
	} {
		if got := header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if parts["text/plain"] != string(m.Text.(testText)) || parts["text/html"] != string(m.HTML.(testText)) {
		t.Errorf("%q", parts)
	}
	m.HTML, m.ReplyTo, m.Text = nil, Mailbox{}, testText("no line end")
	header, parts = smtptest.ReadMIME(t, build(t, m))
	if header["Reply-To"] != nil || parts["text/plain"] != "no line end\n" {
		t.Errorf("%q %q", header, parts)
	}
}

// constantText costs nothing to append, so that the frame alone is measured.
type constantText string

func (text constantText) QuotedLen() int               { return len(text) }
func (text constantText) Base64Len() int               { return 2 * len(text) }
func (text constantText) AppendQuoted(b []byte) []byte { return append(b, text...) }
func (text constantText) AppendBase64(b []byte) []byte { return append(b, text...) }

func BenchmarkMessage(b *testing.B) {
	for name, subject := range map[string]string{"en": "Your sign-in code", "ru": "Ваш код для входа в систему"} {
		b.Run(name, func(b *testing.B) {
			m := testMessage()
			m.Subject, m.Text, m.HTML = subject, constantText("text\r\n"), constantText("<p>HTML</p>\r\n")
			var buffer []byte
			b.ReportAllocs()
			for b.Loop() {
				buffer, _ = m.AppendTo(buffer[:0])
			}
		})
	}
}

func FuzzMessage(f *testing.F) {
	f.Add("Your code", "Acme", "ada@example.net", "Your code is 1.\n.\n", "<p>=</p>\r\n  \n", "x")
	f.Add("код", `A "B"`, "foo.@docomo.ne.jp", "код \r\n", "", "значение")
	f.Add(strings.Repeat("長", 99), "ї", "ü@example.net", strings.Repeat(". ", 200), strings.Repeat("é.", 99), "a b")
	f.Add("0", "00\x0000000000000000\x00000TTTTTWWWW0", "0", "0", "0", "0")
	f.Add(strings.Repeat("Y", 67)+"  Y", "0", "4", "0", "", "x")
	f.Fuzz(func(t *testing.T, subject, name, to, text, html, value string) {
		for _, s := range []string{subject, name, text, html, value} {
			if !utf8.ValidString(s) || len(s) > 5000 {
				return
			}
		}
		m := testMessage()
		m.Subject, m.From.Name, m.To = subject, name, to
		m.Text, m.HTML = testText(text), testText(html)
		m.Headers = []Header{{"X-Value", value}}
		built, err := m.AppendTo(nil)
		if err != nil {
			return
		}
		header, parts := smtptest.ReadMIME(t, built)
		if got, err := new(mime.WordDecoder).DecodeHeader(header.Get("Subject")); err != nil || got != strings.Trim(subject, " ") {
			t.Errorf("subject %q arrives as %q: %v", subject, got, err)
		}
		lines := strings.NewReplacer("\r\n", "\n") // as readMIME does
		if got := parts["text/plain"]; strings.TrimSuffix(got, "\n") != strings.TrimSuffix(lines.Replace(text), "\n") {
			t.Errorf("text %q arrives as %q", text, got)
		}
		if got := parts["text/html"]; got != lines.Replace(html) {
			t.Errorf("HTML %q arrives as %q", html, got)
		}
	})
}
