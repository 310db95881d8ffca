package templates

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"logto-email-relay/mail"
	"logto-email-relay/settings"
)

// Logto's sign-in page speaks these languages.
func logtoLocales() []string {
	return strings.Fields("en ar cs de es es-MX fa-IR fr it ja ko pl-PL pt-BR pt-PT ru th tr-TR uk-UA zh-CN zh-HK zh-TW")
}

// miniature is a small catalogue of the same form as the embedded one, in which
// every text begins with the tag of its language.
func miniature(locales ...string) fs.FS {
	files := fstest.MapFS{
		"layouts/mail.html": {Data: []byte(`<html lang="{{text.locale}}" dir="{{text.dir}}"><title>{{text.subject}}</title>` +
			`<style>a{text-align:{{text.start}};font:{{text.fonts}};color:{{branding.color}}}</style>` +
			`{{#if text.extra}}<b title="{{text.extra}}">{{#if code}}{{code}}{{/if}}</b>{{else}}{{#unless text.none}}<i></i>{{/unless}}{{/if}}` +
			`<!--[if mso]><p>{{text.lead}}</p><![endif]--><p>{{text.validity}}</p>{{#if text.button}}<a href="{{link}}">{{text.button}}</a>{{/if}}</html>`)},
		"layouts/mail.txt": {Data: []byte("{{text.lead}}\n\n{{code}}{{#if text.button}}{{link}}{{/if}}\n\n{{text.validity}} {{text.footer}}\n\n")},
	}
	for _, locale := range locales {
		types := make(map[string]any)
		for _, messageType := range Types() {
			types[messageType] = map[string]string{
				"subject": locale + " " + messageType + "{{#if branding.senderName}} – {{branding.senderName}}{{/if}}",
				"lead":    locale + " <lead> & \"more\" {{organization.name}}",
			}
		}
		types[invitation].(map[string]string)["button"] = locale + " button"
		types["SignIn"].(map[string]string)["extra"] = locale + " \"extra\""
		types["SignIn"].(map[string]string)["footer"] = locale + " sign-in footer"
		dir := "ltr"
		if locale == "ar" || locale == "fa-IR" {
			dir = "rtl"
		}
		content, err := json.Marshal(map[string]any{
			"language": locale, "dir": dir, "fonts": "'Segoe UI',sans-serif",
			"validity": map[string]string{"one": locale + " {{codeLifetime}} minute", "two": locale + " two", "few": locale + " {{codeLifetime}} few",
				"many": locale + " {{codeLifetime}} many", "other": locale + " {{codeLifetime}} minutes"},
			"shared":   map[string]string{"footer": locale + " footer"},
			"types":    types,
			"failures": map[string]string{"internal": locale + " internal", "timeout": locale + " timeout"},
		})
		if err != nil {
			panic(err)
		}
		files["locales/"+locale+".json"] = &fstest.MapFile{Data: content}
	}
	return files
}

// open is Open with other originals than the embedded ones.
func open(s Settings, files fs.FS) (*Catalogue, error) {
	o, err := readOriginals(files)
	if err != nil {
		return nil, err
	}
	return o.open(s)
}

