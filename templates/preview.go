package templates

import (
	"maps"
	"strings"
	"time"
)

// Sample returns a payload of the shape that Logto sends with a message type,
// for trying templates: plain names, and a code that opens nothing. The locale is
// left out when empty.
func Sample(messageType, locale string) map[string]any {
	payload := map[string]any{"code": "123456"}
	if locale != "" {
		payload["locale"] = locale
	}
	switch messageType {
	case generic:
		return payload
	case invitation:
		delete(payload, "code")
		payload["link"] = "https://app.example.com/join?token=sample"
		payload["organization"] = map[string]any{
			"id": "sample-organization", "name": "Riverside Rowing Club", "branding": map[string]any{},
		}
		payload["inviter"] = sampleUser("Alice Wonder", "alice@example.com")
		return payload
	case "UserPermissionValidation", "BindNewIdentifier":
		payload["user"] = sampleUser("Ada Lovelace", "ada@example.org")
	}
	payload["application"] = map[string]any{"id": "sample-application", "name": "Sample App"}
	return payload
}

func sampleUser(name, address string) map[string]any {
	return map[string]any{
		"id": "sample-user", "name": name, "primaryEmail": address, "username": nil, "primaryPhone": nil,
		"avatar": nil, "profile": map[string]any{},
	}
}

// Sample returns the package's sample with a link that the settings allow.
func (c *Catalogue) Sample(messageType, locale string) map[string]any {
	payload := Sample(messageType, locale)
	if _, linked := payload["link"]; linked {
		payload["link"] = c.settings.Links.sample()
	}
	return payload
}

// sample returns a link that is allowed.
func (l Links) sample() string {
	host := "app.example.com"
	if len(l.Hosts) > 0 {
		host = strings.Replace(l.Hosts[0], "*", "app", 1)
	}
	return l.Schemes[0] + "://" + host + "/join?token=sample"
}

// SampleLogo is the address of the logos in samples. Nobody has to answer there.
const SampleLogo = "https://app.example.com/sample-logo.png"

// Variant is a kind of payload that a template has to hold.
type Variant struct {
	// Name stands in addresses and is empty for the usual one. Title is for people.
	Name, Title string
	change      func(payload map[string]any, link string)
}

// Variants are the payloads that every template should be looked at with, the usual
// one first.
func Variants() []Variant {
	return []Variant{
		{"", "As usual", func(map[string]any, string) {}},
		{"bare", "The least", func(payload map[string]any, _ string) {
			for key := range payload {
				if key != "code" && key != "link" && key != "locale" {
					delete(payload, key)
				}
			}
		}},
		{"link", "Code and link", func(payload map[string]any, link string) { payload["code"], payload["link"] = "123456", link }},
		{"no-link", "No link", func(payload map[string]any, _ string) { payload["code"] = "123456"; delete(payload, "link") }},
		{"long", "Long names", func(payload map[string]any, _ string) {
			setNames(payload, "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft",
				"The Worshipful Company of Spectacle Makers, Telescope Grinders and Allied Optical Trades of Riverside")
		}},
		{"logos", "With logos", func(payload map[string]any, _ string) {
			logo := map[string]any{"logoUrl": SampleLogo, "darkLogoUrl": SampleLogo}
			payload["application"] = map[string]any{"id": "sample-application", "name": "Sample App", "branding": logo}
			if organization, found := payload["organization"].(map[string]any); found {
				organization["branding"] = logo
			}
		}},
		{"hostile", "Hostile names", func(payload map[string]any, _ string) {
			setNames(payload, "Win \u202efdp.exe at https://evil.example", `<a href="https://evil.example">Acme</a> evil.example {{code}}`)
		}},
	}
}

// setNames gives a payload's person, and all else that has a name, another one.
func setNames(payload map[string]any, person, other string) {
	for key, value := range payload {
		object, named := value.(map[string]any)
		switch {
		case !named:
		case key == "user", key == "inviter":
			object["name"] = person
		default:
			object["name"] = other
		}
	}
}

// SampleVariant returns the sample of a message type as a variant has it; that of an
// unknown name is the usual one.
func (c *Catalogue) SampleVariant(messageType, locale, variant string) map[string]any {
	payload := c.Sample(messageType, locale)
	for _, v := range Variants() {
		if v.Name == variant {
			v.change(payload, c.settings.Links.sample())
		}
	}
	return payload
}

// Preview writes the mail that a reader of a language gets for a payload, which may be
// nil for the sample. Where the operator's own language lacks the type, that is a mail
// in another one.
func (c *Catalogue) Preview(messageType, locale string, payload map[string]any, b Branding) (*Mail, error) {
	if payload == nil {
		payload = c.Sample(messageType, locale)
	}
	payload = maps.Clone(payload)
	payload["locale"] = locale
	return c.Render(Request{Type: messageType, Locale: c.Locale(messageType, payload), Payload: payload, Branding: b,
		To: "ada@example.org", IP: "203.0.113.7", Time: time.Date(2027, time.March, 21, 9, 30, 0, 0, time.UTC)})
}
