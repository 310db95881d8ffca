package templates

import (
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	htmltokens "golang.org/x/net/html"
	"golang.org/x/text/unicode/norm"
	"mvdan.cc/xurls/v2"
)

// shape is what an HTML parser sees of a document, the text aside: the kind of
// each token, the names of elements and attributes.
func shape(document string) string {
	var b strings.Builder
	tokens := htmltokens.NewTokenizer(strings.NewReader(document))
	for {
		kind := tokens.Next()
		if kind == htmltokens.ErrorToken {
			return b.String()
		}
		if kind == htmltokens.TextToken {
			continue
		}
		b.WriteString("\n" + kind.String())
		if kind == htmltokens.CommentToken {
			// To Outlook, the inside of a conditional comment is HTML.
			raw := string(tokens.Raw())
			if inside, ok := conditionalComment(raw); ok {
				b.WriteString("{" + shape(raw[inside.start:inside.end]) + "}")
			}
			continue
		}
		token := tokens.Token()
		b.WriteString(" " + token.Data)
		for _, a := range token.Attr {
			b.WriteString(" " + a.Key)
		}
	}
}

// scheme finds what browsers would take for the scheme of a URL.
var activeScheme = regexp.MustCompile(`(?i)^[\x00-\x20]*(javascript|vbscript|data|file)[\x00-\x20]*:`)

// unsafeURL returns a URL of the document that a browser would run.
func unsafeURL(document string) string {
	tokens := htmltokens.NewTokenizer(strings.NewReader(document))
	for tokens.Next() != htmltokens.ErrorToken {
		for _, a := range tokens.Token().Attr {
			if kind, _ := attributePlace("a", a.Key); kind == urlPlace || kind == imagePlace {
				if activeScheme.MatchString(strings.NewReplacer("\t", "", "\n", "", "\r", "").Replace(a.Val)) {
					return a.Val
				}
			}
		}
	}
	return ""
}

// fillAll are values that answer every name with the same text, and whose link
// is the same in both runs, so that the same branches are taken.
func fillAll(text, link string) *values {
	inner := map[string]any{"name": text, "id": text, "primaryEmail": text, "0": text, "url": text}
	v := &values{links: Links{Schemes: []string{"https"}}, payload: map[string]any{
		"code": text, "uiLocales": text, "application": inner, "organization": inner, "user": inner, "inviter": inner, "x": text,
	}}
	for i := range v.builtins[senderName:] {
		v.builtins[int(senderName)+i] = text
	}
	v.builtins[localeBuiltin], v.builtins[dirBuiltin], v.builtins[lifetimeBuiltin] = "en", "ltr", "10"
	v.builtins[linkBuiltin], _ = v.links.Parse(link)
	return v
}

func FuzzCompile(f *testing.F) {
	for _, seed := range []string{
		`<p class="{{code}}">{{#if user.name}}{{user.name}}{{else}}<b>x</b>{{/if}}</p>`,
		`<a href="{{link}}">{{link}}</a><a href="https://acme.example/?u={{user.name}}">x</a>`,
		`<title>{{code}}</title><style>a{color:{{branding.color}}}</style><!-- {{code}} -->`,
		`<!--[if mso]><td bgcolor="{{branding.color}}">{{code}}<![endif]-->`,
		`<!--[if !mso]><!--><b>{{code}}</b><!--<![endif]-->`,
		`<a href={{code}}><{{code}}></{{code}}><!--{{code}}><!{{code}}>`,
		`{{#if x}}<p>{{else}}<i>{{/if}}{{#unless code}}"{{/unless}}`,
		`<textarea></text{{code}}area>{{code}}</textarea>`,
		`<svg><style><a title="</style>{{code}}"></svg>`,
		`<a href="{{#if x}}https://a/{{else}}java{{/if}}script:{{code}}">`,
		`<img src="{{application.url}}" alt='{{x}}'><a href="mailto:{{user.primaryEmail}}">`,
		"{{{x}}}{{>x}}{{#each x}}{{/each}}{{a b}}{{", `<a style="color:{{branding.color}};b:{{code}}">`,
		`<!-- {{code}}> {{x}}-> -- {{x}} -->`, `<a href="https://{{x}}/">`, `&#{{code}};`,
	} {
		for _, value := range []string{"a", `"'><script>alert(1)</script><!--`, "--", "javascript:alert(1)", "/", "title", "\x00\u2028]]>"} {
			f.Add(seed, value, "https://a.example/?"+value)
		}
	}
	f.Fuzz(func(t *testing.T, text, value, link string) {
		v := vocabulary{messageType: generic, variables: []string{"x"}, schemes: []string{"https"}}
		for _, other := range []format{textFormat, titleFormat} {
			if p, err := compile(&source{file: "f", text: text}, other, v); err == nil {
				p.render(fillAll(value, link))
			}
		}
		p, err := compile(&source{file: "f", text: text}, htmlFormat, v)
		if err != nil {
			return
		}
		if !strings.Contains(text, "{{") && p.render(fillAll(value, link)).String() != text {
			t.Fatal("the author's bytes were changed")
		}
		value = "x" + value // every block takes the same branch
		harmless := "https://a.example/"
		if _, err := (Links{Schemes: []string{"https"}}).Parse(link); err != nil {
			harmless = ""
		}
		hostile, benign := p.render(fillAll(value, link)).String(), p.render(fillAll("xa", harmless)).String()
		if shape(hostile) != shape(benign) {
			t.Fatalf("a value changed the structure\nbenign:  %q\nhostile: %q", benign, hostile)
		}
		if empty := p.render(fillAll("", harmless)).String(); !strings.Contains(text, "{{#") && shape(empty) != shape(benign) {
			t.Fatalf("an empty value changed the structure\nbenign: %q\nempty:  %q", benign, empty)
		}
		if before := unsafeURL(benign); before == "" {
			if after := unsafeURL(hostile); after != "" && !strings.HasPrefix(after, "x") {
				t.Fatalf("a value made the URL %q", after)
			}
		}
	})
}

