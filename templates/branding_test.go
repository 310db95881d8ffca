package templates

import (
	"strings"
	"testing"
)

func contrastOf(a, b rgb) float64 {
	lighter, darker := max(a.luminance(), b.luminance()), min(a.luminance(), b.luminance())
	return (lighter + 0.05) / (darker + 0.05)
}

// Whatever colour an operator writes, its button can be read, and seen in the
// dark.
func TestEveryBrandIsLegible(t *testing.T) {
	colors := map[string]rgb{"#ffffff": {0xff, 0xff, 0xff}, "#000000": {}}
	least, leastEdge := 21.0, 21.0
	for red := 0; red < 256; red += 3 {
		for green := 0; green < 256; green += 3 {
			for blue := 0; blue < 256; blue += 3 {
				c := rgb{byte(red), byte(green), byte(blue)}
				dark := c.visibleInTheDark()
				least = min(least, contrastOf(c, colors[c.text()]), contrastOf(dark, colors[dark.text()]))
				leastEdge = min(leastEdge, contrastOf(dark, rgb{0x22, 0x26, 0x2d}))
			}
		}
	}
	// The darkest ones, for which WCAG has a formula of their own.
	for i := range 16 {
		for _, c := range []rgb{{byte(i), byte(i), byte(i)}, {0, byte(i), 0}} {
			least = min(least, contrastOf(c, colors[c.text()]))
			if c.text() != "#ffffff" {
				t.Errorf("%v has a text in %s", c, c.text())
			}
		}
	}
	if least < textContrast || leastEdge < edgeContrast {
		t.Errorf("a text has the contrast %.2f, a button in the dark %.2f", least, leastEdge)
	}
	for _, test := range []struct{ color, text, dark, darkText string }{
		{"#0b57d0", "#ffffff", "#296cd5", "#ffffff"}, {"#6b3fa0", "#ffffff", "#8663b1", "#ffffff"}, {"#ffd400", "#000000", "#ffd400", "#000000"},
		{"#000000", "#ffffff", "#cfcfcf", "#000000"}, {"#FFFFFF", "#000000", "#FFFFFF", "#000000"}, {"red", "#ffffff", "#296cd5", "#ffffff"},
	} {
		p := newPalette(test.color)
		if got := [...]string{p.text, p.dark, p.darkText}; got != [...]string{test.text, test.dark, test.darkText} {
			t.Errorf("%s: got %q", test.color, got)
		}
	}
}

func TestTheLogoIsSomebodys(t *testing.T) {
	logo := func(name string) string { return `"branding":{"logoUrl":"https://a.example/` + name + `"}` }
	for _, test := range []struct{ data, logo, name, organization string }{
		{`{}`, "own.png", "Acme", ""},
		{`{"application":{"name":"internal",` + logo("app.png") + `}}`, "app.png", "internal", ""},
		{`{"application":{"name":"internal","displayName":"Shop",` + logo("app.png") + `}}`, "app.png", "Shop", ""},
		{`{"application":{"name":"x",` + logo("app.png") + `},"organization":{"name":"Rowing Club",` + logo("org.png") + `}}`, "org.png", "Rowing Club", "Rowing Club"},
		{`{"organization":{"name":"Acme",` + logo("org.png") + `}}`, "org.png", "Acme", ""},
		{`{"organization":{"name":"evil.com",` + logo("org.png") + `}}`, "org.png", "evil. com", "evil. com"},
		{`{"organization":{` + logo("org.png") + `}}`, "org.png", "Acme", ""},
		// Gmail shows no SVG.
		{`{"application":{"name":"App",` + logo("app.png") + `},"organization":{"name":"Rowing Club",` + logo("org.svg") + `}}`, "app.png", "App", ""},
		{`{"application":{"name":"App",` + logo("app.SVG?v=1.png") + `},"organization":{"name":"Rowing Club",` + logo("org.svg#a") + `}}`, "own.png", "Acme", ""},
	} {
		v := values{payload: payload(t, test.data)}
		v.setBranding(&Branding{SenderName: "Acme", AppLogo: "https://a.example/own.png"})
		b := v.builtins
		if got := strings.TrimPrefix(b[appLogo], "https://a.example/"); got != test.logo || b[logoName] != test.name || b[logoOrganization] != test.organization {
			t.Errorf("%s: got %s of %q, organization %q", test.data, got, b[logoName], b[logoOrganization])
		}
	}
}

// Whose logo it is is written too, for those who do not know it by its looks.
func TestTheOrganizationIsNamedBelowItsLogo(t *testing.T) {
	c, err := Open(DefaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	const data = `{"code":"123456","organization":{"name":"Rowing Club","branding":{"logoUrl":"https://a.example/club.png"}}}`
	m, err := c.Render(Request{Type: "SignIn", Locale: "en", Payload: payload(t, data), Branding: Branding{SenderName: "Acme", AppLogo: "https://a.example/own.png"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`src="https://a.example/club.png" alt="Rowing Club"`, ">Rowing Club</p>", `<td class="plate"`} {
		if !strings.Contains(m.HTML.String(), want) {
			t.Errorf("the HTML lacks %s", want)
		}
	}
	if !strings.HasPrefix(m.Text, "Acme\nRowing Club\n\nSign in\u00a0to\u00a0Acme\n") {
		t.Errorf("the text is %s", m.Text)
	}
}

// A product may have a dot in its name, which Logto knows as well. Nobody else's name is spared.
func TestTheOperatorsOwnNameStaysWhole(t *testing.T) {
	c := openMiniature(t, nil, "en")
	for _, test := range []struct{ sender, displayName, name, want string }{
		{"Cal.com", "Cal.com", "", "Cal.com"}, {"Cal.com", "", "Cal.com", "Cal.com"}, {"Cal.com", "Cal.com.evil.com", "", "Cal. com. evil. com"},
		{"Acme", "evil.com", "", "evil. com"}, {"", "Cal.com", "", "Cal. com"},
	} {
		m, err := c.Render(Request{Type: "SignIn", Locale: "en", Branding: Branding{SenderName: test.sender},
			Payload: map[string]any{"code": "123456", "application": map[string]any{"displayName": test.displayName, "name": test.name}}})
		if want := "en SignIn – " + test.want; err != nil || m.Subject != want {
			t.Errorf("%+v: the subject is %q, %v", test, m.Subject, err)
		}
	}
}
