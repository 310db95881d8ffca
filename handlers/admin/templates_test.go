package admin

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"logto-email-relay/mail"
	"logto-email-relay/settings"
	"logto-email-relay/templates"
)

func openCatalogue(t *testing.T, s templates.Settings) *templates.Catalogue {
	t.Helper()
	catalogue, err := templates.Open(s)
	if err != nil {
		t.Fatal(err)
	}
	return catalogue
}

func adminWithGallery(gallery Gallery, token string) http.Handler {
	return adminWithProblem(gallery, token, nil)
}

func adminWithProblem(gallery Gallery, token string, problem error) http.Handler {
	return New(Options{Token: settings.NewSecret(token), Problem: func() error { return problem },
		Status: ready, Metrics: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler),
		Gallery: gallery, Branding: templates.Branding{SenderName: "Acme & Söhne"}, Sender: "Acme & Söhne",
	})
}

// Every mail has its page, in every form, and its HTML is shut in.
func TestTheGalleryShowsEveryMail(t *testing.T) {
	catalogue := openCatalogue(t, templates.DefaultSettings())
	h := adminWithGallery(catalogue, "")
	types, languages := catalogue.Types(), catalogue.Languages()
	if len(types) != 9 || len(languages) < 20 {
		t.Fatalf("%d types in %d languages", len(types), len(languages))
	}
	for _, messageType := range types {
		list := get(h, "/templates/"+messageType)
		body := bodyOf(t, list)
		if list.StatusCode != 200 || list.Header.Get("Content-Security-Policy") != pagePolicy {
			t.Errorf("%s: got %d with %v", messageType, list.StatusCode, list.Header)
		}
		for _, language := range languages {
			path := "/templates/" + messageType + "/" + language.Locale
			for _, want := range []string{
				`<iframe class="mail light" sandbox loading="lazy" tabindex="-1" src="` + path + `/html?scheme=light"`,
				`<a href="` + path + `"><bdi lang="` + language.Locale + `">` + language.Name + `</bdi> <span`,
			} {
				if !strings.Contains(body, want) {
					t.Errorf("%s: no %s", messageType, want)
				}
			}
			looks := map[string]string{"": `<iframe class="mail light" sandbox src="` + path + `/html?scheme=light"`}
			if language.Locale == "ar" {
				looks["?scheme=dark&width=phone"] = `<iframe class="mail dark phone" sandbox src="` + path + `/html?scheme=dark"`
				looks["?view=text"] = `<pre class="card" dir="auto">`
				looks["?view=source"] = "&lt;!DOCTYPE html&gt;"
			}
			for query, want := range looks {
				got := get(h, path+query)
				body := bodyOf(t, got)
				if got.StatusCode != 200 || got.Header.Get("Content-Security-Policy") != pagePolicy || got.Header.Get("Cache-Control") != "no-store" {
					t.Errorf("%s%s: got %d with %v", path, query, got.StatusCode, got.Header)
				}
				if !strings.Contains(body, want) || !strings.Contains(body, `<h1><bdi lang="`+language.Locale+`">`) {
					t.Errorf("%s%s: no %s in\n%s", path, query, want, body)
				}
				if strings.Contains(body, "<script") || strings.Contains(body, "allow-") || strings.Contains(body, ` style="`) {
					t.Errorf("%s%s: the page has something active in\n%s", path, query, body)
				}
			}
			got := get(h, path+"/html")
			mail := bodyOf(t, got)
			if got.StatusCode != 200 || got.Header.Get("Content-Security-Policy") != mailPolicy {
				t.Errorf("%s: got %d with %v", path, got.StatusCode, got.Header)
			}
			if !strings.Contains(mail, `lang="`+language.Locale+`"`) || !strings.Contains(mail, "Acme &amp; Söhne") {
				t.Errorf("%s/html is not the mail in the operator's branding", path)
			}
		}
	}
}

