package smtptest

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	netmail "net/mail"
	"strings"
	"testing"
)

// ReadMIME reads a message with the standard library, and checks what every
// message must keep to. It returns the header and the decoded parts by type.
func ReadMIME(t testing.TB, raw []byte) (netmail.Header, map[string]string) {
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