func openMiniature(t testing.TB, change func(*Settings), locales ...string) *Catalogue {
	t.Helper()
	s := DefaultSettings()
	if change != nil {
		change(&s)
	}
	c, err := open(s, miniature(locales...))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func render(t testing.TB, c *Catalogue, messageType, data string) *Mail {
	t.Helper()
	p := payload(t, data)
	m, err := c.Render(Request{Type: messageType, Locale: c.Locale(messageType, p), Payload: p, Branding: Branding{SenderName: "Acme"}})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestRenderFromTexts(t *testing.T) {
	c := openMiniature(t, nil, "en", "ar")
	got := render(t, c, "SignIn", `{"code":"012345","locale":"ar","organization":{"name":"A<B"}}`)
	want := Mail{Locale: "ar", Source: "embedded", Subject: "ar SignIn – \u2068Acme\u2069",
		HTML: mail.Body{mail.OwnPart("<html lang=\"ar\" dir=\"rtl\"><title>ar SignIn – \u2068Acme\u2069</title>" + `<style>a{text-align:right;font:'Segoe UI',sans-serif;color:#0b57d0}</style>` +
			`<b title="ar &#34;extra&#34;">012345</b><!--[if mso]><p>ar &lt;lead&gt; &amp; &#34;more&#34; ` + "\u2068A&lt;B\u2069" + `</p><![endif]--><p>ar 10` + "\u00a0few</p></html>")},

		Text: "ar <lead> & \"more\" \u2068A<B\u2069\n\n012345\n\nar 10\u00a0few ar sign-in footer\n"}
	got.HTML = mail.Body{mail.OwnPart(got.HTML.String())}
	if !reflect.DeepEqual(*got, want) {
		t.Errorf("got  %+v\nwant %+v", *got, want)
	}
	got = render(t, c, invitation, `{"link":"https://a.example/?a=1&b=2"}`)
	if want := `<i></i><!--[if mso]><p>en &lt;lead&gt; &amp; &#34;more&#34; </p><![endif]--><p>en 10` + "\u00a0minutes</p>" +
		`<a href="https://a.example/?a=1&amp;b=2">en button</a></html>`; !strings.HasSuffix(got.HTML.String(), want) {
		t.Errorf("got  %s\nwant %s", got.HTML.String(), want)
	}
	if want := "en <lead> & \"more\" \n\nhttps://a.example/?a=1&b=2\n\nen 10\u00a0minutes en footer\n"; got.Text != want {
		t.Errorf("got  %q\nwant %q", got.Text, want)
	}
	got = render(t, c, "SomethingNew", `{"code":"1"}`)
	if got.Subject != "en Generic – Acme" {
		t.Errorf("an unknown type: got %+v", got)
	}
	if got := render(t, c, "", `{}`); got.Subject != "en Generic – Acme" {
		t.Errorf("no type: got %+v", got)
	}
}

func TestMinutes(t *testing.T) {
	for lifetime, want := range map[time.Duration]string{
		time.Minute: "pl-PL 1\u00a0minute", 90 * time.Second: "pl-PL 2\u00a0few", 3 * time.Minute: "pl-PL 3\u00a0few", 5 * time.Minute: "pl-PL 5\u00a0many", 22 * time.Minute: "pl-PL 22\u00a0few",
	} {
		c := openMiniature(t, func(s *Settings) { s.CodeLifetime = settings.Duration(lifetime) }, "en", "pl-PL")
		if got := render(t, c, "SignIn", `{"locale":"pl-PL"}`); !strings.Contains(got.HTML.String(), "<p>"+keepWhole(want, false)+"</p>") {
			t.Errorf("%s: got %s", lifetime, got.HTML.String())
		}
	}
}

func TestTheLifetimeOfACodeIsToldInMinutes(t *testing.T) {
	for lifetime, taken := range map[time.Duration]bool{
		0: false, time.Minute - 1: false, time.Minute: true, 24 * time.Hour: true, 24*time.Hour + 1: false,
	} {
		s := DefaultSettings()
		s.CodeLifetime = settings.Duration(lifetime)
		if problems := s.Check(); (len(problems) == 0) != taken {
			t.Errorf("%v: %v", lifetime, problems)
		}
	}
}

func TestEffectiveBranding(t *testing.T) {
	configured := Branding{SenderName: "Acme", AppLogo: "https://a.example/l.png", AppLogoDark: "https://a.example/d.png", Color: "#abcdef"}
	const app, org = `"branding":{"logoUrl":"https://app.example/l.png","darkLogoUrl":"https://app.example/d.png"}`,
		`"branding":{"logoUrl":"https://org.example/l.png"}`
	for _, test := range []struct {
		branding Branding
		data     string
		want     [6]string
	}{
		{Branding{}, `{}`, [...]string{"", "", "", "", "#0b57d0", ""}},
		{configured, `{}`, [...]string{"Acme", "", "https://a.example/l.png", "https://a.example/d.png", "#abcdef", ""}},
		{configured, `{"application":{"name":"internal"}}`, [...]string{"Acme", "", "https://a.example/l.png", "https://a.example/d.png", "#abcdef", ""}},
		{Branding{}, `{"application":{"name":"evil.com"}}`, [...]string{"evil. com", "", "", "", "#0b57d0", ""}},
		{configured, `{"application":{"name":"x","displayName":"Shop",` + app + `}}`, [...]string{"Shop", "", "https://app.example/l.png", "https://app.example/d.png", "#abcdef", ""}},
		{configured, `{"application":{` + app + `},"organization":{` + org + `}}`, [...]string{"Acme", "", "https://org.example/l.png", "", "#abcdef", ""}},
		{configured, `{"application":{"displayName":" ","branding":{"logoUrl":"http://app.example/l.png"}},"organization":{"branding":{"logoUrl":"javascript:x","darkLogoUrl":1}}}`,
			[...]string{"Acme", "", "https://a.example/l.png", "https://a.example/d.png", "#abcdef", ""}},
		{configured, `{"application":"x","organization":[1]}`, [...]string{"Acme", "", "https://a.example/l.png", "https://a.example/d.png", "#abcdef", ""}},
	} {
		v := values{payload: payload(t, test.data)}
		v.setBranding(&test.branding)
		v.setColors(newPalette(test.branding.Color))
		b := v.builtins
		if got := [...]string{b[senderName], b[companyInformation], b[appLogo], b[appLogoDark], b[brandColor], b[support]}; got != test.want {
			t.Errorf("%s: got %q, want %q", test.data, got, test.want)
		}
	}
}

func TestChoiceOfLanguage(t *testing.T) {
	c := openMiniature(t, nil, logtoLocales()...)
	for _, test := range []struct{ locale, uiLocales, want string }{
		{"fr", "", "fr"}, {"zh-HK", "", "zh-HK"}, {"FR", "", "fr"}, {"pt-br", "", "pt-BR"}, {"zh_Hant_HK", "", "zh-HK"}, {"zh-Hant-HK", "", "zh-HK"},
		{"zh-Hant", "", "zh-TW"}, {"zh", "", "zh-CN"}, {"zh-MO", "", "zh-HK"}, {"zh-SG", "", "zh-CN"}, {"pt", "", "pt-BR"}, {"pt-AO", "", "pt-PT"}, {"es-419", "", "es-MX"}, {"es-AR", "", "es-MX"}, {"es-ES", "", "es"},
		{"fr-CA", "", "fr"}, {"en_US.UTF-8", "", "en"}, {"fa", "", "fa-IR"}, {"tr", "", "tr-TR"}, {"de-u-co-phonebk", "", "de"}, {" it ", "", "it"},
		{"nb", "", "en"}, {"sr-Latn", "", "en"}, {"nb", "nb de", "de"}, {"", "xx ja fr", "ja"}, {"", "sr-Latn,fr-CA", "fr"}, {"de", "fr", "de"},
		{"gl", "", "es"}, {"gl", "fr", "fr"}, // a language near enough only if there is no better one
		{"", "", "en"}, {"und", "", "en"}, {"*", "", "en"}, {"x-foo", "", "en"}, {"images", "", "en"}, {"\x00\xff", "\x00\xff \u202e", "en"},
		{"", `fr"><script> en`, "en"}, {strings.Repeat("fr-", 1000), "", "en"}, {strings.Repeat("x", 3000), strings.Repeat("x ", 1500), "en"},
		{"de-x" + strings.Repeat("-aaaaaaaa", 6) + "-aaaaa", "", "de"}, {"de-x" + strings.Repeat("-aaaaaaaa", 6) + "-aaaaaa", "", "en"},
		{"", strings.Repeat("xx ", 9) + "de", "de"}, {"", strings.Repeat("xx ", 10) + "de", "en"},
	} {
		p := map[string]any{"locale": test.locale, "uiLocales": test.uiLocales}
		if got := c.Locale("SignIn", p); got != test.want {
			t.Errorf("%.20q, %.20q: got %s, want %s", test.locale, test.uiLocales, got, test.want)
		}
		m, err := c.Render(Request{Type: "SignIn", Locale: c.Locale("SignIn", p), Payload: p})
		if err != nil || m.Locale != test.want {
			t.Errorf("%.20q, %.20q: wrote %s, %v", test.locale, test.uiLocales, m.Locale, err)
		}
	}
	if got := c.Locale("SignIn", map[string]any{"locale": 1, "uiLocales": []any{"fr"}}); got != "en" {
		t.Errorf("odd types: got %s", got)
	}
	german := openMiniature(t, func(s *Settings) { s.DefaultLocale = "de-AT" }, "en", "de")
	if got := german.Locale("SignIn", nil); got != "de" {
		t.Errorf("the default: got %s", got)
	}
	s := DefaultSettings()
	s.DefaultLocale = "sv"
	if _, err := open(s, miniature("en", "de")); err == nil || !strings.Contains(err.Error(), "templates.defaultLocale") {
		t.Errorf("a default without templates: got %v", err)
	}
}

// Mails are written in the languages that the operator wants, and in all if none is named.
func TestLocalesThatAreWanted(t *testing.T) {
	all := []string{"en", "de", "fr", "pt-BR", "pt-PT", "zh-TW", "zh-CN"}
	for _, test := range []struct {
		locales  []string
		fallback string // the default
		offered  string
		choices  map[string]string // of readers
	}{
		{nil, "en", "de en fr pt-BR pt-PT zh-CN zh-TW", map[string]string{"fr": "fr", "pt-PT": "pt-PT"}},
		{[]string{"en"}, "en", "en", map[string]string{"fr": "en", "pt-PT": "en", "en-GB": "en", "": "en"}},
		{[]string{"en", "pt"}, "en", "en pt-BR pt-PT", map[string]string{"pt-PT": "pt-PT", "pt-AO": "pt-PT", "fr": "en"}},
		{[]string{"DE", "fr"}, "fr", "de fr", map[string]string{"de-CH": "de", "en": "fr", "fr": "fr"}},
		{[]string{"pt-BR", "zh-Hant"}, "pt", "pt-BR zh-TW", map[string]string{"pt-PT": "pt-BR", "zh-TW": "zh-TW", "zh-HK": "zh-TW", "en": "pt-BR"}},
	} {
		c := openMiniature(t, func(s *Settings) { s.Locales, s.DefaultLocale = test.locales, test.fallback }, all...)
		if got := strings.Join(c.Locales(), " "); got != test.offered {
			t.Errorf("%v: offered are %s, want %s", test.locales, got, test.offered)
		}
		if got := len(c.Languages()); got != len(strings.Fields(test.offered)) {
			t.Errorf("%v: %d languages", test.locales, got)
		}
		for locale, want := range test.choices {
			p := map[string]any{"locale": locale}
			if got := c.Locale("SignIn", p); got != want {
				t.Errorf("%v: %q is served by %s, want %s", test.locales, locale, got, want)
			}
			if got := c.Sentence(locale, Failure{Reason: "timeout"}); got != want+" timeout" {
				t.Errorf("%v: %q is told %q", test.locales, locale, got)
			}
		}
	}
	for _, test := range []struct {
		locales  []string
		fallback string
		want     string
	}{
		{[]string{"de"}, "en", `templates.defaultLocale: "en" is none of templates.locales; add it to them, or write one of de`},
		{[]string{"en", "und"}, "en", `templates.locales: there are no templates in "und"; there are de, en`},
		{[]string{"en", "sv"}, "en", `templates.locales: there are no templates in "sv"; there are de, en`},
	} {
		s := DefaultSettings()
		s.Locales, s.DefaultLocale = test.locales, test.fallback
		if _, err := open(s, miniature("en", "de")); err == nil || err.Error() != test.want {
			t.Errorf("%v: got %v, want %s", test.locales, err, test.want)
		}
	}
}

// A folder without templates is no language.
func TestEmptyFolderIsNoLanguage(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "sv"), 0o755); err != nil {
		t.Fatal(err)
	}
	c := openMiniature(t, func(s *Settings) { s.Dir = dir }, "en", "de")
	if got := strings.Join(c.Locales(), " "); got != "de en" {
		t.Errorf("offered are %s", got)
	}
	s := DefaultSettings()
	s.Dir, s.Locales = dir, []string{"en", "sv"}
	if _, err := open(s, miniature("en")); err == nil || !strings.Contains(err.Error(), `there are no templates in "sv"`) {
		t.Errorf("got %v", err)
	}
}

