package admin

import (
	"net/http"
	"net/http/httptest"
	netmail "net/mail"
	"net/url"
	"slices"
	"strings"
	"testing"

	"logto-email-relay/providers"
)

func openInbox(t *testing.T) *providers.Inbox {
	t.Helper()
	inbox := new(providers.Inbox)
	for _, m := range testBox() {
		if _, err := inbox.Send(t.Context(), m.Message); err != nil {
			t.Fatal(err)
		}
	}
	return inbox
}

// submit sends a form as the page's own button does.
func submit(h http.Handler, path string, form url.Values) *http.Response {
	r := httptest.NewRequest("POST", "http://127.0.0.1:9090"+path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	return serve(h, r)
}

func TestMailsOfTheInboxCanBeDownloadedAndDeleted(t *testing.T) {
	inbox := openInbox(t)
	h := adminWith("", inbox, ready)
	const path = "/inbox/0newest0000000000000000000"
	got := get(h, path+"/message.eml")
	if got.StatusCode != 200 || got.Header.Get("Content-Type") != "message/rfc822" ||
		got.Header.Get("Content-Disposition") != "attachment; filename=SignIn-0newest0000000000000000000.eml" {
		t.Fatalf("got %d with %v", got.StatusCode, got.Header)
	}
	m, err := netmail.ReadMessage(strings.NewReader(bodyOf(t, got)))
	if err != nil || m.Header.Get("Message-ID") != "<0newest@acme.example>" || !strings.HasPrefix(m.Header.Get("Content-Type"), "multipart/alternative") {
		t.Errorf("got %v, %v", m, err)
	}

	if got := submit(h, path+"/delete", nil); got.StatusCode != 303 || got.Header.Get("Location") != "/inbox" || len(inbox.Mails()) != 1 {
		t.Errorf("got %d, and %d mails are left", got.StatusCode, len(inbox.Mails()))
	}
	for _, gone := range []string{path, path + "/message.eml"} {
		if got := get(h, gone); got.StatusCode != 404 {
			t.Errorf("%s: got %d", gone, got.StatusCode)
		}
	}
	if got := submit(h, path+"/delete", nil); got.StatusCode != 404 {
		t.Errorf("deleted twice: got %d", got.StatusCode)
	}
	if got := submit(h, "/inbox/clear", nil); got.StatusCode != 303 || len(inbox.Mails()) != 0 {
		t.Errorf("got %d, and %d mails are left", got.StatusCode, len(inbox.Mails()))
	}
}

func TestTheScriptOfTheInboxIsAFileOfItsOwn(t *testing.T) {
	got := get(adminWith("", box{}, ready), "/live.js")
	if got.StatusCode != 200 || got.Header.Get("Content-Type") != "text/javascript; charset=utf-8" || !strings.Contains(bodyOf(t, got), "refresh") {
		t.Errorf("got %d with %v", got.StatusCode, got.Header)
	}
}

func TestSnippet(t *testing.T) {
	for _, test := range []struct{ html, text, want string }{
		{"", " Your code\n is 1. ", "Your code is 1."},
		{`<html><head><title>T</title><style>a{}</style></head><body><div style="display:none">Preheader</div><p>A &amp; B</p>`, "", "Preheader A & B"},
		{"<p>Before</p>" + strings.Repeat("\u034f\u200c\u00a0", 100) + "<p>123456</p>", "", "Before"},
		{"<p>می\u200cخواهم</p>", "", "می\u200cخواهم"}, // part of a word
		{"<p>" + strings.Repeat("é", 200), "", strings.Repeat("é", 140) + "…"},
		{"<script>no</script>yes", "", "yes"},
		{"<p>" + strings.Repeat("é", 140), "", strings.Repeat("é", 140)},
		{"", strings.Repeat("\u034f", 11) + "123456", ""}, // more than 20 bytes
		{"", strings.Repeat("\u034f", 10) + "123456", strings.Repeat("\u034f", 10) + "123456"},
		{"<p>A<b>B</b><title>T</title><p>C", "", "A B C"},
	} {
		if got := snippet(test.html, test.text); got != test.want {
			t.Errorf("%q: got %q, want %q", test.html, got, test.want)
		}
	}
}

func TestLinks(t *testing.T) {
	got := linksOf(`<a href="https://a.example/?a=1&amp;b=2">Sign&nbsp;in <b>now</b></a><A HREF='mailto:x@a.example'><img src="i"></A>
<a href="https://a.example/?a=1&amp;b=2">Sign in now</a><a name="n">anchor</a><a href="https://open.example">never closed`)
	want := []link{{"Sign in now", "https://a.example/?a=1&b=2"}, {"", "mailto:x@a.example"}, {"anchor", ""}}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWhatMailProgramsDoNotShow(t *testing.T) {
	for document, want := range map[string]string{
		"": "",
		`<html lang="en"><img src="https://a.example/x.png" alt=""><a href="https://a.example">x</a>`: "",
		`<html lang="en"><div style="Display: flex">`:                                                 "flex boxes",
		`<html lang="en"><img src="http://a.example/x.png" alt="x">`:                                  "pictures over http",
		`<html lang="en"><img src="https://a.example/x.png">`:                                         "without alt",
		`<p>x`:                   "no lang",
		`<html lang="en"><form>`: "forms",
		`<html lang="en">` + strings.Repeat("x", gmailClips-16): "",
		`<html lang="en">` + strings.Repeat("x", gmailClips-15): "102 KB: Gmail cuts",
	} {
		got := strings.Join(checkHTML(document), "; ")
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%.60q: got %q, want %q", document, got, want)
		}
	}
}

func FuzzInspect(f *testing.F) {
	f.Add(mailHTML)
	f.Add("<a href=x><a>&#0;\x80<title>")
	f.Fuzz(func(t *testing.T, document string) {
		if short := []rune(snippet(document, "")); len(short) > snippetLength+1 {
			t.Errorf("%d characters", len(short))
		}
		linksOf(document)
		checkHTML(document)
	})
}