// Not every browser passes a frame's colours on to what is in it.
func TestAFrameShowsTheColoursThatWereAskedFor(t *testing.T) {
	h := adminWithGallery(openCatalogue(t, templates.DefaultSettings()), "")
	const path, question = "/templates/SignIn/en/html", "@media (prefers-color-scheme:dark){"
	sent := bodyOf(t, get(h, path))
	if !strings.Contains(sent, question) {
		t.Fatalf("no question about colours in\n%s", sent)
	}
	for scheme, answer := range map[string]string{"dark": "@media (min-width:0){", "light": "@media (max-width:0){"} {
		if got := bodyOf(t, get(h, path+"?scheme="+scheme)); got != strings.ReplaceAll(sent, question, answer) {
			t.Errorf("%s: got\n%s", scheme, got)
		}
	}
}

func TestTheGalleryBeginsWithTheFirstType(t *testing.T) {
	h := adminWithGallery(openCatalogue(t, templates.DefaultSettings()), "")
	if body := bodyOf(t, get(h, "/templates")); !strings.Contains(body, `<a href="/templates/SignIn" aria-current="page">`) {
		t.Errorf("got\n%s", body)
	}
	if body := bodyOf(t, get(h, "/templates/BindMfa?scheme=dark")); !strings.Contains(body, `<a href="/templates/BindMfa?scheme=dark" aria-current="page">`) ||
		!strings.Contains(body, `<iframe class="mail dark" sandbox`) || !strings.Contains(body, `<a href="?">Light</a>`) {
		t.Errorf("got\n%s", body)
	}
}

func TestTheGalleryKnowsWhatThereIs(t *testing.T) {
	h := adminWithGallery(openCatalogue(t, templates.DefaultSettings()), "")
	for _, path := range []string{"/templates/Signin", "/templates/SignIn/xx", "/templates/SignIn/EN", "/templates/Nothing/en",
		"/templates/Nothing/en/html", "/templates/SignIn/xx/html", "/templates/SignIn/en/text", "/templates/SignIn/%3Cb%3E"} {
		if got := get(h, path); got.StatusCode != 404 {
			t.Errorf("%s: got %d", path, got.StatusCode)
		}
	}
}

func TestTheGalleryAsksForTheToken(t *testing.T) {
	catalogue := openCatalogue(t, templates.DefaultSettings())
	for _, path := range []string{"/templates", "/templates/SignIn", "/templates/SignIn/en", "/templates/SignIn/en/html"} {
		if got := get(adminWithGallery(catalogue, "secret-token"), path); got.StatusCode != 401 {
			t.Errorf("%s: got %d without the token", path, got.StatusCode)
		}
		if got := get(adminWithGallery(catalogue, "secret-token"), path, header("Authorization", "Bearer secret-token")); got.StatusCode != 200 {
			t.Errorf("%s: got %d with the token", path, got.StatusCode)
		}
		if got := get(adminWithGallery(catalogue, ""), path, func(r *http.Request) { r.Host = "rebound.example" }); got.StatusCode != 403 {
			t.Errorf("%s: got %d for another host's name", path, got.StatusCode)
		}
	}
}

// edited is a gallery as an operator's work may leave it.
type edited struct {
	mail     templates.Mail
	failed   error
	warnings []string
}

func (e edited) Types() []string { return []string{"SignIn", "Generic"} }
func (e edited) Languages() []templates.Language {
	return []templates.Language{{Locale: "en", Name: "English", Dir: "ltr"}, {Locale: "sr-Latn", Name: "sr-Latn", Dir: "ltr"}}
}
func (e edited) SampleVariant(string, string, string) map[string]any { return map[string]any{} }
func (e edited) Preview(string, string, map[string]any, templates.Branding) (*templates.Mail, error) {
	return &e.mail, e.failed
}
func (e edited) Warnings() []string { return e.warnings }

