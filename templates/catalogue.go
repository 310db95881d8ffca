package templates

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"html"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/text/feature/plural"
	"golang.org/x/text/language"
)

//go:embed layouts locales
var embedded embed.FS

// Types are Logto's message types.
var messageTypes = []string{"SignIn", "Register", "ForgotPassword", "OrganizationInvitation", "Generic",
	"UserPermissionValidation", "BindNewIdentifier", "MfaVerification", "BindMfa"}

type Request struct {
	Type     string
	Payload  map[string]any
	Branding Branding
}

type Mail struct {
	Locale, Subject, HTML, Text string
	Known                       bool
	Source                      string
}

type texts struct {
	Language, Dir, Fonts string
	Validity             map[string]string
	Shared               map[string]string
	Types                map[string]map[string]string
	Failures             map[string]string
}

type brandingValues struct {
	branding Branding
}

func (b brandingValues) find(key string) any {
	switch key {
	case "senderName":
		return b.branding.SenderName
	case "companyInformation":
		return b.branding.CompanyInformation
	case "appLogo":
		return b.branding.AppLogo
	case "appLogoDark":
		return b.branding.AppLogoDark
	case "color":
		return b.branding.Color
	case "support":
		return b.branding.Support.Address.Address
	}
	return nil
}

type Catalogue struct {
	settings Settings
	locales  map[string]*texts
	tags     []string
	matcher  language.Matcher
	mails    map[[2]string]func() (*mailPrograms, error)
}

type mailPrograms struct{ subject, html, text *program }

func Open(s Settings) (*Catalogue, error) {
	c := &Catalogue{settings: s, locales: map[string]*texts{}, mails: map[[2]string]func() (*mailPrograms, error){}}
	htmlLayout, _ := embedded.ReadFile("layouts/mail.html")
	textLayout, _ := embedded.ReadFile("layouts/mail.txt")
	files, _ := fs.Glob(embedded, "locales/*.json")
	for _, f := range files {
		tag := strings.TrimSuffix(strings.TrimPrefix(f, "locales/"), ".json")
		data, _ := embedded.ReadFile(f)
		t := &texts{}
		if err := json.Unmarshal(data, t); err != nil {
			return nil, fmt.Errorf("%s: %w", f, err)
		}
		c.locales[tag] = t
		c.tags = append(c.tags, tag)
		for _, kind := range messageTypes {
			c.mails[[2]string{tag, kind}] = sync.OnceValues(func() (*mailPrograms, error) {
				return c.compose(tag, kind, t, string(htmlLayout), string(textLayout))
			})
		}
	}
	slices.SortFunc(c.tags, func(a, b string) int {
		if a == s.DefaultLocale {
			return -1
		}
		if b == s.DefaultLocale {
			return 1
		}
		return strings.Compare(a, b)
	})
	var tags []language.Tag
	for _, t := range c.tags {
		tags = append(tags, language.Make(t))
	}
	c.matcher = language.NewMatcher(tags)
	return c, nil
}

func (c *Catalogue) compose(tag, kind string, t *texts, htmlLayout, textLayout string) (*mailPrograms, error) {
	minutes := int((time.Duration(c.settings.CodeLifetime) + time.Minute - 1) / time.Minute)
	form := plural.Cardinal.MatchPlural(language.Make(tag), minutes, 0, 0, 0, 0)
	validity := t.Validity[map[plural.Form]string{plural.Zero: "zero", plural.One: "one", plural.Two: "two", plural.Few: "few", plural.Many: "many", plural.Other: "other"}[form]]
	if validity == "" {
		validity = t.Validity["other"]
	}
	start := "left"
	if t.Dir == "rtl" {
		start = "right"
	}
	get := func(key string) string {
		switch key {
		case "locale":
			return tag
		case "dir":
			return t.Dir
		case "start":
			return start
		case "fonts":
			return t.Fonts
		case "validity":
			return validity
		}
		if v, ok := t.Types[kind][key]; ok {
			return v
		}
		return t.Shared[key]
	}
	var m mailPrograms
	var err error
	if m.html, err = compileHTML(source{kind, fill(htmlLayout, get, true)}); err != nil {
		return nil, err
	}
	if m.text, err = compileText(source{kind, fill(textLayout, get, false)}); err != nil {
		return nil, err
	}
	m.subject, err = compileText(source{kind, get("subject")})
	return &m, err
}

func fill(layout string, get func(string) string, escaped bool) string {
	tokens, err := scan(source{"layout", layout})
	if err != nil {
		panic(err)
	}
	var b strings.Builder
	type block struct{ static, taken bool }
	var open []block
	live := func() bool {
		for _, o := range open {
			if o.static && !o.taken {
				return false
			}
		}
		return true
	}
	for _, t := range tokens {
		key, static := strings.CutPrefix(t.path, "text.")
		switch t.kind {
		case ifBlock, unlessBlock:
			if static {
				open = append(open, block{true, (get(key) != "") == (t.kind == ifBlock)})
				continue
			}
			if live() {
				b.WriteString(t.source)
			}
			open = append(open, block{false, true})
			continue
		case elseBranch:
			if top := &open[len(open)-1]; top.static {
				top.taken = !top.taken
				continue
			}
		case endIf, endUnless:
			top := open[len(open)-1]
			open = open[:len(open)-1]
			if top.static {
				continue
			}
		case value:
			if static {
				if live() {
					text := get(key)
					if escaped {
						text = html.EscapeString(text)
					}
					b.WriteString(text)
				}
				continue
			}
		}
		if live() {
			b.WriteString(t.source)
		}
	}
	return b.String()
}

func (c *Catalogue) Types() []string    { return messageTypes }
func (c *Catalogue) Locales() []string  { return c.tags }
func (c *Catalogue) Warnings() []string { return nil }
func (c *Catalogue) Problem() error     { return nil }
func (c *Catalogue) Reload() error      { return nil }

func (c *Catalogue) Locale(payload map[string]any) string {
	locale, _ := payload["locale"].(string)
	if len(locale) > 100 {
		return c.tags[0]
	}
	tag, err := language.Parse(locale)
	if err != nil {
		return c.tags[0]
	}
	_, i, confidence := c.matcher.Match(tag)
	if confidence == language.No {
		return c.tags[0]
	}
	return c.tags[i]
}

func (c *Catalogue) Sentence(locale, reason string) string {
	if t := c.locales[locale]; t != nil {
		return t.Failures[reason]
	}
	return c.locales["en"].Failures[reason]
}

func (c *Catalogue) Render(r Request) (Mail, error) {
	locale := c.Locale(r.Payload)
	kind := r.Type
	known := slices.Contains(messageTypes, kind)
	if !known {
		kind = "Generic"
	}
	m, err := c.mails[[2]string{locale, kind}]()
	if err != nil {
		return Mail{}, err
	}
	minutes := int((time.Duration(c.settings.CodeLifetime) + time.Minute - 1) / time.Minute)
	v := &values{payload: r.Payload, links: c.settings.Links, branding: brandingValues{r.Branding},
		own: map[string]any{"locale": locale, "dir": c.locales[locale].Dir, "codeLifetime": fmt.Sprint(minutes)}}
	return Mail{Locale: locale, Known: known, Source: "embedded",
		Subject: string(m.subject.render(nil, v)),
		HTML:    string(m.html.render(nil, v)),
		Text:    string(m.text.render(nil, v))}, nil
}

func (c *Catalogue) Watch(ctx context.Context, reloaded func(error)) error { return nil }