// autolinked are the patterns that Gmail, Outlook, Apple Mail and their like
// turn into links, wider than any of them: two characters of names around a dot,
// something at something, a scheme, a network path.
var autolinked = []*regexp.Regexp{
	regexp.MustCompile(`[\pL\pN\pM\pS_-][.。．｡․﹒︒۔][\pL\pN\pM\pS_-]`),
	regexp.MustCompile(`[^ ][@＠﹫][^ ]`),
	regexp.MustCompile(`(?i)[a-z][a-z0-9+.-]*[:：﹕︓][\pL_/\\[%?-]`),
	regexp.MustCompile(`(?i)localhost`),
	regexp.MustCompile(`[/\\／＼⁄∕][/\\／＼⁄∕]`),
	regexp.MustCompile(`(?i)(www|ftp)\.[^ .…\pP]`),
}

// linkified is what xurls takes for a link.
var linkified = xurls.Relaxed()

var decimal = regexp.MustCompile(`(^| )[0-9]+\.[0-9]+( |…|\.\.\.|$)`)

// checkNeutral fails unless a text is what neutralise promises.
// filledIn begins what a service would replace in a mail.
var filledIn = regexp.MustCompile(`\{[^ ]|\*\||[\[<]%|\[\[|<<`)

func checkNeutral(t *testing.T, in, out string) {
	t.Helper()
	if n := utf8.RuneCountInString(out); n > 100 {
		t.Errorf("%q has %d characters", out, n)
	}
	if again := neutralise(out); again != out {
		t.Errorf("not idempotent: %q gives %q gives %q", in, out, again)
	}
	for _, r := range out {
		if unicode.IsControl(r) || isBidiOverride(r) || r == 0x200e || r == 0x200f || r == 0x061c || r == 0x200b || r == 0xfeff || r == 0x2028 {
			t.Errorf("%q holds U+%04X", out, r)
		}
	}
	if found := filledIn.FindString(out); found != "" {
		t.Errorf("%q gives %q, in which services fill in %q", in, out, found)
	}
	for _, rest := range []string{out, norm.NFKC.String(out)} {
		if found := linkified.FindString(rest); found != "" {
			t.Errorf("%q gives %q, in which %q is a link to xurls", in, rest, found)
		}
		for decimal.MatchString(rest) {
			rest = decimal.ReplaceAllString(rest, "$1 $2")
		}
		for _, pattern := range autolinked {
			if found := pattern.FindString(rest); found != "" {
				t.Errorf("%q gives %q, in which %q may become a link", in, rest, found)
			}
		}
	}
}

func FuzzNeutralise(f *testing.F) {
	for _, seed := range []string{"", "Alice Wönderland", "evil.com", "a@b.c", "http://evil.com/x", "1.2.3.4", "2.0", "\u202egnirts\r\nBcc: x@example.com",
		"evil\u200b.com", "evil。com", "می\u200cخواهم", "👩\u200d🚀", "👨\u200d👩\u200d👧\u200d👦 x", strings.Repeat("🇩🇪", 40), "z\u0301\u0302\u0303\u0304\u0305\u0306",
		`\\server\share`, "@@a@b", "a.\u0301b", "1️⃣", "xn--e1awd7f.com", "evil⒈com", strings.Repeat("a", 63) + ".b", "x:1", "…2.0…", "evil㏂com", "㏇m", "mailto：x", "localhost/x", "ＬＯＣＡＬhost:80",
		"magnet:?xt=urn:btih:0", "1:2:3:4:5:6:7:8", "fe80::1", "evil‥com", "x⩴y", strings.Repeat(":", 101), "{{x}}", "{%*|[[<%"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) { checkNeutral(t, name, neutralise(name)) })
}