func TestTheGalleryMarksTheOperatorsTemplates(t *testing.T) {
	own := edited{mail: templates.Mail{Locale: "en", Subject: "<b>Code</b>", Text: "Text <i>alone</i>.", Source: "tpl/en/SignIn.txt"}}
	h := adminWithGallery(own, "")
	for path, wants := range map[string][]string{
		"/templates": {`<span class="mark good">yours</span>`, `<span class="mark">sent in en</span>`, "&lt;b&gt;Code", "Text &lt;i&gt;"},
		"/templates/SignIn/en?view=html": {`<span class="mark good">yours</span> tpl/en/SignIn.txt`, "&lt;b&gt;Code", "Text &lt;i&gt;",
			"0 bytes of HTML"},
		"/templates/SignIn/sr-Latn": {"readers get en"},
	} {
		body := bodyOf(t, get(h, path))
		for _, want := range wants {
			if has := strings.Contains(body, want); has == (want == "0 bytes of HTML") {
				t.Errorf("%s, %s: %v in\n%s", path, want, has, body)
			}
		}
		if strings.Contains(body, "<iframe") || strings.Contains(body, "refused") || strings.Contains(body, "leaves out") {
			t.Errorf("%s: a frame without HTML, or an alarm without a cause in\n%s", path, body)
		}
	}
	if got := get(h, "/templates/SignIn/en/html"); got.StatusCode != 404 {
		t.Errorf("the HTML of a mail of text alone: got %d", got.StatusCode)
	}
	embedded := adminWithGallery(edited{mail: templates.Mail{Locale: "en", HTML: mail.Body{mail.OwnPart("x")}, Source: templates.Embedded}}, "")
	if body := bodyOf(t, get(embedded, "/templates/SignIn/en")); !strings.Contains(body, "built in") || strings.Contains(body, "yours") {
		t.Errorf("got\n%s", body)
	}
}

func TestTheGallerySaysWhatIsWrong(t *testing.T) {
	h := adminWithProblem(edited{warnings: []string{"tpl/en/SignIn.html:1:1: often come without application"}}, "",
		errors.New("tpl/en/SignIn.html:3:7: no <b> message has nmae"))
	body := bodyOf(t, get(h, "/templates"))
	for _, want := range []string{"was refused", "tpl/en/SignIn.html:3:7: no &lt;b&gt; message has nmae",
		"<li>tpl/en/SignIn.html:1:1: often come without application</li>"} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s in\n%s", want, body)
		}
	}
	broken := adminWithGallery(edited{failed: errors.New("a bug")}, "")
	for _, path := range []string{"/templates", "/templates/SignIn/en", "/templates/SignIn/en/html"} {
		if got := get(broken, path); got.StatusCode != 500 {
			t.Errorf("%s: got %d", path, got.StatusCode)
		}
	}
}

// The samples hold what mails in use hold, and readers may bring their own.
func TestSamplesOfTheGallery(t *testing.T) {
	h := adminWithGallery(openCatalogue(t, templates.DefaultSettings()), "")
	const invitation, signIn = "/templates/OrganizationInvitation/en", "/templates/SignIn/en"
	own := url.QueryEscape(`{"code":"777000","application":{"name":"Mine"}}`)
	for path, wants := range map[string][]string{
		invitation:                                             {"bytes of HTML, ", "Riverside Rowing Club", "<code>https://app.example.com/join?token=sample</code>", `aria-current="true">As usual`},
		invitation + "?variant=no-link":                        {"<dt>Links</dt><dd>none", `aria-current="true">No link`, "/html?scheme=light&amp;variant=no-link"},
		invitation + "?variant=long":                           {"The Worshipful Company of Spectacle Makers, Telescope Grinders"},
		signIn + "?variant=bare&view=text":                     {"Your sign-in code", "123456"},
		"/templates/Generic/en?variant=link":                   {"<dt>Links</dt><dd><ul"},
		signIn + "?view=text&data=" + own:                      {"777000", "&#34;777000&#34;", `<details open>`},
		signIn + "?data=%7Bcode":                               {"the data is no JSON object", "{code"},
		signIn + "?data=null":                                  {"not one JSON object"},
		signIn + "?data=" + strings.Repeat("x", longestData+1): {"longer than 4096 bytes"},
		signIn + "?data=" + strings.Repeat("x", longestData):   {"the data is no JSON object"},
		signIn + "?variant=nothing":                            {"123456"},
		"/templates/SignIn?variant=hostile":                    {"/templates/SignIn/en?variant=hostile", "/templates/SignIn/en/html?scheme=light&amp;variant=hostile"},
		signIn:                                                 {"Gmail", "Apple Mail", "Acme &amp; Söhne"},
	} {
		got := get(h, path)
		body := bodyOf(t, got)
		if got.StatusCode != 200 {
			t.Errorf("%.60s: got %d", path, got.StatusCode)
		}
		for _, want := range wants {
			if !strings.Contains(body, want) {
				t.Errorf("%.60s: no %s in\n%s", path, want, body)
			}
		}
	}
	if body := bodyOf(t, get(h, signIn+"/html?data="+own)); !strings.Contains(body, "777000") {
		t.Error("the frame does not show the reader's own data")
	}
	if got := get(h, signIn+"/html?data=%7Bcode"); got.StatusCode != 400 {
		t.Errorf("the frame of what cannot be read: %d", got.StatusCode)
	}
	if body := bodyOf(t, get(h, signIn+"/html?variant=logos")); !strings.Contains(body, `src="data:image/svg+xml,`) || strings.Contains(body, templates.SampleLogo) {
		t.Error("the frame does not show the sample logo")
	}
}