// A language that was added for one type is wanted alone: the others are in English.
func TestWantedLocaleWithoutAType(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "sv"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "sv", "SignIn.txt"), []byte("Subject: Kod\n\n{{code}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := openMiniature(t, func(s *Settings) { s.Dir, s.Locales, s.DefaultLocale = dir, []string{"sv"}, "sv" }, "en", "de")
	for messageType, want := range map[string]string{"SignIn": "sv", "Register": "en"} {
		for _, locale := range []string{"sv", "de", ""} {
			if got := c.Locale(messageType, map[string]any{"locale": locale}); got != want {
				t.Errorf("%s in %q is written in %s, want %s", messageType, locale, got, want)
			}
		}
	}
}

func TestSentence(t *testing.T) {
	c := openMiniature(t, func(s *Settings) { s.DefaultLocale = "de" }, "en", "de", "fr")
	for _, test := range []struct{ locale, reason, want string }{
		{"fr", "timeout", "fr timeout"}, {"fr-CA", "timeout", "fr timeout"}, {"", "timeout", "de timeout"}, {"sv", "timeout", "de timeout"},
		{"fr", "no_such_reason", "fr internal"},
	} {
		if got := c.Sentence(test.locale, Failure{Reason: test.reason}); got != test.want {
			t.Errorf("%s, %s: got %q, want %q", test.locale, test.reason, got, test.want)
		}
	}
}

