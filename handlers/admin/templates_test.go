package admin

import (
	"errors"
	"log/slog"
	"net/http"
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
		Gallery: gallery, Branding: templates.Branding{SenderName: "Acme & Söhne"},
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
				`<iframe class="mail light" sandbox loading="lazy" tabindex="-1" src="` + path + `/html"`,
				`<a href="` + path + `"><bdi lang="` + language.Locale + `">` + language.Name + `</bdi> <span`,
			} {
				if !strings.Contains(body, want) {
					t.Errorf("%s: no %s", messageType, want)
				}
			}
			looks := map[string]string{"": `<iframe class="mail light" sandbox src="` + path + `/html"`}
			if language.Locale == "ar" {
				looks["?scheme=dark&width=phone"] = `<iframe class="mail dark phone" sandbox src="` + path + `/html"`
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
func (e edited) Preview(string, string, templates.Branding) (*templates.Mail, error) {
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

func templatesMail() templates.Mail {
	return templates.Mail{Locale: "en", Text: "x", Source: "tpl/en/SignIn.txt"}
}
