package templates

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"logto-email-relay/settings"
)

// builtin is a value that the relay provides, whatever the payload says.
type builtin uint8

const (
	noBuiltin builtin = iota // the payload's value
	localeBuiltin
	dirBuiltin
	lifetimeBuiltin
	linkBuiltin // the payload's link if it may become one
	senderName
	companyInformation
	appLogo
	appLogoDark
	brandColor
	support
	builtins // how many there are
)

// builtinNames are their names in templates.
func builtinNames() [builtins]string {
	return [...]string{"", "locale", "dir", "codeLifetime", "link", "branding.senderName", "branding.companyInformation",
		"branding.appLogo", "branding.appLogoDark", "branding.color", "branding.support"}
}

// path is a compiled name, such as user.name.
type path struct {
	builtin builtin
	// keys lead through the payload, the first one being the name itself.
	keys []key
	// typed tells that people type what is here, such as their names, so that it
	// is neutralised.
	typed bool
	// mailbox tells that a plain mail address may be shown as it is.
	mailbox bool
}

// key is one step down: a name in an object or an index in a list.
type key struct {
	name  string
	index int // -1 if the name is none
}

// Names returns the names that templates of a type may use, those of
// Settings.Variables aside. Logto puts link and inviter into invitations only.
func Names(messageType string) []string {
	names := []string{"code", "locale", "uiLocales", "application", "organization", "user", "branding", "dir", "codeLifetime"}
	if messageType == invitation || messageType == generic {
		names = append(names, "link", "inviter")
	}
	return names
}

func rootOf(name string) string {
	first, _, _ := strings.Cut(name, ".")
	return first
}

// path compiles a name, or says why no message can have it.
func (v vocabulary) path(name string) (p path, reason string) {
	parts := strings.Split(name, ".")
	known := Names(v.messageType)
	declared := slices.Contains(v.variables, parts[0])
	if !declared && !v.anyName && !slices.Contains(known, parts[0]) {
		return path{}, v.unknown(parts[0], known)
	}
	names := builtinNames()
	if i := slices.Index(names[:], name); i >= 0 {
		return path{builtin: builtin(i)}, ""
	}
	if parts[0] == "branding" {
		return path{}, "there is no " + name + ": write one of " + strings.Join(names[senderName:], ", ")
	}
	for _, part := range parts {
		index, err := strconv.Atoi(part)
		if err != nil {
			index = -1
		}
		p.keys = append(p.keys, key{part, index})
	}
	p.typed = parts[0] != "code"
	p.mailbox = len(parts) == 2 && parts[1] == "primaryEmail"
	return p, ""
}

func (v vocabulary) unknown(name string, known []string) string {
	if (name == "link" || name == "inviter") && v.messageType != "" {
		return "a message of type " + v.messageType + " has no " + name +
			"; only OrganizationInvitation and Generic may have one"
	}
	if near := settings.Nearest(name, append(known, v.variables...)); near != "" {
		return "no message has " + name + "; did you mean " + near + "? A key of your own goes into templates.variables"
	}
	return "no message has " + name + "; if your invitations add it, name it in templates.variables"
}

// values are what one mail may say.
type values struct {
	payload  map[string]any
	builtins [builtins]string
	links    Links
	// names are the last ones that were neutralised: a mail repeats them.
	names [4]struct{ typed, shown string }
	turn  int
}

// setLink takes the payload's link if it may become one.
func (v *values) setLink() {
	if link, _ := v.payload["link"].(string); link != "" {
		v.builtins[linkBuiltin], _ = v.links.Parse(link)
	}
}

// shown returns a name as it is printed.
func (v *values) shown(name string) string {
	for i := range v.names {
		if v.names[i].typed == name {
			return v.names[i].shown
		}
	}
	kept := &v.names[v.turn%len(v.names)]
	kept.typed, kept.shown = name, neutralise(name)
	v.turn++
	return kept.shown
}

// raw returns a value as it came. What has no text, such as an object, has an
// empty one.
func (v *values) raw(p *path) string {
	if p.builtin != noBuiltin {
		return v.builtins[p.builtin]
	}
	return text(v.lookUp(p.keys))
}

// text returns a value as people may read it.
func (v *values) text(p *path) string {
	if !p.typed {
		return v.raw(p)
	}
	value := v.lookUp(p.keys)
	written := text(value)
	if _, typed := value.(string); !typed && len(written) <= maxNameRunes {
		return written // numbers and truth values are harmless
	}
	if p.mailbox && isPlainMailbox(written) {
		return written
	}
	return v.shown(written)
}

// truth tells whether a block's value is there: not missing, null, false, 0,
// empty or without a visible character.
func (v *values) truth(p *path) bool {
	if p.builtin != noBuiltin {
		return v.raw(p) != ""
	}
	switch value := v.lookUp(p.keys).(type) {
	case map[string]any:
		return len(value) > 0
	case []any:
		return len(value) > 0
	case bool:
		return value
	case float64:
		return value != 0
	case json.Number:
		number, err := value.Float64()
		return err != nil || number != 0
	case string:
		return value != "" && (isASCIILetter(value[0]) || isASCIIDigit(value[0]) || v.text(p) != "")
	}
	return false
}

// lookUp walks down the payload; nil if there is nothing.
func (v *values) lookUp(keys []key) any {
	value := v.payload[keys[0].name]
	for i := 1; i < len(keys); i++ {
		switch parent := value.(type) {
		case map[string]any:
			value = parent[keys[i].name]
		case []any:
			index := keys[i].index
			if index < 0 || index >= len(parent) {
				return nil
			}
			value = parent[index]
		default:
			return nil
		}
	}
	return value
}

func text(value any) string {
	switch value := value.(type) {
	case string:
		return value
	case json.Number:
		return string(value)
	case bool:
		return strconv.FormatBool(value)
	case float64:
		return strconv.FormatFloat(value, 'f', -1, 64)
	}
	return ""
}
