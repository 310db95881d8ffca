package templates

import (
	"fmt"
	"strings"
	"testing"
)

// eightKB is a template of 8 KB with about thirty placeholders and blocks, as an
// operator would write it.
func eightKB() string {
	var b strings.Builder
	b.WriteString("<html><head><title>Your code for {{application.name}}</title><style>a{color:{{branding.color}}}</style></head><body>")
	for i := range 10 {
		fmt.Fprintf(&b, `<table role="presentation" width="100%%" cellpadding="0" cellspacing="0" border="0"><tr><td align="left" style="%s">`+
			`{{#if user.name}}<p title="{{organization.name}}">Hello {{user.name}}, part %d</p>{{else}}<p>Hello</p>{{/if}}`+
			`<strong>{{code}}</strong></td></tr></table>`+"\n", strings.Repeat("padding:0 12px 24px 12px;", 24), i)
	}
	b.WriteString(`<a href="https://acme.example/help?o={{organization.id}}">Help</a></body></html>`)
	return b.String()
}

const benchPayload = `{"code":"012345","locale":"en","application":{"id":"a1","name":"Acme Shop"},"organization":{"id":"o1","name":"Ünïted 株式会社"},"user":{"name":"Alice Wönderland"}}`

func BenchmarkRender(b *testing.B) {
	template := eightKB()
	p, err := compile(&source{text: template}, htmlFormat, vocabulary{messageType: generic})
	if err != nil {
		b.Fatal(err)
	}
	v := valuesFor(payload(b, benchPayload))
	b.SetBytes(int64(p.render(v).Len()))
	b.ReportAllocs()
	for b.Loop() {
		p.render(v)
	}
}

func BenchmarkMail(b *testing.B) {
	c, err := Open(DefaultSettings())
	if err != nil {
		b.Fatal(err)
	}
	for _, messageType := range []string{"SignIn", invitation} {
		b.Run(messageType, func(b *testing.B) {
			r := Request{Type: messageType, Locale: "en", Payload: payload(b, benchPayload), Branding: Branding{SenderName: "Acme", AppLogo: "https://a.example/l.png"}}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Render(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// largest returns the embedded mail with the longest HTML, with all branding.
func largest(t testing.TB) (html *program, v *values, name string) {
	t.Helper()
	c, err := Open(DefaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	longest := 0
	for _, locale := range c.Locales() {
		for _, messageType := range c.Types() {
			p := Sample(messageType, locale)
			made, err := c.find(messageType, locale)
			if err != nil {
				t.Fatal(err)
			}
			values := valuesFor(p)
			values.builtins[localeBuiltin], values.builtins[linkBuiltin] = locale, "https://app.example.com/join?token=sample"
			values.setBranding(&Branding{SenderName: "Acme", CompanyInformation: "Acme Inc., 1 Main Street, Springfield",
				AppLogo: "https://acme.example/logo.png", AppLogoDark: "https://acme.example/logo-dark.png"})
			if n := made.html.render(values).Len(); n > longest {
				longest, html, v, name = n, made.html, values, messageType+" "+locale
			}
		}
	}
	return html, v, name
}

// BenchmarkLargest renders the HTML part of the largest embedded mail.
func BenchmarkLargest(b *testing.B) {
	html, v, name := largest(b)
	b.SetBytes(int64(html.render(v).Len()))
	b.ReportAllocs()
	for b.Loop() {
		html.render(v)
	}
	b.Log(name)
}

func BenchmarkCompile(b *testing.B) {
	template := eightKB()
	b.SetBytes(int64(len(template)))
	for b.Loop() {
		if _, err := compile(&source{text: template}, htmlFormat, vocabulary{messageType: generic}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNeutralise(b *testing.B) {
	for _, name := range []string{"Alice Wonderland", "Ünïted 株式会社", "<img src=x onerror=alert(1)> 王小明 👩\u200d🚀 \u202egnirts\r\nBcc: x@example.com"} {
		b.Run(name[:5], func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				neutralise(name)
			}
		})
	}
}

func BenchmarkLocale(b *testing.B) {
	c := openMiniature(b, nil, logtoLocales()...)
	for _, locale := range []string{"pt-BR", "fr-CA", "xx"} {
		p := map[string]any{"locale": locale}
		b.Run(locale, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.Locale("SignIn", p)
			}
		})
	}
}

func BenchmarkOpen(b *testing.B) {
	for b.Loop() {
		if _, err := Open(DefaultSettings()); err != nil {
			b.Fatal(err)
		}
	}
}

// TestLargestAllocations keeps the number of allocations of the largest embedded
// mail as small.
func TestLargestAllocations(t *testing.T) {
	html, v, name := largest(t)
	if got := testing.AllocsPerRun(100, func() { html.render(v) }); got > 2 {
		t.Errorf("%s: %v allocations, want one for the list of pieces and one for the text of the mail's own", name, got)
	}
}

// TestRenderAllocations keeps the number of allocations of one 8 KB template far
// below what a general template engine takes, and most of its bytes shared by all mails.
func TestRenderAllocations(t *testing.T) {
	p, err := compile(&source{text: eightKB()}, htmlFormat, vocabulary{messageType: generic})
	if err != nil {
		t.Fatal(err)
	}
	v := valuesFor(payload(t, benchPayload))
	if got := testing.AllocsPerRun(100, func() { p.render(v) }); got > 2 {
		t.Errorf("%v allocations, want at most 2", got)
	}
	own := 0
	for _, part := range p.render(v) {
		if !part.IsShared() {
			own += len(part.String())
		}
	}
	if own > 1<<10 {
		t.Errorf("%d bytes are the mail's own", own)
	}
	if got := p.render(v).Len(); got < 8<<10 || got > 10<<10 {
		t.Errorf("the template has %d bytes", got)
	}
}
