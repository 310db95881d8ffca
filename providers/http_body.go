package providers

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"logto-email-relay/mail"
	"logto-email-relay/settings"
)

// jsonTemplate is a JSON object whose texts hold placeholders. It may hold a key
// of the service, so it does not print.
type jsonTemplate map[string]any

// UnmarshalSetting takes the object and refuses placeholders that no mail fills.
func (t *jsonTemplate) UnmarshalSetting(value any) error {
	object, ok := value.(map[string]any)
	if !ok {
		return errors.New("write the JSON object that the service expects")
	}
	for _, name := range slices.Sorted(maps.Keys(placeholders(object))) {
		if _, ok := httpValues[name]; !ok && !isPayloadPath(name) {
			return fmt.Errorf("{{%s}} is nothing that can be filled in; there are %s, and of Logto's payload %s", name,
				strings.Join(slices.Sorted(maps.Keys(httpValues)), ", "), strings.Join(payloadRoots, ", "))
		}
	}
	*t = object
	return nil
}

// String hides the object.
func (t jsonTemplate) String() string { return "[body]" }

// GoString keeps %#v from showing it.
func (t jsonTemplate) GoString() string { return t.String() }

// MarshalText keeps JSON from showing it.
func (t jsonTemplate) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// secretName is how services call a field that holds a key.
var secretName = regexp.MustCompile(`(?i)key|token|secret|pass|pwd|auth|credential|signature`)

// secrets are the texts that every request has in fields for keys.
func (t jsonTemplate) secrets() (found []settings.Secret) {
	var look func(value any, isSecret bool)
	look = func(value any, isSecret bool) {
		switch v := value.(type) {
		case string:
			if isSecret && !httpPlaceholder.MatchString(v) {
				found = append(found, settings.NewSecret(v))
			}
		case []any:
			for _, item := range v {
				look(item, isSecret)
			}
		case map[string]any:
			for name, item := range v {
				look(item, isSecret || secretName.MatchString(name))
			}
		}
	}
	look(map[string]any(t), false)
	return found
}

// httpValues are the placeholders.
var httpValues = map[string]func(*mail.Message) string{
	"to":           func(m *mail.Message) string { return quotedAddress(m.To) },
	"from":         func(m *mail.Message) string { return quotedMailbox(m.From) },
	"from.address": func(m *mail.Message) string { return quotedAddress(m.From.Address) },
	"from.name":    func(m *mail.Message) string { return m.From.Name },
	"replyTo":      func(m *mail.Message) string { return quotedAddress(m.ReplyTo.Address) },
	"subject":      func(m *mail.Message) string { return m.Subject },
	"html":         func(m *mail.Message) string { return m.HTML.String() },
	"text":         func(m *mail.Message) string { return m.Text },
	"id":           func(m *mail.Message) string { return m.ID },
	"messageId":    func(m *mail.Message) string { return m.MessageID },
	"type":         func(m *mail.Message) string { return m.Type },
	"locale":       func(m *mail.Message) string { return m.Locale },
}

// payloadRoots are what a body may take from Logto's payload, with dots for what
// is below: user.name. What people typed is harmless by then, and JSON escapes it.
var payloadRoots = []string{"code", "link", "application", "organization", "user", "inviter"}

func isPayloadPath(name string) bool {
	root, _, _ := strings.Cut(name, ".")
	return slices.Contains(payloadRoots, root)
}

// payloadText returns the text at a path of the payload, empty if there is none.
func payloadText(payload map[string]any, path string) string {
	var value any = payload
	for key := range strings.SplitSeq(path, ".") {
		object, _ := value.(map[string]any)
		value = object[key]
	}
	switch text := value.(type) {
	case string:
		return text
	case json.Number:
		return text.String()
	}
	return ""
}

// httpValue is what a placeholder stands for.
func httpValue(name string, m *mail.Message) string {
	if own, ok := httpValues[name]; ok {
		return own(m)
	}
	return payloadText(m.Payload, name)
}

var httpPlaceholder = regexp.MustCompile(`\{\{\s*([^{}\s]+)\s*\}\}`)

// placeholders returns the names that a JSON value uses.
func placeholders(value any) map[string]bool {
	used := make(map[string]bool)
	switch v := value.(type) {
	case string:
		for _, found := range httpPlaceholder.FindAllStringSubmatch(v, -1) {
			used[found[1]] = true
		}
	case []any:
		for _, item := range v {
			maps.Copy(used, placeholders(item))
		}
	case map[string]any:
		for _, item := range v {
			maps.Copy(used, placeholders(item))
		}
	}
	return used
}

// render fills in the message. A text that a placeholder leaves empty goes, and
// so does an object or list that this leaves empty: a mail without a reply
// address has no "replyTo": {"email": ""}.
func (t jsonTemplate) render(m *mail.Message) ([]byte, error) {
	filled := t.filled(m)
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(filled)
	return body.Bytes(), err
}

// renderForm is render for a form. A list is a field that is there several times.
func (t jsonTemplate) renderForm(m *mail.Message) []byte {
	form := make(url.Values)
	for name, value := range t.filled(m) {
		list, isList := value.([]any)
		if !isList {
			list = []any{value}
		}
		for _, item := range list {
			form.Add(name, fmt.Sprint(item))
		}
	}
	return []byte(form.Encode())
}

func isFormValue(value any) bool {
	list, isList := value.([]any)
	if !isList {
		list = []any{value}
	}
	return !slices.ContainsFunc(list, func(item any) bool {
		switch item.(type) {
		case nil, []any, map[string]any:
			return true
		}
		return false
	})
}

// filled is the object with its placeholders filled in. A service that takes HTML
// alone gets the text of a mail without any as such.
func (t jsonTemplate) filled(m *mail.Message) map[string]any {
	used := placeholders(map[string]any(t))
	if m.HTML.IsEmpty() && used["html"] && !used["text"] {
		alone := *m
		alone.HTML = mail.Body{mail.OwnPart(`<pre style="white-space: pre-wrap">` + html.EscapeString(m.Text) + "</pre>")}
		m = &alone
	}
	filled, _ := fill(map[string]any(t), m)
	return filled.(map[string]any)
}

// fillText is fill for a text.
func fillText(text string, m *mail.Message) (string, bool) {
	filled := httpPlaceholder.ReplaceAllStringFunc(text, func(placeholder string) string {
		return httpValue(httpPlaceholder.FindStringSubmatch(placeholder)[1], m)
	})
	return filled, filled != "" || text == ""
}

// fill returns the value with its placeholders filled in, and whether there is
// anything of it left.
func fill(value any, m *mail.Message) (any, bool) {
	switch v := value.(type) {
	case string:
		return fillText(v, m)
	case []any:
		list := make([]any, 0, len(v))
		for _, item := range v {
			if filled, ok := fill(item, m); ok {
				list = append(list, filled)
			}
		}
		return list, len(list) > 0 || len(v) == 0
	case map[string]any:
		object := make(map[string]any, len(v))
		for name, item := range v {
			if filled, ok := fill(item, m); ok {
				object[name] = filled
			}
		}
		return object, len(object) > 0 || len(v) == 0
	}
	return value, true
}
