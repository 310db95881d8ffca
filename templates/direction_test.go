package templates

import "testing"

// Words of other people keep their direction to themselves, wherever they are
// read, and nothing else gets marks: not what is copied, not what machines read.
func TestNamesAreIsolated(t *testing.T) {
	const data = `{"code":"123456","link":"https://a.example/","organization":{"id":"o1","name":"Acme Inc."},` +
		`"application":{"name":"شركة"},"user":{"primaryEmail":"ada@example.org","name":"x@y.z"}}`
	for _, test := range []struct {
		dir, template string
		format        format
		want          string
	}{
		{"rtl", "{{organization.name}}", textFormat, "\u2068Acme Inc.\u2069"},
		{"rtl", "{{organization.name}}", titleFormat, "\u2068Acme Inc.\u2069"},
		{"rtl", "<p>{{organization.name}}</p>", htmlFormat, "<p>\u2068Acme Inc.\u2069</p>"},
		{"rtl", "<p>{{branding.companyInformation}}|{{branding.senderName}}</p>", htmlFormat, "<p>\u2068Acme Inc., 1 Main St.\u2069|\u2068Acme\u2069</p>"},
		{"rtl", `<img alt="{{organization.name}}">`, htmlFormat, "<img alt=\"\u2068Acme Inc.\u2069\">"},
		{"rtl", `<p id="{{organization.id}}" class="{{organization.name}}"></p>`, htmlFormat, `<p id="o1" class="Acme Inc."></p>`},
		{"rtl", `<a href="{{link}}">{{link}}</a> <b>{{code}}</b>`, htmlFormat, `<a href="https://a.example/">https://a.example/</a> <b>123456</b>`},
		{"rtl", "{{user.primaryEmail}} {{code}} {{codeLifetime}} {{branding.color}}", textFormat, "ada@example.org 123456 10 #112233"},
		{"rtl", "{{user.name}}", textFormat, "\u2068x @ y. z\u2069"},
		{"rtl", "{{user.nickname}}", textFormat, ""},
		// One full stop ends a sentence.
		{"ltr", "From {{organization.name}}.", textFormat, "From Acme Inc."},
		{"ltr", "<p>From {{organization.name}}.</p>", htmlFormat, "<p>From Acme Inc.</p>"},
		{"rtl", "{{#if code}}{{organization.name}}.{{else}}-{{/if}} {{organization.name}}. {{organization.name}}...", textFormat,
			"\u2068Acme Inc\u2069. \u2068Acme Inc\u2069. \u2068Acme Inc.\u2069..."},
		{"ltr", "{{organization.name}}.", textFormat, "Acme Inc."},
		{"ltr", "{{organization.name}}.png {{code}}.", textFormat, "Acme Inc..png 123456."},
		{"ltr", "{{organization.name}}, {{application.name}}.", textFormat, "Acme Inc., \u2068شركة\u2069."},
	} {
		p, err := compile(&source{text: test.template}, test.format, vocabulary{messageType: generic})
		if err != nil {
			t.Fatal(err)
		}
		v := valuesFor(payload(t, data))
		v.builtins[dirBuiltin] = test.dir
		v.setLink()
		v.builtins[senderName], v.builtins[companyInformation] = "Acme", "Acme Inc., 1 Main St."
		if got := p.render(v).String(); got != test.want {
			t.Errorf("%s %s: got %q, want %q", test.dir, test.template, got, test.want)
		}
	}
}

// One letter or digit of any script that is written from right to left is enough.
func TestLettersFromRightToLeft(t *testing.T) {
	for text, want := range map[string]bool{
		"א": true, "\u05f4": true, "ب": true, "٣": true, "ܐ": true, "ހ": true, "ߊ": true, "ࠀ": true, "ࡀ": true, "\u08a0": true, "\ufb1d": true, "ﭐ": true, "ﷺ": true, "\ufe70": true, "\ufefc": true,
		"\U00010800": true, "\U00010a60": true, "\U00010d00": true, "\U0001e900": true, "\U0001ee00": true, "Ada ب": true, "名ب": true,
		"": false, "Ada": false, "é": false, "ё": false, "\u0530": false, "ա": false, "名": false, "अ": false, "ก": false, "가": false, "👩": false, "\ufeff": false, "\U00010400": false, "\U0001f1e6": false,
	} {
		if got := hasRightToLeft(text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}
