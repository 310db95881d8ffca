package templates

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"logto-email-relay/mail"
)

// directory writes files into a new directory: name, content, name, content, …
func directory(t testing.TB, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	put(t, dir, files...)
	return dir
}

func put(t testing.TB, dir string, files ...string) {
	t.Helper()
	for i := 0; i < len(files); i += 2 {
		file := filepath.Join(dir, files[i])
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(files[i+1]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func openDir(t testing.TB, dir string, locales ...string) *Catalogue {
	t.Helper()
	return openMiniature(t, func(s *Settings) { s.Dir = dir; s.Variables = []string{"role"} }, locales...)
}

func TestOperatorsTemplates(t *testing.T) {
	dir := directory(t,
		"en/SignIn.html", "<title>Hello &amp; {{user.name}}\n there</title><p>Code <b>{{code}}</b></p>",
		"en/Register.txt", "Subject: Welcome to {{branding.senderName}}\r\n\r\nYour code:\r\n{{code}}\r\n",
		"en/BindMfa.html", "\ufeff<title>Both</title><p>{{code}}</p>", "en/BindMfa.txt", "The text: {{code}}\n",
		"fa/Generic.html", "<title>fa</title><p dir=\"{{dir}}\">{{role}}</p>",
		"sv/SignIn.html", "<title>sv</title><p>sv {{code}}</p>", "sv/Generic.html", "<title>svg</title><p>generic {{code}}</p>",
		"nl/SignIn.html", "<title>nl</title><p>nl {{code}}</p>",
		"fr.json", `{"types":{"SignIn":{"subject":"Votre code"}}}`,
		"en-GB.json", `{"shared":{"footer":"Cheers"}}`,
		"README.md", "not ours", "en/SignIn.mjml", "x", ".git/config", "x", "..data/x.html", "x", "en/notes.md", "x", "en/.SignIn.html.swp", "x",
	)
	c := openDir(t, dir, "en", "fr", "fa-IR", "de")
	for _, test := range []struct{ messageType, locale, want, source string }{
		{"SignIn", "en", "Hello & Al there", "en/SignIn.html"},
		{"Register", "en", "Welcome to Acme", "en/Register.txt"},
		{"BindMfa", "en", "Both", "en/BindMfa.html"},
		{"ForgotPassword", "en", "en ForgotPassword – Acme", "embedded"},
		{"SignIn", "de", "de SignIn – Acme", "embedded"},
		{"SignIn", "fr", "Votre code", "fr.json"},
		{"Register", "fr", "fr Register – Acme", "fr.json"},
		{"Generic", "fa-IR", "fa", "fa/Generic.html"},
		{"SignIn", "fa-IR", "fa-IR SignIn – \u2068Acme\u2069", "embedded"}, // a Generic does not swallow what says more
		{"SomethingNew", "fa", "fa", "fa/Generic.html"},
		{"SignIn", "sv", "sv", "sv/SignIn.html"},
		{"Register", "sv", "svg", "sv/Generic.html"}, // a language of the operator's alone
		{"SignIn", "nl-BE", "nl", "nl/SignIn.html"},
		{"Register", "nl", "en", "en/Register.txt"}, // no nl for this type
		{"SignIn", "en-GB", "en SignIn – Acme", "en-GB.json"},
	} {
		m := render(t, c, test.messageType, `{"code":"12","locale":"`+test.locale+`","user":{"name":"Al"},"role":"editor"}`)
		source := strings.TrimPrefix(m.Source, dir+"/")
		if test.messageType == "Register" && test.locale == "nl" {
			if m.Locale != "en" {
				t.Errorf("Register in nl: got %+v", m)
			}
			continue
		}
		if m.Subject != test.want || source != test.source {
			t.Errorf("%s in %s: got %q of %s", test.messageType, test.locale, m.Subject, source)
		}
	}
	if m := render(t, c, "SignIn", `{"code":"12"}`); m.HTML.String() != "<title>Hello &amp; \n there</title><p>Code <b>12</b></p>" || m.Text != "Code 12\n" {
		t.Errorf("the HTML and the text made of it: got %+v", m)
	}
	if m := render(t, c, "Register", `{"code":"12"}`); m.HTML.String() != "" || m.Text != "Your code:\n12\n" {
		t.Errorf("text alone: got %+v", m)
	}
	if m := render(t, c, "BindMfa", `{"code":"12"}`); m.HTML.String() != "<title>Both</title><p>12</p>" || m.Text != "The text: 12\n" {
		t.Errorf("both: got %+v", m)
	}
	if m := render(t, c, "Generic", `{"locale":"fa","role":"evil.com"}`); m.HTML.String() != "<title>fa</title><p dir=\"rtl\">\u2068evil. com\u2069</p>" {
		t.Errorf("a right-to-left language: got %+v", m)
	}
	if m := render(t, c, "Register", `{"locale":"en-GB"}`); m.Locale != "en-GB" || !strings.HasSuffix(m.Text, "Cheers\n") {
		t.Errorf("a region of a language: got %+v", m)
	}
}

func TestTextIsNeverEmpty(t *testing.T) {
	c := openDir(t, directory(t, "en/Generic.html", "<title>Hello</title><p>{{code}}</p>"), "en")
	if m := render(t, c, "Generic", `{}`); m.Text != "Hello\n" {
		t.Errorf("got %+v", m)
	}
}

func TestOperatorsNewLanguage(t *testing.T) {
	complete := strings.Replace(string(mustRead(t, "en")), "en ", "sv ", -1)
	c := openDir(t, directory(t, "sv.json", complete), "en")
	if m := render(t, c, "SignIn", `{"locale":"sv-SE"}`); m.Locale != "sv" || m.Subject != "sv SignIn – Acme" {
		t.Errorf("got %+v", m)
	}
	s := DefaultSettings()
	s.Dir = directory(t, "sv.json", `{"language":"Svenska","dir":"ltr"}`)
	if _, err := open(s, miniature("en")); err == nil || !strings.Contains(err.Error(), "it lacks failures.internal, ") {
		t.Errorf("a language in part: got %v", err)
	}
}

func mustRead(t testing.TB, locale string) []byte {
	t.Helper()
	files := miniature(locale)
	f, err := files.Open("locales/" + locale + ".json")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	content := make([]byte, 1<<16)
	n, err := f.Read(content)
	if err != nil {
		t.Fatal(err)
	}
	return content[:n]
}

func TestOperatorsMistakes(t *testing.T) {
	const good = "<title>x</title><p>{{code}}</p>"
	for _, test := range []struct{ file, content, want string }{
		{"en/SignIn.html", "<title>x</title>\n<p class={{code}}>", "en/SignIn.html:2:10: write quotes"},
		{"en/SignIn.html", "<title>x</title><p>{{link}}</p>", "en/SignIn.html:1:20: a message of type SignIn has no link"},
		{"en/SignIn.html", "<p>x</p>", "en/SignIn.html:1:1: write the subject as <title>"},
		{"en/SignIn.html", "<title> </title><p>x</p>", "en/SignIn.html:1:1: write the subject as <title>"},
		{"en/SignIn.html", "<title>x</title><img src=\"https://a.example/x.png\">", "en/SignIn.html:1:1: no text can be made"},
		{"en/SignIn.html", "<title>x</title>a{{#if code}}<div style=\"display:none\">{{/if}}b</div>", "en/SignIn.html:1:1: no text can be made"},
		{"en/SignIn.html", "<title>x</title>" + strings.Repeat("x", 256<<10), "at most 262144"},
		{"en/SignIn.html", "<title>x</title>{{code}}" + strings.Repeat("x", 256<<10-len("<title>x</title>{{code}}")), ""},
		{"en/SignIn.txt", "Hello\n{{code}}", "en/SignIn.txt:1:1: begin with the subject"},
		{"en/SignIn.txt", "Subject: x\n\n", "en/SignIn.txt:1:1: begin with the subject"},
		{"en/SignIn.txt", "Subject: {{nothing}}\n\n\na {{nothing}}\n", "en/SignIn.txt:1:10: no message has nothing"},
		{"en/SignIn.txt", "Subject: x\n\n\na {{nothing}}\n", "en/SignIn.txt:4:3: no message has nothing"},
		{"fr.JSON", "{}", "name it fr.json"},
		{"en/Signin.html", good, "name it SignIn.html"},
		{"en/SignIn.htm", good, "name it SignIn.html"},
		{"en/SignIn.hbs", good, "name it SignIn.html"},
		{"en/SignIn.html.j2", good, "name it SignIn.html"},
		{"en/signin", good, "name it SignIn.html"},
		{"en/SignIn/index.html", good, "name it SignIn.html"},
		{"en/SignIn.TXT", good, "name it SignIn.txt"},
		{"en/SignIn.html.txt", good, "name it SignIn.txt"},
		{"en/SignIn.json", "{}", "/en.json, below types.SignIn"},
		{"en/Signing.hbs", good, ""},
		{"en/SignIn.html~", good, ""},
		{"en/SignIn.html.bak", good, ""},
		{"en/SignIn.swp", good, ""},
		{"en/SignIn.TMP", good, ""},
		{"en/SignIn.html.orig", good, ""},
		{"lost+found/x", "", ""},
		{"en/Invite.html", good, "Logto has no message type Invite; it has SignIn, Register"},
		{"SignIn.html", good, "put it into the directory of its language, such as"},
		{"englisch/SignIn.html", good, `"englisch" is not a language tag`},
		{"ens/SignIn.html", good, `"ens" is not a language tag; did you mean en?`},
		{"en-US/SignIn.html", good, ""},
		{"en/SignIn.html", "<title>{{code}}</title><!-- {{code}} --><p>x</p>", "en/SignIn.html:1:1: SignIn mails are sent for their code"},
		{"en/SignIn.html", `<title>x</title><div style="display:none">{{code}}</div><p data-code="{{code}}">x</p>`, "en/SignIn.html:1:1: SignIn mails are sent for their code"},
		{"en/SignIn.html", `<title>x</title><input type="hidden" value="{{code}}"><!--[if mso]>{{code}}<![endif]--><p>x</p>`, "SignIn mails are sent for their code"},
		{"en/SignIn.html", `<title>x</title>Code: <input value="{{code}}">`, ""},
		{"en/SignIn.html", `<title>x</title><img src="https://acme.example/x.png" alt="{{code}}">`, ""},
		{"en/SignIn.html", `<title>x</title><a href="https://acme.example/?code={{code}}">Sign in</a>`, ""},
		{"en/SignIn.html", `<title>x</title><p style="display:none">x<div>{{code}}</div>`, ""},
		{"en/SignIn.html", `<title>x</title>{{#if user.name}}<p>{{code}}</p>{{/if}}<p>x</p>`, ""}, // a warning
		{"en/BindMfa.txt", "Subject: {{code}}\n\nx", "en/BindMfa.txt:1:1: BindMfa mails are sent for their code"},
		{"en/Generic.txt", "Subject: x\n\nx", ""},
		{"en/OrganizationInvitation.txt", "Subject: x\n\nx", ""},
		{"nb/Generic.txt", "Subject: x\n\nx", "nb/Generic.txt:1:1: SignIn mails are sent for their code"},
		{"nb/Generic.txt", "Subject: x\n\nx {{#if code}}{{code}}{{/if}}", ""},
		{"en/SignIn.txt", "Subject: x\n\n{{code}} {{application.nmae}}", "en/SignIn.txt:3:10: Logto sends no application.nmae; did you mean application.name?"},
		{"en/SignIn.txt", "Subject: x\n\n{{code}} {{user.profile.address.street}}", "Logto sends no user.profile.address.street"},
		{"en/SignIn.txt", "Subject: x\n\n{{code}} {{code.value}}", "code is a text: write {{code}}"},
		{"en/SignIn.txt", "Subject: x\n\n{{code}} {{organization.plan}}", "Logto sends no organization.plan; to use it all the same, name organization in templates.variables"},
		{"en/Generic.txt", "Subject: x\n\n{{application.nmae}}", "did you mean application.name?"},
		{"en/OrganizationInvitation.txt", "Subject: x\n\n{{organization.plan}} {{inviter.profile.team}}", ""},
		{"en.json", `{"time":"{day}.{moth}"}`, "en.json:1:9: time: in braces write {year}, {month}, {day}, {time} or {zone}"},
		{"en.json", `{"months":"January"}`, "en.json:1:11: months: write the names of the twelve months"},
		{"en.json", `{"shared":{"foot":"x"}}`, "en.json:1:19: shared.foot: there is no such text; did you mean shared.footer?"},
		{"en.json", `{"types":{"SignIn":{"lead":"{{link}}"}}}`, "en.json:1:28: types.SignIn.lead: character 1: a message of type SignIn has no link"},
		{"en.json", `{"shared":{"footer":"ab {{#if code}}"}}`, "shared.footer: character 4: the block is not closed"},
		{"en.json", `{"failures":{"timeout":"{{code}}"}}`, "failures.timeout: this text is shown as it is"},
		{"en.json", `{"failures":{"wait_minutes":{"few":"{{count}} {{domain}}"}}}`, "failures.wait_minutes.few: the only placeholder here is {{count}}"},
		{"en.json", `{"failures":{"wait_minutes":{"one":"{{count}}"},"wait_hours":{"other":"x"}}}`, ""},
		{"en.json", `{"shared":{"footer":"` + strings.Repeat("x", 256<<10) + `"}}`, "at most 262144"}, // the mail, not the sentence
		{"en.json", `{"dir":"left"}`, `dir: write "ltr" or "rtl"`},
		{"en.json", `{"shared":{"footer":"a\nb"}}`, "write it as one line"},
		{"en.json", "{\n\"shared\":", "en.json:2:10: not JSON"},
		{"en.json", `{"validity":{"few":"x"},"types":{"Register":{"extra":"x"}}}`, ""},
	} {
		s := DefaultSettings()
		s.Dir = directory(t, test.file, test.content)
		_, err := open(s, miniature("en"))
		switch {
		case test.want == "" && err != nil:
			t.Errorf("%s: %v", test.file, err)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%s: %s:\n\tgot  %v\n\twant %s", test.file, shorten(test.content), err, test.want)
		}
	}
	s := DefaultSettings()
	s.Dir = directory(t, "fa/SignIn.html", good, "fa-IR/SignIn.html", good, "de/Register.html", "<p>{{a b}}", "de/Register.txt", "{{code", "de/SignIn.txt", "x")
	_, err := open(s, miniature("en"))
	for _, want := range []string{"the same language", "no functions", "de/Register.txt:1:1: a placeholder is not closed", "begin with the subject"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("all at once: %v lacks %q", err, want)
		}
	}
	s.Dir = filepath.Join(s.Dir, "none")
	if _, err := open(s, miniature("en")); err == nil || !strings.Contains(err.Error(), "templates.dir") {
		t.Errorf("no directory: got %v", err)
	}
	for _, text := range []string{"Subject: y\nx", "Subject:"} {
		s.Dir = directory(t, "en/SignIn.html", good, "en/SignIn.txt", text)
		if _, err := open(s, miniature("en")); err == nil || !strings.Contains(err.Error(), "SignIn.txt:1:1: the subject is the <title>") {
			t.Errorf("two subjects: got %v", err)
		}
	}
}

// A catalogue stays what it was when it was opened, whatever the directory says
// later; what is wrong there fails the next one.
func TestACatalogueDoesNotChange(t *testing.T) {
	dir := directory(t, "en/SignIn.html", "<title>one</title>x{{code}}")
	c := openDir(t, dir, "en")
	put(t, dir, "en/SignIn.html", "<title>two</title>{{#if}}")
	if m := render(t, c, "SignIn", `{}`); m.Subject != "one" {
		t.Errorf("got %+v", m)
	}
	s := DefaultSettings()
	s.Dir = dir
	if _, err := open(s, miniature("en")); err == nil {
		t.Error("a broken edit was taken")
	}
	put(t, dir, "en/SignIn.html", "<title>three</title>x{{code}}")
	for catalogue, want := range map[*Catalogue]string{c: "one", openDir(t, dir, "en"): "three"} {
		if m := render(t, catalogue, "SignIn", `{}`); m.Subject != want {
			t.Errorf("got %+v, want %s", m, want)
		}
	}
}

// The language is chosen among those that have the type, and the mail is written
// in that one and no other.
func TestTheLanguageIsChosenByType(t *testing.T) {
	dir := directory(t, "sv/SignIn.txt", "Subject: sv\n{{code}}", "nb/Generic.txt", "Subject: nb\n{{code}}")
	c := openDir(t, dir, "en", "de")
	for _, test := range []struct{ messageType, locale, uiLocales, want string }{
		{"SignIn", "sv", "", "sv"}, {"Register", "sv", "", "en"}, {"Register", "sv", "de", "de"},
		{"Invention", "sv", "de", "de"}, {"Invention", "nb", "", "nb"}, {"Register", "nb", "", "nb"},
	} {
		p := map[string]any{"locale": test.locale, "uiLocales": test.uiLocales}
		got := c.Locale(test.messageType, p)
		if m, err := c.Render(Request{Type: test.messageType, Locale: got, Payload: p}); got != test.want || err != nil || m.Locale != got {
			t.Errorf("%+v: chose %s, wrote %+v, %v", test, got, m, err)
		}
	}
	german := openMiniature(t, func(s *Settings) { s.Dir, s.DefaultLocale = dir, "de" }, "en", "de")
	if got := german.Locale("Register", map[string]any{"locale": "sv"}); got != "de" {
		t.Errorf("the default of a type that not all languages have: got %s", got)
	}
	if m, err := c.Render(Request{Type: "Register", Locale: "de", Payload: map[string]any{"locale": "en"}}); err != nil || m.Locale != "de" {
		t.Errorf("the language was chosen again: %+v, %v", m, err)
	}
	for _, locale := range []string{"", "sv", "xx"} {
		if m, err := c.Render(Request{Type: "Register", Locale: locale}); err == nil {
			t.Errorf("a language without the type: got %+v", m)
		}
	}
}

func TestFilesThatAreNoTemplates(t *testing.T) {
	for _, test := range []struct{ file, content, want string }{
		{"en/SignIn.html", "\xff\xfe<\x00", "en/SignIn.html:1:1: the file is not UTF-8"},
		{"en.json", "{\"shared\":{\"footer\":\"caf\xe9\"}}", "en.json:1:1: the file is not UTF-8"},
		{"en.json", strings.Repeat(" ", 1<<20+1), "en.json:1:1: the file is too large; at most 1048576"},
		{"en/Sign\x1b[2JIn.html", "x", `/en/Sign\x1b[2JIn.html": `},
		{"a\nb.json", "{}", `/a\nb.json": "a\nb" is not a language tag`},
		{"en/SignIn\u202e.txt", "x", `/en/SignIn\u202e.txt": name it SignIn.txt`},
	} {
		s := DefaultSettings()
		s.Dir = directory(t, test.file, test.content)
		_, err := open(s, miniature("en"))
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.ContainsAny(err.Error(), "\x1b\u202e\n") {
			t.Errorf("%q:\n\tgot  %v\n\twant %s", test.file, err, test.want)
		}
	}
	s := DefaultSettings()
	s.Dir = directory(t, "en/SignIn.html/x", "x")
	if _, err := open(s, miniature("en")); err == nil || !strings.Contains(err.Error(), "en/SignIn.html: this is not a regular file") {
		t.Errorf("a directory: got %v", err)
	}
	broken := filepath.Join(s.Dir, "a\tb.json")
	if err := os.Symlink("nowhere", broken); err != nil {
		t.Fatal(err)
	}
	if _, err := open(s, miniature("en")); err == nil || !strings.Contains(err.Error(), `a\tb.json": no such file`) {
		t.Errorf("a link to nothing: got %v", err)
	}
}

// In a language of the operator's own the Generic mail stands in for invitations.
func TestWarningsOfAGenericThatStandsIn(t *testing.T) {
	const withLink = "Subject: x\n{{code}} {{#if link}}{{link}}{{/if}}"
	for generic, want := range map[string]int{"Subject: x\n{{code}}": 1, withLink: 0} {
		got := openDir(t, directory(t, "sv/Generic.txt", generic), "en").Warnings()
		if len(got) != want || want > 0 && !strings.HasSuffix(got[0], "sv/Generic.txt:1:1: OrganizationInvitation mails may come with a link, which is not printed: write {{#if link}} … {{link}} … {{/if}}") {
			t.Errorf("%s: %q", generic, got)
		}
	}
	for _, dir := range []string{
		directory(t, "sv/Generic.txt", "Subject: x\n{{code}}", "sv/OrganizationInvitation.txt", withLink),
		directory(t, "en/Generic.txt", "Subject: x\n{{code}}"), // beside the relay's own invitation
	} {
		if got := openDir(t, dir, "en").Warnings(); len(got) != 0 {
			t.Errorf("%q", got)
		}
	}
}

func TestWarnings(t *testing.T) {
	dir := directory(t,
		"en/SignIn.html", "<title>x {{application.name}}</title>\n{{user.name}} {{code}} {{user.id}} {{#if organization}}{{organization.name}}{{/if}}",
		"en/BindNewIdentifier.html", "<title>x</title>{{user.name}} {{code}}",
		"en/ForgotPassword.html", "<title>x</title>{{#if user.name}}{{user.name}}: {{code}}{{/if}} x",
		"en/BindMfa.html", "<title>x</title>{{code}}", "en/BindMfa.txt", "x {{#unless code}}{{code}}{{/unless}}",
		"en/Register.html", "<title>x</title>{{#if user.name}}{{user.name}}: {{code}}{{else}}{{#if branding.appLogo}}{{code}}{{/if}}{{/if}} x",
		"en/MfaVerification.html", "<title>x</title>{{#if branding.appLogo}}x{{else}}{{#if code}}{{code}}{{else}}x{{/if}}{{/if}} x",
		"en/Generic.html", `<title>x</title><a href="https://acme.example/?c={{code}}">Sign in</a>`,
		"en/OrganizationInvitation.txt", "Subject: {{inviter.name}}\n{{organization.name}}",
		"de/Generic.html", "<title>x</title>{{code}}", "de/Generic.txt", "A message",
		"de/OrganizationInvitation.html", `<title>{{organization.name}}</title>{{#if organization}}<a href="{{link}}">x</a>{{/if}}`,
		"de/SignIn.html", "<title>{{#if application.name}}Sign in to {{application.name}}{{/if}}</title>{{code}}",
		"de/Register.html", "<title>{{#if application.name}}{{application.name}}{{else}}x{{/if}}</title>{{code}}",
		"de/ForgotPassword.html", "<title>{{branding.senderName}}</title>{{code}}",
		"de/BindMfa.html", "<title>x</title>{{#unless user.name}}{{code}}{{/unless}} x",
		"de/MfaVerification.html", "<title>x</title>{{#if organization.name}}{{organization.name}}{{else}}{{code}}{{/if}} x",
		"de/BindNewIdentifier.html", "<title>x</title>{{#if ip}}{{code}}{{/if}} x",
		"de/UserPermissionValidation.html", "<title>x</title>{{#if user.name}}{{code}}{{else}}{{code}}{{/if}} x",
	)
	got := openDir(t, dir, "en", "de").Warnings()
	const hidden = " mails sometimes have nothing but their code, or a user or an organization beside it, and it is not printed then: write {{code}} outside of {{#if}} and {{#unless}}, or after {{else}} too"
	const noSubject = " mails is empty where Logto leaves out what it prints, and they get the relay's own then: write a text outside of {{#if}}, or after {{else}} too"
	want := []string{
		"de/BindMfa.html:1:1: BindMfa" + hidden,
		"de/BindNewIdentifier.html:1:1: BindNewIdentifier" + hidden,
		"de/Generic.html:1:1: Generic mails may come with a code, which is not printed: write {{#if code}} … {{code}} … {{/if}}",
		"de/MfaVerification.html:1:1: MfaVerification" + hidden,
		"de/SignIn.html:1:1: the subject of SignIn" + noSubject,
		"en/BindMfa.html:1:1: BindMfa" + hidden,
		"en/ForgotPassword.html:1:1: ForgotPassword" + hidden,
		"en/OrganizationInvitation.txt:1:1: OrganizationInvitation mails may come with a link, which is not printed: write {{#if link}} … {{link}} … {{/if}}",
		"en/OrganizationInvitation.txt:1:1: the subject of OrganizationInvitation" + noSubject,
		"en/OrganizationInvitation.txt:1:10: OrganizationInvitation mails often come without inviter: write {{#if inviter.name}} … {{/if}} around {{inviter.name}}",
		"en/SignIn.html:1:10: SignIn mails often come without application: write {{#if application.name}} … {{/if}} around {{application.name}}",
		"en/SignIn.html:2:1: SignIn mails often come without user: write {{#if user.name}} … {{/if}} around {{user.name}}",
	}
	if len(got) != len(want) {
		t.Fatalf("got %q", got)
	}
	for i := range want {
		if got[i] != dir+"/"+want[i] {
			t.Errorf("got %s\nwant %s", got[i], want[i])
		}
	}
}

func TestPlainText(t *testing.T) {
	for _, test := range []struct{ name, html, want string }{
		{"paragraphs", "<h1>Hello</h1>\n<p class=x>one\n  two</p><p>three<br />four</p>", "Hello\n\none two\n\nthree\nfour\n"},
		{"cells", "<table><tr><td>Code</td><td>{{code}}</td></tr><tr><td>Name</td><td>x</td></tr></table>", "Code {{code}}\nName x\n"},
		{"hidden", `<div style="display: none">pre<div>x</div></div><div style="max-height:0;mso-hide:all">pre<br></div><p hidden>no</p><p style="max-height:0.5em">yes</p><div style="opacity:0">no</div><table style="font-size:0px"><tr><td>seen</td></tr></table>`, "yes\n\nseen\n"},
		{"head and comments", "<head><title>t</title><style>a{}</style></head><!-- no --><!--[if mso]><p>no</p><![endif]--><!--[if !mso]><!--><p>yes</p><!--<![endif]-->", "yes\n"},
		{"references", "<p>a &lt;b&gt; &amp; &copy; {{user.name}}</p>", "a <b> & © {{user.name}}\n"},
		{"links", `<a href="{{link}}">Accept</a><p><a href="{{link}}">{{link}}</a></p><a href="mailto:a@b.example">a@b.example</a> <a href="#top">top</a><a href="https://x.example/?a=1&amp;b=2"><img alt="Logo"></a>`,
			"Accept <{{link}}>\n\n{{link}}\n\na@b.example top Logo <https://x.example/?a=1&b=2>\n"},
		{"lists of paragraphs", "<ul><li><p>a</p></li><li><p>b</p></li></ul><p>c</p>", "- a\n\n- b\n\nc\n"},
		{"what is no markup", "<p>1 &lt; 2, 3 < 4 &nbsp;&bogus; {{ code\n}}</p><br><p>a\t\r\nb</p>", "1 < 2, 3 < 4 \u00a0&bogus; {{ code }}\n\na b\n"},
		{"lists", "<ul><li>a</li><li>b</li></ul>c", "- a\n- b\n\nc\n"},
		{"blocks", "<p>a</p>{{#if code}}<p>{{code}}</p>{{else}}<p>none</p>{{/if}}<p>b</p>", "a\n\n{{#if code}}\n\n{{code}}\n\n{{else}}\n\nnone\n\n{{/if}}\n\nb\n"},
		{"lines of their own", `Your code is<div>{{code}}</div>Do not share it<center>a</center><center>b</center><dl><dt>c</dt><dd>d</dd></dl><main>e</main><aside>f</aside>`,
			"Your code is\n{{code}}\nDo not share it\na\nb\nc\nd\ne\nf\n"},
		{"lines by style", `a<span style="display: block">{{code}}</span><b>b</b><a href="https://x.example/" style="display:
			table">c</a>d<span>e</span>f`,
			"a\n{{code}}\nb\nc <https://x.example/>\ndef\n"},
		{"a block in a cell", "<table><tr><td>Code</td><td><div>{{code}}</div></td></tr></table>", "Code {{code}}\n"},
		{"a block in a condition", "<p>a</p>{{#if code}}<div>{{code}}</div>{{/if}}", "a\n\n{{#if code}}{{code}}\n{{/if}}\n"},
		{"left open", `<div style="display:none">x<div>y`, ""},
		{"left open where the standard allows it", `<table><tr><td hidden>x<td>a</tr><tr hidden><td>x<tr><td>b</table><ul><li hidden><b>x</b><li>c</ul><dl><dt hidden>x<dd>d</dl>` +
			`<p style="display:none">x<div>e</div><p hidden>x<p>f</p><div><p hidden>x</div>g<option hidden>x<option>h`, "a\nb\n\n- c\n\nd\ne\n\nf\n\ng\nh\n"},
		{"hidden in Outlook", `<div style="mso-hide:all">{{code}}</div><!--[if mso]>x<![endif]-->`, "{{code}}\n"},
		{"forms", `Code<input value="{{code}}" readonly><input type="hidden" value="x"><textarea>a &amp; <b></textarea>`, "Code {{code}} a & <b>\n"},
	} {
		got := (&source{text: test.html}).plainText().text
		if strings.TrimSpace(got) != strings.TrimSpace(test.want) {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
	c := openDir(t, directory(t, "en/SignIn.html", "<title>x</title><p>a</p>{{#if code}}<p>{{code}}</p>{{/if}}<p>b</p>"), "en")
	// Addresses are those of the HTML, and braces that are none there are none here.
	for _, test := range []struct{ html, want string }{
		{`<a href="{{organization.branding.logoUrl}}">Logo</a> <a href="{{organization.branding.logoUrl}}?a=1&amp;u={{user.name}}"></a>`,
			"Logo <https://a.example/l.png?a=1&b=2> https://a.example/l.png?a=1&b=2?a=1&u=A%20B.example\n"},
		{`<a href="{{role}}"><img src="https://acme.example/x.png"></a>`, "https://r.example/\n"},
		{`<a href="{{organization.name}}">Name</a> <a href="mailto:{{user.primaryEmail}}">{{user.name}}</a>`, "Name <> A B. example <a@b.example>\n"},
		{`<a href="{{#if role}}{{role}}{{else}}https://acme.example/{{/if}}">Join</a> &lt;{{role}}&gt;`, "Join <https://r.example/> <https: /r. example/>\n"},
		{`{{user.primaryEmail}}: &#123;&#123;code}} &lcub;{code}} &#123;{{user.primaryEmail}}} {a}`, "a@b.example: { {code}} { {code}} { a@b.example} {a}\n"},
	} {
		c := openDir(t, directory(t, "en/OrganizationInvitation.html", "<title>x</title>"+test.html), "en")
		if m := render(t, c, invitation, `{"organization":{"name":"evil.com","branding":{"logoUrl":"https://a.example/l.png?a=1&b=2"}},"role":"https://r.example/",
			"user":{"name":"A B.example","primaryEmail":"a@b.example"}}`); m.Text != test.want {
			t.Errorf("%s:\n\tgot  %q\n\twant %q", test.html, m.Text, test.want)
		}
	}
	for data, want := range map[string]string{`{}`: "a\n\nb\n", `{"code":"1"}`: "a\n\n1\n\nb\n"} {
		if m := render(t, c, "SignIn", data); m.Text != want {
			t.Errorf("%s: got %q, want %q", data, m.Text, want)
		}
	}
}

// What is told of a directory of something else has room in a line of the log.
func TestMistakesAreCounted(t *testing.T) {
	var files []string
	for i := range 60 {
		files = append(files, fmt.Sprintf("en/page%d.html", i), "x")
	}
	s := DefaultSettings()
	s.Dir = directory(t, files...)
	_, err := Open(s)
	if err == nil || strings.Count(err.Error(), "Logto has no message type") != 50 || !strings.HasSuffix(err.Error(), "60 mistakes, of which the first 50 are shown") {
		t.Errorf("got %v", err)
	}
}

// A subject that depends on what Logto leaves out is never empty: services refuse such mails.
func TestASubjectIsNeverEmpty(t *testing.T) {
	dir := directory(t,
		"en/SignIn.html", "<title>{{#if application.name}}Sign in to {{application.name}}{{/if}}</title>{{code}}",
		"sv/SignIn.html", "<title>{{#if application.name}}Logga in{{/if}}</title>{{code}}",
	)
	c := openDir(t, dir, "en", "de")
	overlay, err := c.With([]mail.ConnectorTemplate{{Type: "SignIn", Key: "templates[0]", Subject: "{{application.name}}", HTML: "<p>{{code}}</p>"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, renderer := range []interface {
		Render(Request) (*Mail, error)
	}{c, overlay} {
		for _, locale := range []string{"en", "sv"} {
			m, err := renderer.Render(Request{Type: "SignIn", Locale: locale, Payload: map[string]any{"code": "123456"}})
			if err != nil || m.Subject != "en SignIn" {
				t.Errorf("%T, %s: the subject is %q, %v", renderer, locale, m.Subject, err)
			}
			m, err = renderer.Render(Request{Type: "SignIn", Locale: locale, Payload: map[string]any{"code": "123456", "application": map[string]any{"name": "Acme"}}})
			if err != nil || m.Subject == "" || m.Subject == "en SignIn" {
				t.Errorf("%T, %s: the subject is %q, %v", renderer, locale, m.Subject, err)
			}
		}
	}
	later, err := c.With([]mail.ConnectorTemplate{{Type: "Generic", Key: "templates[0]", Subject: "{{application.name}}", HTML: "<p>{{code}}</p>"}})
	if err != nil {
		t.Fatal(err)
	}
	if m, err := later.Render(Request{Type: "PasskeyRecovery", Locale: "en", Payload: map[string]any{"code": "123456"}}); err != nil || m.Subject != "en Generic" {
		t.Errorf("a type of later: the subject is %q, %v", m.Subject, err)
	}
	s := DefaultSettings()
	s.Dir = directory(t, "de.json", `{"types": {"SignIn": {"subject": " "}}}`)
	if _, err := open(s, miniature("en", "de")); err == nil || !strings.Contains(err.Error(), "write a subject") {
		t.Errorf("a sentence without words: got %v", err)
	}
}
