package templates

import (
	"encoding/hex"
	"math"
	"strings"
)

// defaultColor is the colour of buttons where the operator has none.
const defaultColor = "#0b57d0"

// setBranding lays what Logto knows of the application and the organization over
// the operator's branding: the organization's logo before the application's, the
// application's display name before the configured name, its internal name only
// if there is no other. A logo on a light ground and one on a dark ground come
// from the same place or they would not match.
func (v *values) setBranding(b *Branding) {
	fields := &v.builtins
	v.own = b.SenderName
	fields[senderName], fields[companyInformation] = b.SenderName, b.CompanyInformation
	fields[support] = b.Support.Address.Address

	application, _ := v.payload["application"].(map[string]any)
	organization, _ := v.payload["organization"].(map[string]any)
	displayName, name := v.nameIn(application, "displayName"), ""
	if displayName != "" {
		fields[senderName] = displayName
	}
	if displayName == "" {
		name = v.nameIn(application, "name")
	}
	if fields[senderName] == "" {
		fields[senderName] = name
	}

	fields[appLogo], fields[appLogoDark], fields[logoName] = b.AppLogo, b.AppLogoDark, b.SenderName
	if v.takeLogo(organization) {
		fields[logoName] = v.nameIn(organization, "name")
		if fields[logoName] != fields[senderName] {
			fields[logoOrganization] = fields[logoName]
		}
	} else if v.takeLogo(application) {
		fields[logoName] = displayName + name // one of them is empty
	}
	if fields[logoName] == "" {
		fields[logoName] = fields[senderName]
	}
}

// nameIn returns a name that Logto has of something, neutralised.
func (v *values) nameIn(object map[string]any, key string) string {
	name, _ := object[key].(string)
	if name == "" {
		return ""
	}
	return v.shown(name)
}

// takeLogo takes the logo that Logto has of somebody, if mails can show it.
func (v *values) takeLogo(owner map[string]any) bool {
	own, _ := owner["branding"].(map[string]any)
	light, _ := own["logoUrl"].(string)
	dark, _ := own["darkLogoUrl"].(string)
	if light = shownInMail(light); light == "" {
		return false
	}
	v.builtins[appLogo], v.builtins[appLogoDark] = light, shownInMail(dark)
	return true
}

// shownInMail returns the address of a picture if mail programs show it. Gmail
// shows no SVG, which is what Logto's console asks for.
func shownInMail(picture string) string {
	path, _, _ := strings.Cut(picture, "#")
	path, _, _ = strings.Cut(path, "?")
	if hasSuffixFold(path, ".svg") || hasSuffixFold(picture, ".svg") {
		return ""
	}
	return httpsURL(picture)
}

func hasSuffixFold(text, suffix string) bool {
	return len(text) >= len(suffix) && strings.EqualFold(text[len(text)-len(suffix):], suffix)
}

// palette are the colours of a brand.
type palette struct {
	written                     string // by the operator
	brand, text, dark, darkText string
}

func newPalette(written string) *palette {
	brand := written
	if !isColor(brand) {
		brand = defaultColor
	}
	var c rgb
	_, _ = hex.Decode(c[:], []byte(brand[1:])) // isColor has looked at it
	dark := c.visibleInTheDark()
	p := &palette{written: written, brand: brand, text: c.text(), dark: brand, darkText: dark.text()}
	if dark != c {
		p.dark = "#" + hex.EncodeToString(dark[:])
	}
	return p
}

// paletteOf makes a palette unless it is that of the mail before: few operators
// have more than one.
func (c *Catalogue) paletteOf(color string) *palette {
	p := c.palette.Load()
	if p == nil || p.written != color {
		p = newPalette(color)
		c.palette.Store(p)
	}
	return p
}

func (v *values) setColors(p *palette) {
	v.builtins[brandColor], v.builtins[brandText] = p.brand, p.text
	v.builtins[darkBrand], v.builtins[darkBrandText] = p.dark, p.darkText
}

// rgb is a colour of sRGB.
type rgb [3]byte

const (
	// What WCAG 2 asks of the contrast of a text, and of that of a button's edge.
	textContrast = 4.5
	edgeContrast = 3
	// A brand that can hardly be told from the dark ground becomes a light one. With
	// the least contrast it would be grey, as buttons are that do not work.
	hardlySeen    = 1.5
	lightContrast = 9
)

// darkCard is the lightest ground that the brand stands on in dark mode.
var darkCard = rgb{0x22, 0x26, 0x2d}.luminance()

// light is how much light each value of a channel gives, by WCAG 2.
var light = func() (table [256]float64) {
	for i := range table {
		if part := float64(i) / 255; part <= 0.04045 {
			table[i] = part / 12.92
		} else {
			table[i] = math.Pow((part+0.055)/1.055, 2.4)
		}
	}
	return table
}()

// luminance is 0 for black and 1 for white.
func (c rgb) luminance() float64 {
	return 0.2126*light[c[0]] + 0.7152*light[c[1]] + 0.0722*light[c[2]]
}

// text is the colour of a text on this one: white where that is legible, else
// black, which then is. No colour is too light for the one and too dark for the
// other.
func (c rgb) text() string {
	if 1.05/(c.luminance()+0.05) >= textContrast {
		return "#ffffff"
	}
	return "#000000"
}

// visibleInTheDark is the colour with as much white as makes it stand out from a
// dark ground.
func (c rgb) visibleInTheDark() rgb {
	const steps = 16
	wanted := edgeContrast * (darkCard + 0.05)
	if c.luminance()+0.05 < hardlySeen*(darkCard+0.05) {
		wanted = lightContrast * (darkCard + 0.05)
	}
	mixed := c
	for i := 1; mixed.luminance()+0.05 < wanted; i++ {
		for k := range c {
			mixed[k] = byte(int(c[k]) + (255-int(c[k]))*i/steps)
		}
	}
	return mixed
}