// Words that a language lacks leave its plain sentence, not one of another language.
func TestASentenceWithoutDetails(t *testing.T) {
	c := openMiniature(t, nil, "en", "fr")
	for _, f := range []Failure{{Reason: "timeout", Wait: time.Minute}, {Reason: "timeout", Suggestion: "gmail.com"}} {
		if got := c.Sentence("fr", f); got != "fr timeout" {
			t.Errorf("%+v: got %q", f, got)
		}
	}
}

func TestBrokenTextsOfOurs(t *testing.T) {
	for content, want := range map[string]string{
		`{"a":`: "ends too early", `{"a":"b"} x`: "behind the closing brace", `{"a":1}`: "write texts in objects", `[]`: "write texts in objects", `"a"`: "write texts in objects",
		`{"a":"b","a":"c"}`: `f.json:1:12: a is written twice`, `{"a":{"b":{"c":{"d":"e"}}}}`: "write texts in objects", `{"a":"b",}`: "not JSON",
	} {
		if _, err := readTexts("f.json", content); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", content, err, want)
		}
	}
}

// Everything that is embedded compiles, renders, and says every sentence.
func TestEmbedded(t *testing.T) {
	c, err := Open(DefaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	for _, locale := range c.Locales() {
		for _, messageType := range c.Types() {
			for _, data := range []string{
				`{"code":"012345","locale":%q}`, `{"locale":%q}`,
				`{"code":"012345","link":"https://a.example/x","locale":%q,"application":{"name":"App"},"organization":{"name":"Org"},"inviter":{"name":"Eve"},"user":{"name":"Al"}}`,
			} {
				m := render(t, c, messageType, fmt.Sprintf(data, locale))
				if m.Locale != locale || m.Subject == "" || m.Text == "" || m.HTML.IsEmpty() || strings.Contains(m.Subject+m.Text+m.HTML.String(), "{{") {
					t.Errorf("%s in %s: got %+v", messageType, locale, m)
				}
				if code := strings.Contains(data, "012345"); strings.Contains(m.Text, "012345") != code || strings.Contains(m.HTML.String(), "012345") != code ||
					strings.Contains(m.Subject, "012345") {
					t.Errorf("%s in %s: the code is missing, or in the subject:\n%s", messageType, locale, m.Text)
				}
			}
		}
	}
}

// The captured webhooks render, and their hostile names stay names.
func TestCapturedPayloads(t *testing.T) {
	files, err := filepath.Glob("../handlers/testdata/logto/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal("the captured webhooks are not in handlers/testdata/logto")
	}
	c, err := Open(DefaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		body := payload(t, string(content))
		data, _ := body["payload"].(map[string]any)
		messageType, _ := body["type"].(string)
		m, err := c.Render(Request{Type: messageType, Locale: c.Locale(messageType, data), Payload: data, Branding: Branding{SenderName: "Acme"}})
		if err != nil || !slices.Contains(c.Types(), messageType) {
			t.Fatalf("%s: %v", file, err)
		}
		for _, bad := range []string{"<script", "<img src=x", "javascript:", "\u202e", "x@example.com"} {
			if strings.Contains(m.HTML.String(), bad) {
				t.Errorf("%s: the HTML holds %s", file, bad)
			}
		}
		if strings.ContainsAny(m.Subject, "\r\n") || strings.ContainsAny(m.Text, "\r\u202e") || strings.Contains(m.Text, "x@example.com") {
			t.Errorf("%s: %q\n%s", file, m.Subject, m.Text)
		}
	}
}

func TestLocalesAndTypes(t *testing.T) {
	c := openMiniature(t, nil, "en", "de")
	if got := c.Locales(); !slices.Equal(got, []string{"de", "en"}) {
		t.Errorf("got %v", got)
	}
	if got := c.Types(); len(got) != 9 || got[0] != "SignIn" {
		t.Errorf("got %v", got)
	}
}