// What the page shows can be sent to somebody, on the way of Logto's mails.
func TestSendingASample(t *testing.T) {
	type sent struct {
		to, messageType string
		payload         map[string]any
	}
	var got []sent
	accept := true
	h := New(Options{Status: ready, Metrics: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler), Problem: func() error { return nil },
		Gallery: openCatalogue(t, templates.DefaultSettings()),
		Send: func(_ context.Context, to, messageType string, payload map[string]any) *mail.Delivery {
			got = append(got, sent{to, messageType, payload})
			if !accept {
				return &mail.Delivery{ID: "0123456789abcdefghjkmnpqrs", Status: mail.StatusFailed, Reason: mail.ProviderRefused, Cause: "<no>"}
			}
			return &mail.Delivery{ID: "0123456789abcdefghjkmnpqrs", Status: mail.StatusAccepted, Provider: "main"}
		}})
	const path = "/templates/SignIn/de/send"
	answer := submit(h, path, url.Values{"to": {"Ada@Example.org"}, "variant": {"link"}})
	if len(got) != 1 || got[0].to != "Ada@example.org" || got[0].messageType != "SignIn" || got[0].payload["link"] == nil || got[0].payload["locale"] != "de" {
		t.Fatalf("sent %+v", got)
	}
	page := bodyOf(t, get(h, answer.Header.Get("Location")))
	if answer.StatusCode != 303 || !strings.Contains(page, "main accepted it in 0s (ref 01234567)") || !strings.Contains(page, `aria-current="true">Code and link`) {
		t.Errorf("got %d, then\n%s", answer.StatusCode, page)
	}
	accept = false
	answer = submit(h, path, url.Values{"to": {"ada@example.org"}, "data": {`{"code":"1"}`}})
	page = bodyOf(t, get(h, answer.Header.Get("Location")))
	if !strings.Contains(page, "not sent: provider_refused &lt;no&gt; (ref 01234567)") || got[1].payload["code"] != "1" {
		t.Errorf("got %+v, then\n%s", got[1], page)
	}
	answer = submit(h, path, url.Values{"to": {"nobody"}})
	if page = bodyOf(t, get(h, answer.Header.Get("Location"))); !strings.Contains(page, "not sent: ") || len(got) != 2 {
		t.Errorf("%d mails, then\n%s", len(got), page)
	}
	if answer := submit(h, path, url.Values{"to": {"ada@example.org"}, "data": {"{code"}}); answer.StatusCode != 400 || len(got) != 2 {
		t.Errorf("data that cannot be read: got %d", answer.StatusCode)
	}
	if answer := submit(h, path, url.Values{"to": {"ada@example.org"}, "data": {strings.Repeat("x", 64<<10)}}); answer.StatusCode != 413 {
		t.Errorf("more than 64 KiB: %d", answer.StatusCode)
	}
	if answer := submit(h, "/templates/SignIn/xx/send", url.Values{"to": {"ada@example.org"}}); answer.StatusCode != 404 {
		t.Errorf("an unknown language: got %d", answer.StatusCode)
	}
	if body := bodyOf(t, get(adminWithGallery(openCatalogue(t, templates.DefaultSettings()), ""), "/templates/SignIn/de")); strings.Contains(body, "Send this mail") {
		t.Error("sending is offered where nothing can be sent")
	}
}

func templatesMail() templates.Mail {
	return templates.Mail{Locale: "en", Text: "x", Source: "tpl/en/SignIn.txt"}
}
