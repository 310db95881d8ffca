package templates

import (
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

// Preview writes the mail that a reader of a language gets, on a sample payload.
// Where the operator's own language lacks the type, that is a mail in another
// one.
func (c *Catalogue) Preview(messageType, locale string, b Branding) (*Mail, error) {
	payload := c.Sample(messageType, locale)
	return c.Render(Request{Type: messageType, Locale: c.Locale(messageType, payload), Payload: payload, Branding: b,
		To: "ada@example.org", IP: "203.0.113.7", Time: time.Date(2027, time.March, 21, 9, 30, 0, 0, time.UTC)})
}
