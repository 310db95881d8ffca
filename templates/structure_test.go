package templates_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"logto-email-relay/mail"
	"logto-email-relay/templates"
)

// variant is one mail to look at.
type variant struct {
	name, kind string
	payload    map[string]any
	branding   templates.Branding
}

// variants are the mails of one language: the samples with and without the
// operator's branding, and what comes when Logto knows little. In the languages of
// three scripts there are the captured webhooks too, hostile names and all.
func variants(t *testing.T, locale string) []variant {
	t.Helper()
	dark := acme(t)
	dark.AppLogoDark = "https://acme.example/logo-dark.png"
	var all []variant
	add := func(name, kind string, payload map[string]any, brandings ...templates.Branding) {
		for _, branding := range brandings {
			payload = maps.Clone(payload)
			payload["locale"] = locale
			delete(payload, "uiLocales")
			name := fmt.Sprintf("%s %s %s, logo %q", locale, kind, name, branding.AppLogoDark+branding.AppLogo)
			all = append(all, variant{name, kind, payload, branding})
		}
	}
	catalogue, err := templates.Open(templates.DefaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	white, black := templates.Branding{SenderName: "Acme", Color: "#ffffff", AppLogo: "https://acme.example/logo.png"},
		templates.Branding{SenderName: "Acme", Color: "#000000", AppLogo: "https://acme.example/logo.png"}
	for _, kind := range catalogue.Types() {
		add("sample", kind, templates.Sample(kind, ""), white, black)
		add("sample", kind, templates.Sample(kind, ""), templates.Branding{}, acme(t), dark)
		add("code alone", kind, map[string]any{"code": "012345"}, templates.Branding{})
		add("nothing", kind, map[string]any{}, templates.Branding{})
	}
	if locale != "en" && locale != "ar" && locale != "ja" {
		return all
	}
	files, err := filepath.Glob("../handlers/testdata/logto/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no captured webhooks: %v", err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var body struct {
			Type    string
			Payload map[string]any
		}
		if err := json.Unmarshal(content, &body); err != nil {
			t.Fatal(err)
		}
		add(filepath.Base(file), body.Type, body.Payload, templates.Branding{}, dark)
	}
	return all
}

func TestEveryMailIsSoundHTML(t *testing.T) {
	t.Parallel()
	all := templates.DefaultSettings()
	all.RequestDetails = "time+ip"
	catalogue, err := templates.Open(all)
	if err != nil {
		t.Fatal(err)
	}
	largest, count := 0, 0
	for _, locale := range languages {
		for _, v := range variants(t, locale) {
			mail, err := catalogue.Render(templates.Request{Type: v.kind, Locale: catalogue.Locale(v.kind, v.payload), Payload: v.payload, Branding: v.branding,
				To: "ada@example.org", IP: "2001:db8::7", Time: time.Date(2026, time.November, 26, 3, 50, 0, 0, time.UTC)})
			if err != nil {
				t.Fatalf("%s: %v", v.name, err)
			}
			count++
			largest = max(largest, mail.HTML.Len())
			code, _ := v.payload["code"].(string)
			for _, fault := range examine(mail, code) {
				t.Errorf("%s: %s", v.name, fault)
			}
		}
		if t.Failed() {
			return // the other languages have the same faults
		}
	}
	t.Logf("%d mails, the largest HTML has %d bytes", count, largest)
}

// The test above must see what it is there for.
func TestExamineFindsFaults(t *testing.T) {
	catalogue, err := templates.Open(templates.DefaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ old, new, fault string }{
		{"</td></tr></table>\n</div>", "</tr></table>\n</div>", "</tr> closes <td>"},
		{"<!--[if mso]></td></tr></table><![endif]-->", "<!--[if mso]></td></table><![endif]-->", "for Outlook"},
		{"<h1 ", "<p ", "1 h1"},
		{"line-height:1.6;", "line-height:26px;", "fixed height"},
		{`lang="ar" dir="rtl"`, `lang="ar" dir="ltr"`, "dir"},
		{`role="presentation"`, ``, "role"},
		{"alt=\"\u2068Acme\u2069\"", `alt=""`, "alt"},
		{"<strong>", "<strong><i></i>", "the code"},
		{"<strong>", "<span>123456</span><strong>", "the code"},
		{"<strong>", "<strong>\u2068", "isolate"},
		{"<title>", `<link rel="stylesheet" href="https://fonts.example/a.css"><title>`, "<link>"},
		{"<h1 ", `<img src="https://pixel.example/1.gif" alt="x"><h1 `, "pixel.example"},
		{"margin:0;padding:0", "margin:0;background:url(https://pixel.example)", "url("},
		{"<span dir", "<bdi dir", "<bdi>"},
		{"#57606a", "#a0a0a0", "contrast"},
		{".dim{color:#a8b0ba", ".dim{color:#57606a", "contrast in the dark"},
		{"mailto:help@acme.example", "https://acme.example/new", "the text lacks"},
	} {
		written, err := catalogue.Render(templates.Request{Type: "SignIn", Locale: "ar", Payload: templates.Sample("SignIn", "ar"), Branding: acme(t)})
		if err != nil {
			t.Fatal(err)
		}
		written.HTML = mail.Body{mail.OwnPart(strings.ReplaceAll(written.HTML.String(), test.old, test.new))}
		if faults := examine(written, "123456"); !strings.Contains(strings.Join(faults, "\n"), test.fault) {
			t.Errorf("%s instead of %s: found %q, want %s", test.new, test.old, faults, test.fault)
		}
	}
}

// examine returns what is wrong with a mail.
func examine(mail *templates.Mail, code string) (faults []string) {
	fault := func(format string, values ...any) { faults = append(faults, fmt.Sprintf(format, values...)) }
	if n := mail.HTML.Len(); n < 3200 || n > 12<<10 {
		fault("the HTML has %d bytes, want 3,200 (spam filters) to 12,288", n)
	}
	for reader, text := range map[string]string{
		"all": mail.HTML.String(), "Outlook": asOutlookReads(mail.HTML.String()),
	} {
		if problem := unbalanced(text); problem != "" {
			fault("for %s: %s", reader, problem)
		}
	}
	document, err := html.Parse(strings.NewReader(mail.HTML.String()))
	if err != nil {
		return append(faults, err.Error())
	}
	dir := "ltr"
	if mail.Locale == "ar" || mail.Locale == "fa-IR" {
		dir = "rtl"
	}
	count := make(map[atom.Atom]int)
	var codes, pictures int
	for node := range document.Descendants() {
		if node.Type == html.TextNode {
			if strings.Contains(node.Data, "://") && strings.ContainsAny(node.Data, "\u2066\u2067\u2068\u2069") {
				fault("a link as text has a direction isolate: %q", node.Data)
			}
			if code != "" && node.Parent.DataAtom == atom.Strong {
				if strings.ContainsAny(node.Data, "\u2066\u2067\u2068\u2069") {
					fault("the code has a direction isolate")
				}
				if node.Data == code && node.PrevSibling == nil && node.NextSibling == nil {
					codes++
				}
			}
			continue
		}
		if node.Type != html.ElementNode {
			continue
		}
		count[node.DataAtom]++
		attributes := make(map[string]string)
		for _, a := range node.Attr {
			attributes[a.Key] = a.Val
			if code != "" && strings.Contains(a.Val, code) {
				fault("an attribute %s has the code", a.Key)
			}
			if strings.HasPrefix(a.Key, "on") || a.Key == "background" || a.Key == "srcset" {
				fault("there is an attribute %s", a.Key)
			}
		}
		// Readers who enlarge the text alone need lines that grow with it.
		if style := attributes["style"]; fixedLine.MatchString(style) && !strings.Contains(style, "font-size:0") {
			fault("<%s> has lines of a fixed height: %s", node.Data, style)
		}
		if style := attributes["style"]; strings.ContainsAny(style, "<>") || strings.Contains(style, "url(") || strings.Contains(style, "ZgotmplZ") {
			fault("a style has url( or is broken: %s", style)
		}
		if given, ok := attributes["dir"]; ok && given != dir && !(given == "ltr" && (node.DataAtom == atom.Span || attributes["class"] == "code")) {
			fault("<%s> has dir %s", node.Data, given)
		}
		switch node.DataAtom {
		case atom.Html:
			if attributes["lang"] != mail.Locale || attributes["dir"] != dir {
				fault("<html> has lang %s and dir %s", attributes["lang"], attributes["dir"])
			}
		case atom.Table:
			if attributes["role"] != "presentation" || attributes["cellpadding"] != "0" || attributes["cellspacing"] != "0" || attributes["border"] != "0" {
				fault("a table lacks role, cellpadding, cellspacing or border")
			}
		case atom.Img:
			pictures++
			if strings.TrimSpace(attributes["alt"]) == "" || attributes["height"] == "" {
				fault("a picture lacks alt or height")
			}
			if !strings.HasPrefix(attributes["src"], "https://acme.example/logo") && !strings.HasPrefix(attributes["src"], "https://cdn.example.com/") {
				fault("a picture comes from %s", attributes["src"])
			}
		case atom.A:
			target, err := url.Parse(attributes["href"])
			if err != nil || target.Scheme != "https" && target.Scheme != "mailto" {
				fault("a link leads to %q", attributes["href"])
			} else if !strings.Contains(mail.Text, strings.TrimPrefix(attributes["href"], "mailto:")) {
				fault("the text lacks %s", attributes["href"])
			}
		case atom.Bdi, atom.Link, atom.Script, atom.Form, atom.Input, atom.Iframe, atom.Object, atom.Embed, atom.Svg, atom.Video, atom.Base:
			fault("there is a <%s>", node.Data)
		}
		if node.DataAtom == atom.Style && strings.Contains(node.FirstChild.Data, "@import") {
			fault("a style has @import")
		}
		if node.DataAtom == atom.Div && attributes["role"] == "article" && (attributes["lang"] != mail.Locale || attributes["aria-label"] != mail.Subject) {
			fault("the article's lang is %s and its label %q", attributes["lang"], attributes["aria-label"])
		}
		if node.DataAtom == atom.Title && (node.FirstChild == nil || node.FirstChild.Data != mail.Subject) {
			fault("the title is not the subject")
		}
	}
	if count[atom.H1] != 1 || count[atom.Title] != 1 || pictures > 2 {
		fault("there are %d titles, %d pictures and not 1 h1 but %d", count[atom.Title], pictures, count[atom.H1])
	}
	if code != "" {
		if codes != 1 || strings.Count(mail.HTML.String(), code) != 1 {
			fault("the code stands alone in %d elements and occurs %d times", codes, strings.Count(mail.HTML.String(), code))
		}
		if !strings.Contains(mail.Text, "\n\n"+code+"\n\n") || strings.Count(mail.Text, code) != 1 {
			fault("the code is not once on a line of its own in the text")
		}
		if strings.Contains(mail.Subject, code) {
			fault("the subject has the code")
		}
	}
	return append(faults, contrasts(document)...)
}

var fixedLine = regexp.MustCompile(`line-height:\d+px|mso-line-height-rule:exactly|(^|;)height:\d+px`)

var notForOutlook = regexp.MustCompile(`(?s)<!--\[if !mso\]><!-->.*?<!--<!\[endif\]-->`)

// asOutlookReads resolves the conditional comments of the classic Outlook.
func asOutlookReads(text string) string {
	return strings.NewReplacer("<!--[if mso]>", "", "<![endif]-->", "").Replace(notForOutlook.ReplaceAllString(text, ""))
}

var void = []string{"area", "base", "br", "col", "hr", "img", "input", "link", "meta"}

// unbalanced returns the first tag that closes another element than the last
// opened one.
func unbalanced(text string) string {
	var open []string
	tokens := html.NewTokenizer(strings.NewReader(text))
	for {
		switch tokens.Next() {
		case html.ErrorToken:
			if len(open) > 0 {
				return fmt.Sprintf("<%s> is not closed", open[len(open)-1])
			}
			return ""
		case html.StartTagToken:
			if name, _ := tokens.TagName(); !slices.Contains(void, string(name)) {
				open = append(open, string(name))
			}
		case html.EndTagToken:
			name, _ := tokens.TagName()
			last := ""
			if len(open) > 0 {
				last, open = open[len(open)-1], open[:len(open)-1]
			}
			if last != string(name) {
				return fmt.Sprintf("</%s> closes <%s>", name, last)
			}
		}
	}
}

var (
	darkRules  = regexp.MustCompile(`(?s)@media \(prefers-color-scheme:dark\)\{\n(.*?)\}\}\n`)
	rule       = regexp.MustCompile(`([^{}]+)\{([^{}]*)`)
	colors     = regexp.MustCompile(`(?:^|;)(background-color|color):(#[0-9a-f]{6})`)
	sizeOfText = regexp.MustCompile(`font-size:(\d+)px`)
)

// look is how a text appears.
type look struct {
	color, background string
	large             bool // by WCAG, which lets large text have less contrast
}

// contrasts returns the texts of which readers see too little by WCAG 2 (4.5 to
// 1, large ones 3 to 1), in the light colours of the style attributes and in the
// dark ones that the style sheet lays over them.
func contrasts(document *html.Node) (faults []string) {
	var sheet strings.Builder
	for node := range document.Descendants() {
		if node.DataAtom == atom.Style {
			sheet.WriteString(node.FirstChild.Data)
		}
	}
	dark := make(map[string]string) // from "class property" to colour
	if block := darkRules.FindStringSubmatch(sheet.String()); block != nil {
		for _, r := range rule.FindAllStringSubmatch(block[1], -1) {
			selector := strings.TrimPrefix(strings.TrimSpace(r[1]), "}")
			for _, c := range colors.FindAllStringSubmatch(r[2], -1) {
				dark[strings.TrimSpace(selector)+" "+c[1]] = c[2]
			}
		}
	}
	if len(dark) < 7 {
		return []string{"the rules for the dark are not found"}
	}
	var walk func(node *html.Node, now look, inDark bool, within []string)
	walk = func(node *html.Node, now look, inDark bool, within []string) {
		if node.Type == html.TextNode && strings.TrimSpace(node.Data) != "" {
			least := 4.5
			if now.large {
				least = 3
			}
			if got := contrast(now.color, now.background); got < least {
				where := "contrast"
				if inDark {
					where = "contrast in the dark"
				}
				faults = append(faults, fmt.Sprintf("%s %.1f of %s on %s: %q", where, got, now.color, now.background, node.Data))
			}
		}
		if node.Type == html.ElementNode {
			var style, class string
			for _, a := range node.Attr {
				switch a.Key {
				case "style":
					style = a.Val
				case "class":
					class = a.Val
				}
			}
			if strings.Contains(style, "opacity:0") || node.DataAtom == atom.Head {
				return // the preheader
			}
			for _, c := range colors.FindAllStringSubmatch(style, -1) {
				now.set(c[1], c[2])
			}
			if size := sizeOfText.FindStringSubmatch(style); size != nil {
				px, _ := strconv.Atoi(size[1])
				now.large = px >= 24 || px >= 19 && strings.Contains(style, "font-weight:bold")
			}
			if inDark {
				for _, property := range []string{"color", "background-color"} {
					if value, ok := dark["."+class+" "+property]; ok {
						now.set(property, value)
					}
					for _, outer := range within {
						if value, ok := dark["."+outer+" ."+class+" "+property]; ok {
							now.set(property, value)
						}
					}
				}
			}
			if class != "" {
				within = append(slices.Clone(within), class)
			}
		}
		for child := range node.ChildNodes() {
			walk(child, now, inDark, within)
		}
	}
	for _, inDark := range []bool{false, true} {
		walk(document, look{color: "#000000", background: "#ffffff"}, inDark, nil)
	}
	return faults
}

func (l *look) set(property, value string) {
	if property == "color" {
		l.color = value
	} else {
		l.background = value
	}
}

// contrast is that of WCAG 2 between two colours, 1 to 21.
func contrast(a, b string) float64 {
	lighter, darker := luminance(a), luminance(b)
	if lighter < darker {
		lighter, darker = darker, lighter
	}
	return (lighter + 0.05) / (darker + 0.05)
}

func luminance(color string) float64 {
	var sum float64
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		value, err := strconv.ParseUint(color[1+2*i:3+2*i], 16, 8)
		if err != nil {
			return math.NaN()
		}
		if part := float64(value) / 255; part <= 0.04045 {
			sum += weight * part / 12.92
		} else {
			sum += weight * math.Pow((part+0.055)/1.055, 2.4)
		}
	}
	return sum
}
