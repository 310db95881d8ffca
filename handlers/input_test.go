package handlers

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"logto-email-relay/handlers/web"
	"logto-email-relay/mail"
	"logto-email-relay/templates"
)

// input is one thing that a caller may send.
type input struct {
	name string
	body string
	// change makes the request out of order.
	change func(r *http.Request)
	code   int
	word   mail.Reason
	locale string // of the answer; "en" when empty
}

func header(name string, values ...string) func(*http.Request) {
	return func(r *http.Request) { r.Header[http.CanonicalHeaderKey(name)] = values }
}

func chunked(r *http.Request) { r.ContentLength = -1 }

// with puts one key's value into a body that is in order otherwise.
func with(key, value string) string {
	fields := map[string]string{"to": `"alice@example.com"`, "type": `"SignIn"`, "payload": `{"code":"123456","locale":"fr"}`}
	fields[key] = value
	var parts []string
	for _, key := range []string{"to", "type", "payload", "ip"} {
		if fields[key] != "" {
			parts = append(parts, `"`+key+`":`+fields[key])
		}
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// payload adds the code that a mail needs, unless the members have one.
func payload(members string) string {
	if !strings.Contains(members, `"code"`) {
		members += `,"code":"123456"`
	}
	return with("payload", "{"+members+"}")
}

var good = with("ip", `"203.0.113.7"`)

func inputs() []input {
	deep := strings.Repeat(`{"a":`, 9000) + "1" + strings.Repeat("}", 9000)
	large := payload(`"padding":"` + strings.Repeat("x", web.MaxJSON) + `"`)
	exact := payload(`"padding":"` + strings.Repeat("x", web.MaxJSON-len(payload(`"padding":""`))) + `"`)
	return []input{
		{name: "in order", body: good, code: 200},
		{name: "in order, with a charset", body: good, change: header("Content-Type", "Application/JSON; charset=utf-8"), code: 200},
		{name: "in order, with blanks and a line end", body: " " + good + " \r\n", code: 200},
		{name: "in order, chunked", body: good, change: chunked, code: 200},
		{name: "64 KiB exactly", body: exact, code: 200},

		{name: "no body", body: "", code: 400, word: "malformed"},
		{name: "blanks", body: "  \n", code: 400, word: "malformed"},
		{name: "not JSON", body: "to=alice@example.com&type=SignIn", code: 400, word: "malformed"},
		{name: "HTML", body: "<script>alert(1)</script>", code: 400, word: "malformed"},
		{name: "a list", body: "[" + good + "]", code: 400, word: "malformed"},
		{name: "a text", body: `"alice@example.com"`, code: 400, word: "malformed"},
		{name: "null", body: "null", code: 400, word: "malformed"},
		{name: "two values", body: good + good, code: 400, word: "malformed"},
		{name: "rubbish after it", body: good + "}", code: 400, word: "malformed"},
		{name: "cut off", body: good[:len(good)-1], code: 400, word: "malformed"},
		{name: "cut off in a key", body: `{"to`, code: 400, word: "malformed"},
		{name: "a comma too many", body: `{"to":"alice@example.com",}`, code: 400, word: "malformed"},
		{name: "no colon", body: `{"to" "alice@example.com"}`, code: 400, word: "malformed"},
		{name: "a byte order mark", body: "\ufeff" + good, code: 400, word: "malformed"},
		{name: "UTF-16", body: "{\x00\"\x00t\x00", code: 400, word: "malformed"},
		{name: "not UTF-8", body: payload("\"name\":\"\xff\xfe\""), code: 400, word: "malformed"},
		{name: "a control character in a text", body: with("to", "\"alice\n@example.com\""), code: 400, word: "malformed"},
		{name: "a key twice", body: `{"to":"eve@example.com",` + good[1:], code: 400, word: "malformed"},
		{name: "a key twice, once escaped", body: `{"\u0074o":"eve@example.com",` + good[1:], code: 400, word: "malformed"},
		{name: "a key twice, further down", body: payload(`"code":"1","code":"2"`), code: 400, word: "malformed"},
		{name: "9,000 levels deep", body: with("payload", deep), code: 400, word: "malformed"},
		{name: "9,000 levels deep and never closed", body: strings.Repeat("[", 9000), code: 400, word: "malformed"},
		{name: "33 levels deep", body: payload(`"a":` + strings.Repeat("[", 31) + strings.Repeat("]", 31)), code: 400, word: "malformed"},
		{name: "32 levels deep", body: payload(`"a":` + strings.Repeat("[", 30) + strings.Repeat("]", 30)), code: 200},
		{name: "brackets in a text", body: payload(`"a":"\"` + strings.Repeat("[", 100) + `"`), code: 200},
		{name: "a number without end", body: payload(`"seats":1` + strings.Repeat("0", 5000)), code: 200},

		{name: "no content type", body: good, change: func(r *http.Request) { r.Header.Del("Content-Type") }, code: 415, word: "unsupported_media_type"},
		{name: "wrong content type", body: good, change: header("Content-Type", "text/plain"), code: 415, word: "unsupported_media_type"},
		{name: "a form", body: "to=a", change: header("Content-Type", "application/x-www-form-urlencoded"), code: 415, word: "unsupported_media_type"},
		{name: "a broken content type", body: good, change: header("Content-Type", "application/json; ="), code: 415, word: "unsupported_media_type"},
		{name: "compressed", body: "\x1f\x8b", change: header("Content-Encoding", "gzip"), code: 415, word: "unsupported_media_type"},
		{name: "over 64 KiB", body: large, code: 413, word: "too_large"},
		{name: "over 64 KiB, chunked", body: large, change: chunked, code: 413, word: "too_large"},
		{name: "a byte over 64 KiB, chunked", body: exact + " ", change: chunked, code: 413, word: "too_large"},

		{name: "no to", body: with("to", ""), code: 422, word: "invalid", locale: "fr"},
		{name: "an empty to", body: with("to", `""`), code: 422, word: "invalid", locale: "fr"},
		{name: "a null to", body: with("to", "null"), code: 422, word: "invalid", locale: "fr"},
		{name: "a list as to", body: with("to", `["alice@example.com"]`), code: 422, word: "invalid", locale: "fr"},
		{name: "a number as to", body: with("to", "15551234567"), code: 422, word: "invalid", locale: "fr"},
		{name: "an object as to", body: with("to", `{"address":"alice@example.com"}`), code: 422, word: "invalid", locale: "fr"},
		{name: "two addresses", body: with("to", `"a@example.com,b@example.com"`), code: 422, word: "invalid", locale: "fr"},
		{name: "NUL in to", body: with("to", `"alice\u0000@example.com"`), code: 422, word: "invalid", locale: "fr"},
		{name: "CR in to", body: with("to", `"alice@example.com\r"`), code: 422, word: "invalid", locale: "fr"},
		{name: "LF in to", body: with("to", `"alice@example.com\nBcc: eve@example.com"`), code: 422, word: "invalid", locale: "fr"},
		{name: "no type", body: with("type", ""), code: 422, word: "invalid", locale: "fr"},
		{name: "an empty type", body: with("type", `""`), code: 422, word: "invalid", locale: "fr"},
		{name: "a type of blanks", body: with("type", `" "`), code: 422, word: "invalid", locale: "fr"},
		{name: "a type that is a path", body: with("type", `"../SignIn"`), code: 422, word: "invalid", locale: "fr"},
		{name: "a type of 65 letters", body: with("type", `"`+strings.Repeat("A", 65)+`"`), code: 422, word: "invalid", locale: "fr"},
		{name: "a type of 64 letters", body: with("type", `"`+strings.Repeat("A", 64)+`"`), code: 200},
		{name: "a type with a line end", body: with("type", `"SignIn\n"`), code: 422, word: "invalid", locale: "fr"},
		{name: "a list as type", body: with("type", `["SignIn"]`), code: 422, word: "invalid", locale: "fr"},
		{name: "a type that begins with a digit", body: with("type", `"2SignIn"`), code: 422, word: "invalid", locale: "fr"},
		{name: "a type that begins with a dash", body: with("type", `"-SignIn"`), code: 422, word: "invalid", locale: "fr"},
		{name: "a type of letters, digits and dashes", body: with("type", `"azAZ_-09"`), code: 200},
		{name: "a type that nobody knows", body: with("type", `"Surprise"`), code: 200},
		{name: "no payload", body: with("payload", ""), code: 422, word: "invalid"},
		{name: "a null payload", body: with("payload", "null"), code: 422, word: "invalid"},
		{name: "a text as payload", body: with("payload", `"123456"`), code: 422, word: "invalid"},
		{name: "a list as payload", body: with("payload", `["123456"]`), code: 422, word: "invalid"},
		{name: "an empty payload", body: strings.Replace(with("payload", "{}"), "SignIn", "Generic", 1), code: 200},
		{name: "keys in another case", body: strings.Replace(good, `"to"`, `"To"`, 1), code: 422, word: "invalid", locale: "fr"},
		{name: "a second key in another case", body: `{"TO":"eve@example.com",` + good[1:], code: 200},

		{name: "a link to a script", body: payload(`"link":"javascript:alert(1)"`), code: 422, word: "invalid"},
		{name: "a link without encryption", body: payload(`"link":"http://example.com/"`), code: 422, word: "invalid"},
		{name: "a list as link", body: payload(`"link":["https://example.com/"]`), code: 422, word: "invalid"},
		{name: "a number as link", body: payload(`"link":1`), code: 422, word: "invalid"},
		{name: "false as link", body: payload(`"link":false`), code: 422, word: "invalid"},
		{name: "an object as link", body: payload(`"link":{}`), code: 422, word: "invalid"},
		{name: "a null link", body: payload(`"link":null`), code: 200},
		{name: "an empty link", body: payload(`"link":""`), code: 200},
		{name: "a link", body: payload(`"link":"https://example.com/join"`), code: 200},

		{name: "a number as code", body: payload(`"code":123456`), code: 200},
		{name: "a null code", body: payload(`"code":null`), code: 422, word: "invalid"},
		{name: "an empty code", body: payload(`"code":""`), code: 422, word: "invalid"},
		{name: "a code of blanks", body: payload(`"code":" \u00a0"`), code: 422, word: "invalid"},
		{name: "a code that nobody sees", body: payload(`"code":"\u200b\u2060"`), code: 422, word: "invalid"},
		{name: "a code of letters without a shape", body: payload(`"code":"\u3164 \u2800"`), code: 422, word: "invalid"},
		{name: "no code", body: with("payload", "{}"), code: 422, word: "invalid"},
		{name: "an invitation without a code", body: strings.Replace(with("payload", "{}"), "SignIn", "OrganizationInvitation", 1), code: 200},
		{name: "a type that nobody knows without a code", body: strings.Replace(with("payload", "{}"), "SignIn", "Surprise", 1), code: 200},
		{name: "a code of 64 characters", body: payload(`"code":"` + strings.Repeat("1", 64) + `"`), code: 200},
		{name: "a long code", body: payload(`"code":"` + strings.Repeat("1", 65) + `"`), code: 422, word: "invalid"},
		{name: "a code that mail programs link", body: payload(`"code":"evil.example/now"`), code: 422, word: "invalid"},
		{name: "an address as code", body: payload(`"code":"https://evil.example"`), code: 422, word: "invalid"},
		{name: "a mailbox as code", body: payload(`"code":"thief@evil.example"`), code: 422, word: "invalid"},
		{name: "letters, dashes and blanks as code", body: payload(`"code":"AB-12 cd_34"`), code: 200},
		{name: "a list as code", body: payload(`"code":["123456"]`), code: 422, word: "invalid"},
		{name: "true as code", body: payload(`"code":true`), code: 422, word: "invalid"},

		{name: "a locale of 3,000 characters", body: payload(`"locale":"` + strings.Repeat("x", 3000) + `"`), code: 200},
		{name: "odd types all over", body: payload(`"locale":7,"uiLocales":[],"application":"x","organization":null,"user":true`), code: 200},
		{name: "a list as ip", body: with("ip", `["<b>"]`), code: 200},
		{name: "half a surrogate in to", body: with("to", `"al\ud800ice@example.com"`), code: 422, word: "invalid", locale: "fr"},
		{name: "1,000 values", body: payload(`"a":[` + strings.Repeat("{},[],", 100) + strings.Repeat("0,", maxValues-407) + `0]`), code: 200},
		{name: "1,000 values and signs in a text", body: payload(`"b":",[{","a":[` + strings.Repeat("{},[],", 100) + strings.Repeat("0,", maxValues-408) + `0]`), code: 200},
		{name: "1,001 values", body: payload(`"a":[` + strings.Repeat("{},[],", 100) + strings.Repeat("0,", maxValues-406) + `0]`), code: 400, word: "malformed"},
		{name: "32 levels of objects", body: payload(strings.Repeat(`"a":{`, 30) + strings.Repeat("}", 30)), code: 200},
		{name: "33 levels of objects", body: payload(strings.Repeat(`"a":{`, 31) + strings.Repeat("}", 31)), code: 400, word: "malformed"},
		{name: "33 levels of lists", body: payload(`"a":` + strings.Repeat("[", 31) + strings.Repeat("]", 31)), code: 400, word: "malformed"},
		{name: "far more", body: payload(`"a":[` + strings.Repeat("0,", maxValues) + `0]`), code: 400, word: "malformed"},
		{name: "commas in a text", body: payload(`"a":"\\\"` + strings.Repeat(",[{", maxValues) + `"`), code: 200},
		{name: "60 KB of nothing", body: payload(`"a":[` + strings.Repeat("{},", 20000) + `{}]`), code: 400, word: "malformed"},
		{name: "values never closed", body: strings.Repeat(`[0,`, 20) + strings.Repeat("0,", 20000), code: 400, word: "malformed"},
		{name: "half a surrogate", body: payload(`"name":"\ud800"`), code: 200},
	}
}

func TestInput(t *testing.T) {
	for _, test := range inputs() {
		t.Run(test.name, func(t *testing.T) {
			log := new(logs)
			calls := 0
			h := publicWith(counting(&calls), log)
			r := webhookRequest(test.body)
			if test.change != nil {
				test.change(r)
			}
			got := serve(h, r)
			if test.code == 200 {
				if got.StatusCode != 200 || calls != 1 {
					t.Fatalf("got %d after %d calls: %s", got.StatusCode, calls, log)
				}
				return
			}
			if test.locale == "" {
				test.locale = "en"
			}
			body := bodyOf(t, got)
			got.Body = io.NopCloser(strings.NewReader(body))
			checkFailure(t, got, test.code, test.word, test.locale)
			if calls != 0 {
				t.Error("a refused webhook became a mail")
			}
			line := log.line(t, "request")
			if line["level"] != "WARN" || line["error"] != string(test.word) || line["detail"] == nil {
				t.Errorf("the access line is %v", line)
			}
			// A link, a type or a code that is refused does not blame the address.
			detail, _ := line["detail"].(string)
			if aboutAddress := strings.Contains(body, "for invalid"); test.word == web.Invalid && aboutAddress != strings.HasPrefix(detail, "to:") {
				t.Errorf("%s is answered by %q", detail, body)
			}
		})
	}
}

// FuzzWebhook wants every body to be either a mail in order or a refusal of the
// two kinds that decoding has.
func FuzzWebhook(f *testing.F) {
	for _, body := range captured(f) {
		f.Add([]byte(body))
	}
	for _, input := range inputs() {
		f.Add([]byte(input.body))
	}
	d := newDecoder(templates.Links{Schemes: []string{"https"}})
	f.Fuzz(func(t *testing.T, body []byte) {
		request, err := d.decode(body)
		if err == nil {
			if !json.Valid(body) {
				t.Error("what is not JSON became a mail")
			}
			if key := repeatedKey(body); key != "" {
				t.Errorf("%q occurs twice", key)
			}
			if request.To == "" || strings.ContainsAny(request.To, "\r\n\x00,<>") || !isMessageType(request.Type) || request.Payload == nil {
				t.Errorf("not a request in order: %+v", request)
			}
			return
		}
		var refused *web.Failure
		if !errors.As(err, &refused) || refused.Reason != web.Malformed && refused.Reason != web.Invalid {
			t.Fatalf("an unexpected refusal: %v", err)
		}
		if refused.Reason == web.Invalid && !json.Valid(body) {
			t.Error("what is not JSON is called invalid")
		}
		bound := 60
		if strings.HasPrefix(refused.Detail, "payload.link: ") { // it shows a scheme or a host
			bound = 400
		}
		if refused.Detail == "" || len(refused.Detail) > bound || strings.ContainsFunc(refused.Detail, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("the detail is %q", refused.Detail)
		}
	})
}

// repeatedKey walks an object token by token, another way than the decoder's,
// and returns a key that occurs twice.
func repeatedKey(body []byte) string {
	dec := json.NewDecoder(bytes.NewReader(body))
	_, _ = dec.Token()
	seen := make(map[string]bool)
	for dec.More() {
		token, _ := dec.Token()
		key, _ := token.(string)
		if seen[key] {
			return key
		}
		seen[key] = true
		var value json.RawMessage
		_ = dec.Decode(&value)
	}
	return ""
}

func BenchmarkDecode(b *testing.B) {
	d := newDecoder(templates.Links{Schemes: []string{"https"}})
	for _, name := range []string{"signin", "user-permission-validation-fr-ca-branded"} {
		body := []byte(captured(b)[name])
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				if _, err := d.decode(body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// A message type is a word that names files and stands in logs.
func TestWhatIsAMessageType(t *testing.T) {
	for text, is := range map[string]bool{
		"SignIn": true, "a": true, "Z": true, "Sign-In_2": true, strings.Repeat("x", 64): true, strings.Repeat("x", 65): false,
		"": false, "2x": false, "_x": false, "-x": false, "Sign In": false, "x{": false, "x[": false, "x:": false, "x@": false, "x`": false, "x/": false, "x.": false, "xé": false, "x\n": false,
	} {
		if isMessageType(text) != is {
			t.Errorf("%q: %v", text, !is)
		}
	}
}
