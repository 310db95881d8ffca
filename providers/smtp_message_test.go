package providers

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	netmail "net/mail"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"logto-email-relay/mail"
)

func buildMIME(t testing.TB, m *mail.Message, own ...mail.Header) []byte {
	t.Helper()
	built, err := appendMIME(nil, m, own)
	if err != nil {
		t.Fatal(err)
	}
	return built
}

// readMIME reads a message with the standard library, and checks what every
// message must keep to. It returns the header and the decoded parts by type.
func readMIME(t testing.TB, raw []byte) (netmail.Header, map[string]string) {
	t.Helper()
	if !bytes.HasSuffix(raw, []byte("\r\n")) {
		t.Fatalf("does not end with a line end: %q", raw[max(0, len(raw)-20):])
	}
	header := true
	for line := range bytes.SplitSeq(bytes.TrimSuffix(raw, []byte("\r\n")), []byte("\r\n")) {
		limit := 76
		if len(line) == 0 {
			header = false
		}
		if header && !bytes.Contains(line, []byte("=?utf-8?")) {
			limit = 998
		}
		if len(line) > limit {
			t.Errorf("a line of %d bytes: %q", len(line), line)
		}
		if bytes.HasPrefix(line, []byte(".")) {
			t.Errorf("a line begins with a dot: %q", line)
		}
		if bytes.ContainsAny(line, "\r\n\x00") {
			t.Errorf("a bare line end: %q", line)
		}
	}
	message, err := netmail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		t.Fatalf("%v in\n%s", err, raw)
	}
	if got := message.Header.Get("MIME-Version"); got != "1.0" {
		t.Errorf("MIME-Version %q", got)
	}
	if len(message.Header["X-Mailer"])+len(message.Header["User-Agent"]) > 0 {
		t.Error("the message names its library")
	}
	parts := map[string]string{}
	read := func(header interface{ Get(string) string }, body io.Reader) string {
		kind, parameters, err := mime.ParseMediaType(header.Get("Content-Type"))
		if err != nil || parameters["charset"] != "utf-8" {
			t.Errorf("Content-Type %q: %v", header.Get("Content-Type"), err)
		}
		switch encoding := header.Get("Content-Transfer-Encoding"); encoding {
		case "quoted-printable":
			body = quotedprintable.NewReader(body)
		case "base64":
			body = base64.NewDecoder(base64.StdEncoding, body)
		default:
			t.Errorf("Content-Transfer-Encoding %q", encoding)
		}
		text, err := io.ReadAll(body)
		if err != nil {
			t.Error(err)
		}
		parts[kind] = strings.ReplaceAll(string(text), "\r\n", "\n")
		return kind
	}
	kind, parameters, err := mime.ParseMediaType(message.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	if kind != "multipart/alternative" {
		read(message.Header, message.Body)
		return message.Header, parts
	}
	var order []string
	reader := multipart.NewReader(message.Body, parameters["boundary"])
	for {
		part, err := reader.NextRawPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		order = append(order, read(part.Header, part))
	}
	if got := strings.Join(order, " "); got != "text/plain text/html" {
		t.Errorf("the parts are %s", got)
	}
	return message.Header, parts
}

