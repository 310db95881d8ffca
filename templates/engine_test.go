package templates

import (
	"encoding/json"
	"strings"
	"testing"
)

// payload reads JSON the way that the webhook does.
func payload(t testing.TB, text string) map[string]any {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var p map[string]any
	if err := decoder.Decode(&p); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return p
}

func httpsOnly() Links { return Links{Schemes: []string{"https"}} }

// write compiles a template of type Generic and renders it.
func write(t testing.TB, f format, template, data string, variables ...string) string {
	t.Helper()
	p, err := compile(&source{file: "t", text: template}, f, vocabulary{messageType: generic, variables: variables, schemes: []string{"https"}})
	if err != nil {
		t.Fatalf("%s: %v", template, err)
	}
	return p.render(valuesFor(payload(t, data))).String()
}

func valuesFor(p map[string]any) *values {
	v := &values{payload: p, links: httpsOnly(), builtins: [builtins]string{localeBuiltin: "en", dirBuiltin: "ltr", lifetimeBuiltin: "10"}}
	v.setLink()
	v.setBranding(&Branding{SenderName: "Acme"})
	v.setColors(newPalette("#112233"))
	return v
}

// The placeholder rules are those of Logto's connectors, so that a template
// written for one of them says the same here; only a name that is not there
// prints nothing instead of itself.
func TestPlaceholders(t *testing.T) {
	for _, test := range []struct{ name, template, data, want string }{
		{"a value", "Your verification code is {{code}}", `{"code":"123456"}`, "Your verification code is 123456"},
		{"a missing root", "Your verification code is {{code}}.", `{}`, "Your verification code is ."},
		{"a root of the operator's own", "{{code}} and {{foo}}", `{"code":"123456","foo":"bar"}`, "123456 and bar"},
		{"one of two missing", "{{code}} and {{foo}}.", `{"code":"123456"}`, "123456 and ."},
		{"blanks", "{{     code }}{{\n\tcode\n}}", `{"code":"123456"}`, "123456123456"},
		{"dots, indexes, missing children", "{{application.name}}, {{ application.customData.foo }}, {{ application.customData.bar }}, {{ application.customData.baz.1 }}",
			`{"application":{"name":"Logto","customData":{"foo":"foo","baz":[1,"2",null]}}}`, "Logto, foo, , 2"},
		{"a missing object", "Your {{ application.name }} code is {{ code }}", `{"code":"123456"}`, "Your  code is 123456"},
		{"an object, a list and null print nothing", "<{{foo}}{{list}}{{none}}>", `{"foo":{"bar":"x"},"list":["x"],"none":null}`, "<>"},
		{"an element of a list", "{{list.0.name}}-{{list.1.age}}-{{list.2.age}}-{{list.x}}", `{"list":[{"name":"name1"},{"age":2}]}`, "name1-2--"},
		{"an index of an object", "{{foo.0}}", `{"foo":{"0":"zero"}}`, "zero"},
		{"below what is no object", "{{foo.x}}{{foo.0.x}}{{none.foo}}{{list.0.foo}}{{list.x}}", `{"foo":"foo","none":null,"list":[1,"2",null]}`, ""},
		{"numbers as written", "{{foo}} {{bar}} {{list.0}}", `{"foo":12345678901234567890,"bar":1.50,"list":[-0.0]}`, "12345678901234567890 1.50 -0.0"},
		{"truth values", "{{foo}} {{bar}}", `{"foo":true,"bar":false}`, "true false"},
		{"single braces", "{ a } }} {code}", `{"code":"1"}`, "{ a } }} {code}"},
		{"line breaks of the author", "a\n\n{{code}}\r\nb", `{"code":"1"}`, "a\n\n1\r\nb"},
		{"line breaks and controls of a value", "{{code}}", "{\"code\":\"1\\r\\n2\\u0000\\u007f\\u0085\\u009f\\u2028\\u202a\\u202e\\u2066\\u20693\"}", "123"},
		{"nothing is taken twice", "{{code}}", `{"code":"{{foo}}","foo":"x"}`, "{{foo}}"},
		{"the mail's own", "{{locale}} {{dir}} {{codeLifetime}} {{branding.senderName}}", `{"locale":"xx"}`, "en ltr 10 Acme"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := write(t, textFormat, test.template, test.data, "foo", "bar", "list", "none"); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestBlocks(t *testing.T) {
	const template = "{{#if foo}}yes{{else}}no{{/if}} {{#unless foo}}no{{else}}yes{{/unless}}"
	for data, want := range map[string]string{
		`{}`: "no", `{"foo":null}`: "no", `{"foo":false}`: "no", `{"foo":""}`: "no", `{"foo":0}`: "no", `{"foo":0.0e5}`: "no", `{"foo":{}}`: "no", `{"foo":[]}`: "no",
		`{"foo":"\u200b\u202e "}`: "no", // nothing that can be seen
		`{"foo":true}`:            "yes", `{"foo":"0"}`: "yes", `{"foo":"x"}`: "yes", `{"foo":-0.1}`: "yes", `{"foo":1e999}`: "yes", `{"foo":{"a":null}}`: "yes", `{"foo":[0]}`: "yes",
		`{"foo":"名"}`: "yes",
	} {
		if got := write(t, textFormat, template, data, "foo"); got != want+" "+want {
			t.Errorf("%s: got %q, want %q twice", data, got, want)
		}
	}
	nested := "{{#if foo}}a{{#if bar}}b{{#unless code}}c{{/unless}}{{else}}d{{/if}}e{{/if}}f"
	for data, want := range map[string]string{
		`{}`: "f", `{"foo":1}`: "adef", `{"foo":1,"bar":1}`: "abcef", `{"foo":1,"bar":1,"code":"1"}`: "abef", `{"bar":1}`: "f",
	} {
		if got := write(t, textFormat, nested, data, "foo", "bar"); got != want {
			t.Errorf("%s: got %q, want %q", data, got, want)
		}
	}
	for data, want := range map[string]string{
		`{"user":{"name":{"a":1},"profile":{"a":1}}}`: "- profile", `{"user":{"name":["a"],"profile":{}}}`: "- -", `{"user":{"name":"Ada"}}`: "Ada -",
	} {
		if got := write(t, textFormat, "{{#if user.name}}{{user.name}}{{else}}-{{/if}} {{#if user.profile}}profile{{else}}-{{/if}}", data); got != want {
			t.Errorf("%s: got %q, want %q", data, got, want)
		}
	}
	// A reader without the code is locked out.
	for _, code := range []string{"0", "-0", "0.0", `"0"`} {
		if got := write(t, textFormat, "{{#if code}}{{code}}{{else}}none{{/if}}", `{"code":`+code+`}`); got != strings.Trim(code, `"`) {
			t.Errorf("the code %s: got %q", code, got)
		}
	}
	if got := write(t, textFormat, "{{#if link}}{{link}}{{else}}none{{/if}}", `{"link":"javascript:alert(1)"}`); got != "none" {
		t.Errorf("a link that may not become one: got %q", got)
	}
}

func TestValuesByPlace(t *testing.T) {
	const hostile = `{"code":"<b>\"'&--","link":"https://a.example/?a=1&b='\"<","user":{"name":"<i>x</i>","primaryEmail":"a@b.example"},
		"application":{"name":"javascript:alert(1)","logo":"http://a.example/l.png"},"organization":{"logo":"https://a.example/l.png"}}`
	for _, test := range []struct{ name, template, want string }{
		{"text", `<p>{{code}}</p>`, `<p>&lt;b&gt;&#34;&#39;&amp;--</p>`},
		{"double quotes", `<p title="{{code}}">`, `<p title="&lt;b&gt;&#34;&#39;&amp;--">`},
		{"single quotes", `<p title='{{code}}'>`, `<p title='&lt;b&gt;&#34;&#39;&amp;--'>`},
		{"title and textarea", `<title>{{code}}</title><textarea>{{code}}</textarea>`, `<title>&lt;b&gt;&#34;&#39;&amp;--</title><textarea>&lt;b&gt;&#34;&#39;&amp;--</textarea>`},
		{"comment", `<!-- {{code}} -->`, `<!-- &lt;b&gt;&#34;&#39;&amp;&#45;&#45; -->`},
		{"Outlook's comment", `<!--[if mso]><td title="{{code}}">{{user.name}}</td><![endif]-->`,
			`<!--[if mso]><td title="&lt;b&gt;&#34;&#39;&amp;&#45;&#45;">&lt;i&gt;x&lt;/i&gt;</td><![endif]-->`},
		{"not Outlook", `<!--[if !mso]><!--><p>{{code}}</p><!--<![endif]-->`, `<!--[if !mso]><!--><p>&lt;b&gt;&#34;&#39;&amp;--</p><!--<![endif]-->`},
		{"a link", `<a href="{{link}}">`, `<a href="https://a.example/?a=1&amp;b=&#39;%22%3C">`},
		{"a link that is none", `<a href="{{application.name}}">`, `<a href="">`},
		{"a link right behind a value", `<a class="x"href="{{application.name}}">`, `<a class="x"href="">`},
		{"a link of Outlook's", `<!--[if mso]><v:roundrect href="{{application.name}}"></v:roundrect><![endif]-->`, `<!--[if mso]><v:roundrect href=""></v:roundrect><![endif]-->`},
		{"an image", `<img src="{{organization.logo}}">`, `<img src="https://a.example/l.png">`},
		{"an image without TLS", `<img src="{{application.logo}}"><td background='{{application.logo}}'>`, `<img src=""><td background=''>`},
		{"in a query", `<a href="https://acme.example/?u={{user.name}}&amp;c={{code}}">`, `<a href="https://acme.example/?u=%3Ci%3Ex%3C%2Fi%3E&amp;c=%3Cb%3E%22%27%26--">`},
		{"in a path", `<a href="https://acme.example/{{application.logo}}">`, `<a href="https://acme.example/http%3A%2F%2Fa.example%2Fl.png">`},
		{"behind a link", `<a href="{{organization.logo}}?c={{code}}">`, `<a href="https://a.example/l.png?c=%3Cb%3E%22%27%26--">`},
		{"in one of two links", `<a href="{{#if link}}{{link}}{{else}}https://acme.example/{{/if}}">`, `<a href="https://a.example/?a=1&amp;b=&#39;%22%3C">`},
		{"in a mail address", `<a href="mailto:{{user.name}}@x?subject={{code}}">`, `<a href="mailto:%3Ci%3Ex%3C%2Fi%3E@x?subject=%3Cb%3E%22%27%26--">`},
		{"the @ of a mail address", `<a href="mailto:{{user.primaryEmail}}"><a href="https://acme.example/?m={{user.primaryEmail}}">`,
			`<a href="mailto:a@b.example"><a href="https://acme.example/?m=a%40b.example">`},
		{"in a link of Outlook's", `<!--[if mso]><v:roundrect href="https://acme.example/?c={{code}}"></v:roundrect><![endif]-->`,
			`<!--[if mso]><v:roundrect href="https://acme.example/?c=%3Cb%3E%22%27%26&#45;&#45;"></v:roundrect><![endif]-->`},
		{"colours", `<style>a{color:{{branding.color}}}</style><p style="color:{{#if branding.color}}{{branding.color}}{{/if}}" bgcolor="{{branding.color}}">`,
			`<style>a{color:#112233}</style><p style="color:#112233" bgcolor="#112233">`},
		{"behind a comment", `<!-- x -->{{code}}`, `<!-- x -->&lt;b&gt;&#34;&#39;&amp;--`},
		{"behind a drawing and a formula", `<svg><svg></svg></svg><math></math>{{code}}`, `<svg><svg></svg></svg><math></math>&lt;b&gt;&#34;&#39;&amp;--`},
		{"before what is not closed for Outlook", `{{code}}<!--[if mso]><style>a{}<![endif]-->`, `&lt;b&gt;&#34;&#39;&amp;--<!--[if mso]><style>a{}<![endif]-->`},
		{"a description", `<meta name="description" content="{{code}}">`, `<meta name="description" content="&lt;b&gt;&#34;&#39;&amp;--">`},
		{"blanks in a tag", "<p/ title = \"{{code}}\"\tlang='{{code}}' />", "<p/ title = \"&lt;b&gt;&#34;&#39;&amp;--\"\tlang='&lt;b&gt;&#34;&#39;&amp;--' />"},
		{"a name that has more bytes in small letters", `<aİİİ lang="{{code}}">`, `<aİİİ lang="&lt;b&gt;&#34;&#39;&amp;--">`},
		{"behind an empty value", `<p class="" title="{{code}} x='">`, `<p class="" title="&lt;b&gt;&#34;&#39;&amp;-- x='">`},
		{"blocks around tags", `{{#if code}}<tr><td>{{else}}<p>{{/if}}x`, `<tr><td>x`},
		{"blocks in a value", `<p class="a {{#if code}}b{{else}}c{{/if}}">`, `<p class="a b">`},
		{"bytes of the author", "<P Class=x\tid = 'y'>&nbsp;&bogus; < 3 <?xml?><!DOCTYPE x><![if mso]>\r\n\x01</P>{{code}}", "<P Class=x\tid = 'y'>&nbsp;&bogus; < 3 <?xml?><!DOCTYPE x><![if mso]>\r\n\x01</P>&lt;b&gt;&#34;&#39;&amp;--"},
		{"ends of the author", "{{code}}<p>a <br/><!--> <!-- a --!></> <3", "&lt;b&gt;&#34;&#39;&amp;--<p>a <br/><!--> <!-- a --!></> <3"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := write(t, htmlFormat, test.template, hostile); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
	v := valuesFor(map[string]any{})
	p, err := compile(&source{text: `<p style="color:{{branding.color}}">`}, htmlFormat, vocabulary{messageType: generic})
	if err != nil {
		t.Fatal(err)
	}
	for _, none := range []string{"red;background:url(x)", "#12345;", "#url(x)", "1234567"} {
		v.builtins[brandColor] = none
		if got := p.render(v).String(); got != `<p style="color:">` {
			t.Errorf("what is no colour: got %s", got)
		}
	}
}

func TestMistakes(t *testing.T) {
	deep := strings.Repeat("{{#if code}}", 33) + strings.Repeat("{{/if}}", 33)
	for _, test := range []struct {
		format   format
		template string
		want     string // where, and a part of the reason
	}{
		{textFormat, "a\nbö {{{code}}}", "2:4 unescaped"},
		{textFormat, "{{> header}}", "1:1 include"},
		{textFormat, "{{#each list}}", "1:1 no #each"},
		{textFormat, "{{#with user}}", "1:1 no #with"},
		{textFormat, "{{ a b }}", "1:1 no functions"},
		{textFormat, "{{}}", "1:1 empty"},
		{textFormat, "{{ a-b }}", "1:1 is not a name"},
		{textFormat, "{{ user..name }}", "1:1 is not a name"},
		{textFormat, "{{ .name }}", "1:1 is not a name"},
		{textFormat, "{{! note }}", "1:1 HTML comments"},
		{textFormat, "{{~code}}", "1:1 unknown"},
		{textFormat, "{{&code}}", "1:1 unknown"},
		{textFormat, "{{/each}}", "1:1 unknown"},
		{textFormat, "{{#if}}{{/if}}", "1:1 takes one name"},
		{textFormat, "{{#if a == b}}{{/if}}", "1:1 no comparisons"},
		{textFormat, "{{else if code}}", "1:1 write {{else}} alone"},
		{textFormat, "{{code", "1:1 not closed"},
		{textFormat, "{{code {{code}}", "1:1 not closed"},
		{textFormat, "{{a{{code}}", "1:1 not closed"},
		{textFormat, "{{{{code}}", "1:1 unescaped"},
		{textFormat, "{{#if code}}", "1:1 write {{/if}} after it"},
		{textFormat, "{{#unless code}}", "1:1 write {{/unless}} after it"},
		{textFormat, "{{/if}}", "1:1 closes nothing"},
		{textFormat, "{{else}}", "1:1 outside"},
		{textFormat, "{{#if code}}{{/unless}}", "1:13 other kind"},
		{textFormat, "{{#if code}}{{else}}{{else}}{{/if}}", "1:21 second"},
		{textFormat, deep, "1:385 nested"},
		{textFormat, strings.Repeat("x", 256<<10+1), "1:1 at most"},
		{textFormat, "a\x00", "1:1 UTF-8"},
		{textFormat, "\xff", "1:1 UTF-8"},
		{textFormat, "{{nmae}}", "1:1 templates.variables"},
		{textFormat, "{{ aplication.name }}", "1:1 did you mean application"},
		{textFormat, "{{branding.name}}", "1:1 senderName"},
		{textFormat, "{{#if usr}}{{/if}}", "1:1 did you mean user"},

		{htmlFormat, `<style>a{b:{{code}}}</style>`, "1:12 only {{branding.color}}"},
		{htmlFormat, `<style>{{#if code}}a{}{{/if}}</style>`, "1:8 only {{branding.color}}"},
		{htmlFormat, `<p style="color:{{code}}">`, "1:17 only {{branding.color}}"},
		{htmlFormat, `<script>{{code}}</script>`, "1:9 <script>"},
		{htmlFormat, `<noscript>{{code}}</noscript>`, "1:11 <noscript>"},
		{htmlFormat, `<xmp>{{code}}</xmp>`, "1:6 <xmp>"},
		{htmlFormat, `<plaintext>{{code}}`, "1:12 <plaintext>"},
		{htmlFormat, `<p onclick="{{code}}">`, "1:13 event handlers"},
		{htmlFormat, `<img srcset="{{code}}">`, "1:14 srcset"},
		{htmlFormat, `<iframe srcdoc="{{code}}">`, "1:17 srcdoc"},
		{htmlFormat, `<p class={{code}}>`, "1:10 quotes"},
		{htmlFormat, `<p {{code}}>`, "1:4 value of an attribute"},
		{htmlFormat, `<p {{#if code}}class="x"{{/if}}>`, "1:4 value of an attribute"},
		{htmlFormat, `<p da{{code}}="x">`, "1:6 value of an attribute"},
		{htmlFormat, `<p class="x"{{code}}>`, "1:13 value of an attribute"},
		{htmlFormat, `<h{{code}}>`, "1:3 value of an attribute"},
		{htmlFormat, `<{{code}}>`, "1:2 value of an attribute"},
		{htmlFormat, `</{{code}}>`, "1:3 closing tag"},
		{htmlFormat, `<meta http-equiv="refresh" content="{{code}}">`, "1:37 http-equiv"},
		{htmlFormat, `<base href="{{link}}">`, "1:13 <base>"},
		{htmlFormat, `<link href="{{link}}">`, "1:13 <link>"},
		{htmlFormat, `<!DOCTYPE {{code}}>`, "1:11 doctype"},
		{htmlFormat, `<!{{code}}>`, "1:3 cannot stand here"},
		{htmlFormat, `<?{{code}}>`, "1:3 cannot stand here"},
		{htmlFormat, `<![CDATA[{{code}}]]>`, "1:10 cannot stand here"},
		{htmlFormat, `<!--{{code}}-->`, "1:5 dash"},
		{htmlFormat, `<!-- -{{code}}-> -->`, "1:7 dash"},
		{htmlFormat, `<!--[if {{code}}]>x<![endif]-->`, "1:9 condition"},
		{htmlFormat, `<!--[if mso]>{{code}}<!-- x -->`, "1:14 cannot stand here"},
		{htmlFormat, `<!--[if mso]><p class={{code}}><![endif]-->`, "1:23 quotes"},
		{htmlFormat, `<!--[if İ]><p class={{code}}><![endif]-->`, "1:21 quotes"}, // İ in small letters has more bytes
		{htmlFormat, `<!--[if mso]><style>a{}<![endif]--><p>{{code}}</p>`, "1:1 close every tag"},
		{htmlFormat, `<p title="{{code}}`, "1:11 not closed"},
		{htmlFormat, `{{code}}<a href="https://acme.exa`, "1:9 inside of this tag"},
		{htmlFormat, `{{code}}<p title="a>`, "1:9 inside of this tag"},
		{htmlFormat, `{{code}}</p`, "1:9 inside of this tag"},
		{htmlFormat, `{{code}}<!DOCTYPE html`, "1:9 inside of this tag"},
		{htmlFormat, `{{code}}<!-- a>`, "1:9 inside of this comment"},
		{htmlFormat, `{{code}}<!--[if mso]><p>a</p>`, "1:9 inside of this comment"},
		{htmlFormat, `{{code}}<style>`, "1:16 write </style> after it"},
		{htmlFormat, `{{code}}<style>.a{</sty`, "1:24 write </style> after it"},
		{htmlFormat, `<title>{{code}}`, "1:16 write </title> after it"},
		{htmlFormat, `<title></titl{{code}}e>{{code}}</title>`, "1:14 right after <"},
		{htmlFormat, `<svg><text x="{{code}}">{{code}}</text></svg>`, "1:15 <svg>"},
		{htmlFormat, `<svg><title><a href="{{link}}"></title></svg>`, "1:22 <svg>"},
		{htmlFormat, `<svg><svg></svg>{{code}}</svg>`, "1:17 <svg>"},
		{htmlFormat, `</svg><svg>{{code}}</svg>`, "1:12 <svg>"},
		{htmlFormat, `<svg><p></p>{{code}}</svg>`, "1:13 <svg>"},
		{htmlFormat, `<math>{{code}}</math>`, "1:7 <svg>"},
		{htmlFormat, `<!--[if mso]>-{{code}}<![endif]-->`, "1:15 dash"},
		{htmlFormat, `<a :href="javascript:{{code}}">`, "1:22 scheme javascript"},
		{htmlFormat, `<a xlink:href="javascript:{{code}}">`, "1:27 scheme javascript"},
		{htmlFormat, `&#{{code}};`, "1:3 character reference"},
		{htmlFormat, `&#1{{code}};`, "1:4 character reference"},
		{htmlFormat, `&#x10fff{{code}};`, "1:9 character reference"},
		{htmlFormat, `<a href="javascript:{{code}}">`, "1:21 scheme javascript"},
		{htmlFormat, `<a href="java&#115;cript&colon;{{code}}">`, "1:32 scheme javascript"},
		{htmlFormat, "<a href=\" java\nscript:{{code}}\">", "2:8 scheme javascript"},
		{htmlFormat, `<a href="https://{{code}}/">`, "1:18 host"},
		{htmlFormat, `<a href="https:\\{{code}}">`, "1:18 host"},
		{htmlFormat, `<a href="https://acme.example{{code}}">`, "1:30 host"},
		{htmlFormat, `<a href="{{code}}script:{{code}}">`, "1:25 query"},
		{htmlFormat, `<a href="{{link}}{{code}}">`, "1:18 query"},
		{htmlFormat, `<a href="/{{code}}">`, "1:11 scheme"},
		{htmlFormat, `<a href="{{#if code}}https://acme.example/{{/if}}{{link}}">`, "1:50 another"},
		{htmlFormat, `<a href="https://acme.example/?` + strings.Repeat("{{#if code}}a{{else}}b{{/if}}", 6) + `">`, "1:199 too many blocks"},
		{htmlFormat, `<a href="https://acme.example/?` + strings.Repeat("x", 5000) + `{{code}}">`, "1:5032 more than 4096"},
		{htmlFormat, `{{#if code}}<p title="{{/if}}">`, "1:23 another place"},
		{htmlFormat, `<p title="{{#if code}}"><b title="{{/if}}">`, "1:35 another place"},
		{htmlFormat, `{{#if code}}<title>{{else}}</title>{{/if}}`, "1:20 another place"},
		{htmlFormat, `{{#if code}}<!--[if mso]>{{/if}}<![endif]-->`, "1:26 another place"},
		{htmlFormat, `{{#if code}}<!-- {{else}} -->{{/if}}`, "1:18 another place"},
	} {
		_, err := compile(&source{file: "f", text: test.template}, test.format, vocabulary{messageType: generic, schemes: []string{"https"}})
		where, reason, _ := strings.Cut(test.want, " ")
		if err == nil || !strings.HasPrefix(err.Error(), "f:"+where+": ") || !strings.Contains(strings.SplitN(err.Error(), "\n", 2)[0], reason) {
			t.Errorf("%s\n\tgot  %v\n\twant %s", shorten(test.template), err, test.want)
		}
	}
}

// What reaches a bound is taken, and what is beyond is not, by as little as that may be.
func TestBounds(t *testing.T) {
	for beyond := range 2 {
		more := strings.Repeat("x", beyond)
		_, errSize := compile(&source{text: strings.Repeat("x", 256<<10) + more}, textFormat, vocabulary{})
		_, errURL := compile(&source{text: `<a href="https://acme.example/?` + strings.Repeat("x", 4096-len("https://acme.example/?")) + more + `{{code}}">`},
			htmlFormat, vocabulary{messageType: generic, schemes: []string{"https"}})
		_, errDepth := compile(&source{text: strings.Repeat("{{#if code}}", 32+beyond) + strings.Repeat("{{/if}}", 32+beyond)}, textFormat, vocabulary{messageType: generic})
		for what, err := range map[string]error{"size": errSize, "URL": errURL, "depth": errDepth} {
			if (err != nil) != (beyond > 0) {
				t.Errorf("%s, %d beyond: %v", what, beyond, err)
			}
		}
		name := strings.Repeat("é", 40) + more
		if _, err := compile(&source{text: "{{" + name + "}}"}, textFormat, vocabulary{}); strings.Contains(err.Error(), "…") != (beyond > 0) {
			t.Errorf("a name of %d characters: %v", 40+beyond, err)
		}
	}
}

func TestAllMistakesAtOnce(t *testing.T) {
	_, err := compile(&source{file: "f", text: "<p class={{code}}>\n{{nothing}}\n<script>{{code}}</script>"}, htmlFormat, vocabulary{messageType: generic})
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("want three lines, got %v", err)
	}
}

func TestNamesByType(t *testing.T) {
	for _, test := range []struct {
		messageType, template string
		allowed               bool
	}{
		{"SignIn", "{{link}}", false}, {"SignIn", "{{inviter.name}}", false}, {"SignIn", "{{user.name}}", true},
		{invitation, "{{link}}{{inviter.name}}", true}, {generic, "{{link}}{{inviter.name}}{{code}}", true},
	} {
		_, err := compile(&source{text: test.template}, textFormat, vocabulary{messageType: test.messageType})
		if (err == nil) != test.allowed {
			t.Errorf("%s in %s: %v", test.template, test.messageType, err)
		}
	}
}