func FuzzLinks(f *testing.F) {
	for _, seed := range []string{"https://acme.example/x", "javascript:alert(1)", "https://evil.com@acme.example", "https://acme.example.evil.com", "HTTPS://ACME.example",
		"https:acme.example", "//acme.example", "https://acme.example\\@evil.com", " https://acme.example", "https://acme.example:8443/?a=\"'<>"} {
		f.Add(seed)
	}
	links := Links{Schemes: []string{"https", "myapp"}, Hosts: []string{"acme.example", "*.acme.example"}}
	p, err := compile(&source{file: "f", text: `<a href="{{link}}">x</a>`}, htmlFormat, vocabulary{messageType: generic, schemes: links.Schemes})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, link string) {
		v := &values{payload: map[string]any{"link": link}, links: links}
		v.setLink()
		out := p.render(v).String()
		if shape(out) != shape(`<a href="">x</a>`) {
			t.Fatalf("%q changed the structure: %q", link, out)
		}
		tokens := htmltokens.NewTokenizer(strings.NewReader(out))
		tokens.Next()
		href := strings.ToLower(tokens.Token().Attr[0].Val)
		if _, err := links.Parse(link); err != nil {
			if href != "" {
				t.Fatalf("%q became a link", link)
			}
			return
		}
		rest, found := strings.CutPrefix(href, "https://")
		if !found {
			rest, found = strings.CutPrefix(href, "myapp://")
		}
		host, _, _ := strings.Cut(rest, "/")
		host, _, _ = strings.Cut(host, "?")
		host, _, _ = strings.Cut(host, "#")
		host, _, _ = strings.Cut(host, ":")
		if !found || host != "acme.example" && !strings.HasSuffix(host, ".acme.example") {
			t.Fatalf("%q leads to %q", href, host)
		}
	})
}

func FuzzLocale(f *testing.F) {
	for _, seed := range []string{"", "fr", "zh_Hant_HK", "en_US.UTF-8@euro", "x-", "und-Latn", strings.Repeat("a-", 100), "\x00\xff", "i-klingon", "en-u-rg-gbzzzz"} {
		f.Add(seed, "xx "+seed+",de;fr")
	}
	c := openMiniature(f, nil, logtoLocales()...)
	f.Fuzz(func(t *testing.T, locale, uiLocales string) {
		got := c.Locale("SignIn", map[string]any{"locale": locale, "uiLocales": uiLocales})
		if _, known := c.translations[got]; !known {
			t.Fatalf("%q, %q: chose %q", locale, uiLocales, got)
		}
	})
}

func FuzzTexts(f *testing.F) {
	for _, seed := range []string{"", "{}", `{"dir":"ltr","shared":{"footer":"{{code}}"}}`, `{"a":{"b":{"c":"d"}}}`, `{"a":1}`, `{"a":"b"}x`, `{"types":{"SignIn":{"lead":"{{#if"}}}`} {
		f.Add(seed)
	}
	c := openMiniature(f, nil, "en")
	original := c.translations["en"].texts
	f.Fuzz(func(t *testing.T, content string) {
		sentences, err := readTexts("f.json", content)
		if err == nil && sentences.check("f.json", original, c.settings.vocabulary("")) == nil {
			original.overlay(sentences).of("SignIn", "lead")
		}
	})
}

func FuzzPlainText(f *testing.F) {
	for _, seed := range []string{"", "<p>a</p>", `<a href="x">`, `<a href="{{link}}?u={{user.name}}"></a>`, `<div style="display:none"><b>`, "&amp;&bogus;&#x41;", "<td>{{code}}</td>", "<ul><li>a", "</a></div>", "&#1;&#3;&#2;{{code}}", "&#123;{{code}}{&lcub;"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s := &source{text: text}
		made := s.plainText()
		if strings.Contains(made.text, "\n\n\n") {
			t.Fatalf("blank lines in %q", made.text)
		}
		if p, err := compile(made, textFormat, vocabulary{messageType: generic}); err == nil {
			p.render(fillAll("x", "https://a.example/"))
		}
		if title := s.title(); title != nil && !strings.Contains(text, title.text) {
			t.Fatalf("the title %q", title.text)
		}
	})
}