func TestSMTPMessageGolden(t *testing.T) {
	english := smtpMessage()
	english.Headers = append(english.Headers,
		mail.Header{Name: "X-Auto-Response-Suppress", Value: "OOF, AutoReply, DR, RN, NRN"},
		mail.Header{Name: "X-Entity-Ref-ID", Value: english.ID})

	japanese := smtpMessage()
	japanese.From.Name = "アクメ株式会社"
	japanese.ReplyTo.Name = `Acme "Help" Desk`
	japanese.To = "foo.@docomo.ne.jp"
	japanese.Subject = "アクメ株式会社のサインイン用確認コードをお送りします。このメールに心当たりがない場合は無視してください"
	japanese.Text = "確認コードは 482913 です。\n\n有効期限は 10 分です。\n.\n"
	japanese.HTML = mail.BodyOf("<!DOCTYPE html>\n<html lang=\"ja\"><head><title>確認コード</title>\n",
		"<!--[if mso]><style>td{font-family:Arial}</style><![endif]-->\n</head>\n",
		"<body style=\"margin:0;padding:0;background-color:#f3f4f6\">\n<p>確認コードは <strong>482913</strong> です。</p>   \n",
		".signature { }\n</body></html>")
	japanese.Locale = "ja"

	plain := smtpMessage()
	plain.HTML = nil
	plain.ReplyTo = mail.Address{}
	plain.Subject = "Somebody with quite a long name has invited you to join an organization whose name is long as well"

	for name, m := range map[string]*mail.Message{"english": english, "japanese": japanese, "plain": plain} {
		t.Run(name, func(t *testing.T) {
			built := buildMIME(t, m)
			file := filepath.Join("testdata", "smtp_"+name+".eml")
			if *update {
				if err := os.WriteFile(file, built, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			golden, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(built, golden) {
				t.Errorf("differs from %s:\n%s", file, built)
			}
			header, parts := readMIME(t, built)
			decoded, err := new(mime.WordDecoder).DecodeHeader(header.Get("Subject"))
			if err != nil || decoded != m.Subject {
				t.Errorf("subject %q: %v", decoded, err)
			}
			if got := parts["text/plain"]; strings.TrimSuffix(got, "\n") != strings.TrimSuffix(m.Text, "\n") {
				t.Errorf("text %q", got)
			}
			if parts["text/html"] != m.HTML.String() {
				t.Errorf("HTML %q", parts["text/html"])
			}
			date, err := header.Date()
			if err != nil || !date.Equal(m.Date) {
				t.Errorf("date %v: %v", date, err)
			}
			if header.Get("Message-ID") != "<"+m.MessageID+">" {
				t.Errorf("Message-ID %q", header.Get("Message-ID"))
			}
			from, err := header.AddressList("From")
			if err != nil || *from[0] != m.From {
				t.Errorf("from %v: %v", from, err)
			}
			if to := header.Get("To"); !strings.HasPrefix(to, "<") || !strings.HasSuffix(to, ">") {
				t.Errorf("to %q", to)
			}
		})
	}
}

// Each part takes the encoding that is shorter.
func TestSMTPPartEncoding(t *testing.T) {
	for text, want := range map[string]string{
		strings.Repeat("Your code is 482913.\n", 40):                                                     "quoted-printable",
		strings.Repeat("Ihr Code lautet 482913, Grüße.\n", 40):                                           "quoted-printable",
		strings.Repeat("Ваш код подтверждения: 482913.\n", 40):                                           "base64",
		strings.Repeat("您的验证码是 482913。\n", 40):                                                           "base64",
		strings.Repeat("<p class=\"lead dim\">Код</p>\n<!-- and the markup around it is long -->\n", 99): "quoted-printable",
	} {
		built := string(appendPart(nil, "plain", mail.BodyOf(text)))
		if !strings.Contains(built, "Content-Transfer-Encoding: "+want+"\r\n") {
			t.Errorf("%.30q: not in %s", text, want)
		}
		_, body, _ := strings.Cut(built, "\r\n\r\n")
		for name, other := range map[string]string{
			"quoted-printable": string(mail.BodyOf(text).AppendQuoted(nil)),
			"base64":           string(mail.BodyOf(text).AppendBase64(nil)),
		} {
			if len(other) < len(body) {
				t.Errorf("%.30q: %d bytes, but %d in %s", text, len(body), len(other), name)
			}
		}
	}
}

// inPieces cuts a text into as many pieces as it has characters.
func inPieces(text string) (list mail.Body) {
	for _, r := range text {
		list = append(list, mail.OwnPart(string(r)))
	}
	return list
}

func TestSMTPHeaderFolding(t *testing.T) {
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
		m := smtpMessage()
		m.Subject = subject
		built := buildMIME(t, m)
		header, _ := readMIME(t, built)
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

func TestSMTPDisplayNames(t *testing.T) {
	for _, name := range []string{
		"", "Acme", "Acme, Inc.", `The "Acme" \ Co.`, "Ünïcode GmbH", "アクメ株式会社", "=?utf-8?q?x?=",
		strings.Repeat("A rather long company name ", 5), strings.Repeat("ї", 200), "a@b <c>", "О'Коннор (Acme)",
	} {
		m := smtpMessage()
		m.From.Name, m.ReplyTo.Name = name, name
		header, _ := readMIME(t, buildMIME(t, m))
		for _, key := range []string{"From", "Reply-To"} {
			list, err := header.AddressList(key)
			if err != nil || len(list) != 1 || list[0].Name != strings.TrimRight(name, " ") && list[0].Name != name {
				t.Errorf("%s of %q: %v %v", key, name, list, err)
			}
		}
	}
}

// A header must say the same address to others as the envelope.
func TestSMTPRecipientHeader(t *testing.T) {
	for _, address := range []string{"ada@example.net", "foo.@docomo.ne.jp", ".foo@docomo.ne.jp", "odd..local@example.com",
		`"odd..local"@example.com`, `"a\"b"@example.com`, `"a"b"@example.com`, `"a\"@example.com`, `a\b@example.com`, "a b@example.com",
		"a@b@example.com", "a,b@example.com", "new.user+tag@example.com", "ünïcode@xn--exmple-cua.com"} {
		m := smtpMessage()
		m.To = address
		header, _ := readMIME(t, buildMIME(t, m))
		list, err := header.AddressList("To")
		if err != nil || len(list) != 1 || list[0].Name != "" {
			t.Errorf("%q: To %q: %v", address, header.Get("To"), err)
		}
	}
}

func TestSMTPMessageRefusesBreaks(t *testing.T) {
	for name, spoil := range map[string]func(*mail.Message){
		"subject":    func(m *mail.Message) { m.Subject = "a\r\nBcc: eve@example.com" },
		"subject LF": func(m *mail.Message) { m.Subject = "a\nb" },
		"NUL":        func(m *mail.Message) { m.Subject = "a\x00b" },
		"from name":  func(m *mail.Message) { m.From.Name = "a\r\nb" },
		"reply name": func(m *mail.Message) { m.ReplyTo.Name = "a\rb" },
		"message id": func(m *mail.Message) { m.MessageID = "a>\r\nb" },
		"no id":      func(m *mail.Message) { m.MessageID = "" },
		"boundary":   func(m *mail.Message) { m.ID = "a\"b" },
		"header":     func(m *mail.Message) { m.Headers = []mail.Header{{Name: "X-A", Value: "a\nb"}} },
		"name":       func(m *mail.Message) { m.Headers = []mail.Header{{Name: "X A", Value: "a"}} },
		"colon":      func(m *mail.Message) { m.Headers = []mail.Header{{Name: "X:A", Value: "a"}} },
	} {
		m := smtpMessage()
		spoil(m)
		built, failure := new(smtpProvider).address(m)
		if failure == nil {
			failure = built.build()
		}
		if failure == nil {
			t.Errorf("%s: built\n%s", name, built.data)
		}
	}
}

// The operator's headers of a provider replace those of every mail.
func TestSMTPCustomHeaders(t *testing.T) {
	m := smtpMessage()
	m.Headers = append(m.Headers, mail.Header{Name: "X-Environment", Value: "staging"})
	header, _ := readMIME(t, buildMIME(t, m, mail.Header{Name: "x-environment", Value: "production ✓"},
		mail.Header{Name: "X-SMTPAPI", Value: `{"filters":{"clicktrack":{"settings":{"enable":0}}}}`}))
	got, _ := new(mime.WordDecoder).DecodeHeader(header.Get("X-Environment"))
	if len(header["X-Environment"]) != 1 || got != "production ✓" {
		t.Errorf("%q", header["X-Environment"])
	}
	if header.Get("X-Smtpapi") != `{"filters":{"clicktrack":{"settings":{"enable":0}}}}` {
		t.Errorf("%q", header["X-Smtpapi"])
	}
	if header.Get("Auto-Submitted") != "auto-generated" || header.Get("Content-Language") != "en" {
		t.Errorf("%v", header)
	}
}

func FuzzSMTPMessage(f *testing.F) {
	f.Add("Your code", "Acme", "ada@example.net", "Your code is 1.\n.\n", "<p>=</p>\r\n  \n", "x")
	f.Add("код", `A "B"`, "foo.@docomo.ne.jp", "код \r\n", "", "значение")
	f.Add(strings.Repeat("長", 99), "ї", "ü@example.net", strings.Repeat(". ", 200), strings.Repeat("é.", 99), "a b")
	f.Fuzz(func(t *testing.T, subject, name, to, text, html, value string) {
		for _, s := range []string{subject, name, text, html, value} {
			if !utf8.ValidString(s) || len(s) > 5000 {
				return
			}
		}
		m := smtpMessage()
		m.Subject, m.From.Name, m.To, m.Text = subject, name, to, text
		m.HTML = inPieces(html)
		m.Headers = []mail.Header{{Name: "X-Value", Value: value}}
		built, err := appendMIME(nil, m, nil)
		if err != nil {
			return
		}
		header, parts := readMIME(t, built)
		if got, err := new(mime.WordDecoder).DecodeHeader(header.Get("Subject")); err != nil || got != strings.Trim(subject, " ") {
			t.Errorf("subject %q arrives as %q: %v", subject, got, err)
		}
		lines := strings.NewReplacer("\r\n", "\n", "\r", "\n")
		if got := parts["text/plain"]; strings.TrimSuffix(got, "\n") != strings.TrimSuffix(lines.Replace(text), "\n") {
			t.Errorf("text %q arrives as %q", text, got)
		}
		if got := parts["text/html"]; got != lines.Replace(html) {
			t.Errorf("HTML %q arrives as %q", html, got)
		}
	})
}
