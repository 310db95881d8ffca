package templates

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/text/unicode/bidi"

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
	toBuiltin
	ipBuiltin
	requestedBuiltin // made when it is asked for
	senderName
	companyInformation
	appLogo
	appLogoDark
	logoName         // of whom the logo is
	logoOrganization // the organization whose logo is shown
	brandColor
	brandText     // what is legible on brandColor
	darkBrand     // brandColor as it is seen on a dark ground
	darkBrandText // what is legible on darkBrand
	support
	builtins // how many there are
)

// builtinNames are their names in templates.
func builtinNames() [builtins]string {
	return [...]string{"", "locale", "dir", "codeLifetime", "link", "to", "ip", "requestedAt",
		"branding.senderName", "branding.companyInformation",
		"branding.appLogo", "branding.appLogoDark", "branding.logoName", "branding.logoOrganization",
		"branding.color", "branding.textColor", "branding.darkColor", "branding.darkTextColor", "branding.support"}
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
	// leaf tells that Logto has a text here, so that anything else is as good as none.
	leaf bool
}

// key is one step down: a name in an object or an index in a list.
type key struct {
	name  string
	index int // -1 if the name is none
}

// Names returns the names that templates of a type may use, those of
// Settings.Variables aside. Logto puts link and inviter into invitations only.
func Names(messageType string) []string {
	names := []string{"code", "locale", "uiLocales", "application", "organization", "user", "branding", "dir", "codeLifetime", "to", "ip", "requestedAt"}
	if messageType == invitation || messageType == generic {
		names = append(names, "link", "inviter")
	}
	return names
}

// fields are the names below one that Logto fills in, separated by blanks:
// https://docs.logto.io/connectors/email-connectors/email-templates
func fields(root string) []string {
	var below string
	switch root {
	case "application":
		below = "id name displayName branding branding.logoUrl branding.darkLogoUrl branding.favicon branding.darkFavicon"
	case "organization":
		below = "id name branding branding.logoUrl branding.darkLogoUrl branding.favicon branding.darkFavicon"
	case "user", "inviter":
		// What is in a profile: https://openid.net/specs/openid-connect-core-1_0.html#StandardClaims
		below = "id name username primaryEmail primaryPhone avatar profile profile.familyName profile.givenName " +
			"profile.middleName profile.nickname profile.preferredUsername profile.profile profile.website profile.gender " +
			"profile.birthdate profile.zoneinfo profile.locale profile.address profile.address.formatted profile.address.streetAddress " +
			"profile.address.locality profile.address.region profile.address.postalCode profile.address.country"
	}
	names := strings.Fields(below)
	for i := range names {
		names[i] = root + "." + names[i]
	}
	return names
}

// Sends tells whether messages of a type have what a placeholder names.
func Sends(messageType, name string) bool {
	root, _, _ := strings.Cut(name, ".")
	return slices.Contains(Names(messageType), root) && unknownField(name, root, messageType) == ""
}

// unknownField says that no message of the type has the name, if that is so. Who
// invites people may add fields of his own, and Generic stands in for all types, so
// that there only what looks like a typing mistake is one.
func unknownField(name, root, messageType string) string {
	known := fields(root)
	switch {
	case name == root || slices.Contains(known, name) || !slices.Contains(Names(invitation), root):
		return ""
	case len(known) == 0:
		return root + " is a text: write {{" + root + "}}"
	}
	near := settings.Nearest(name, known)
	switch {
	case near != "":
		return "Logto sends no " + name + "; did you mean " + near + "? To use it all the same, name " + root + " in templates.variables"
	case messageType == invitation || messageType == generic:
		return ""
	}
	return "Logto sends no " + name + "; to use it all the same, name " + root + " in templates.variables"
}

// isName tells whether the value is in the words of the operator or of somebody
// else, in whatever script, rather than a code, an address or a number of ours.
func (p *path) isName() bool {
	switch p.builtin {
	case senderName, companyInformation, logoName, logoOrganization:
		return true
	}
	return p.typed && p.keys[0].name != "uiLocales"
}

const (
	firstStrongIsolate    = '\u2068'
	popDirectionalIsolate = '\u2069'
)

// turns tells whether a value could run in another direction than the mail, and
// take dots and brackets beside it along. Mail addresses, which are copied, stay
// as they are.
func (v *values) turns(p *path, value string) bool {
	if value == "" || p.mailbox && isShownMailbox(value) {
		return false
	}
	return v.builtins[dirBuiltin] == "rtl" || hasRightToLeft(value)
}

// hasRightToLeft tells whether a letter of a text is written from right to left.
// None of those has a lower first byte in UTF-8 than U+0590.
func hasRightToLeft(text string) bool {
	for i := range len(text) {
		if text[i] >= 0xd6 {
			return strings.ContainsFunc(text[i:], isRightToLeft)
		}
	}
	return false
}

// isRightToLeft knows the letters of the scripts that are written from right to
// left, and the digits that stand among them.
func isRightToLeft(r rune) bool {
	properties, _ := bidi.LookupRune(r)
	switch properties.Class() {
	case bidi.R, bidi.AL, bidi.AN:
		return true
	}
	return false
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
	if reason := unknownField(name, parts[0], v.messageType); reason != "" && !declared && !v.anyName {
		return path{}, reason
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
	below := fields(parts[0])
	p.leaf = slices.Contains(below, name) && !slices.ContainsFunc(below, func(other string) bool { return strings.HasPrefix(other, name+".") })
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
	language *translation
	time     time.Time
	builtins [builtins]string
	links    Links
	// own is the operator's name, which Logto may have, too: Cal.com is to be read as that.
	own string
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

// zone is that of the user if Logto has it, else UTC.
func (v *values) zone() *time.Location {
	user, _ := v.payload["user"].(map[string]any)
	profile, _ := user["profile"].(map[string]any)
	name, _ := profile["zoneinfo"].(string)
	if zone, err := time.LoadLocation(name); err == nil && name != "Local" {
		return zone
	}
	return time.UTC
}

// setIP takes the address of whoever asked for the mail, if it is one. Logto
// passes on what stands in the header of a proxy.
func (v *values) setIP(ip string) {
	address, err := netip.ParseAddr(ip)
	if err != nil {
		withPort, err := netip.ParseAddrPort(ip)
		if err != nil {
			return
		}
		address = withPort.Addr()
	}
	v.builtins[ipBuiltin] = address.Unmap().WithZone("").String()
}

// shown returns a name as it is printed.
func (v *values) shown(name string) string {
	if name == v.own {
		return name
	}
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
	switch p.builtin {
	case noBuiltin:
		return text(v.lookUp(p.keys))
	case requestedBuiltin:
		if v.builtins[requestedBuiltin] == "" && !v.time.IsZero() {
			v.builtins[requestedBuiltin] = v.language.moment(v.time.In(v.zone()))
		}
	}
	return v.builtins[p.builtin]
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
	if p.mailbox && isShownMailbox(written) {
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
		return len(value) > 0 && !p.leaf
	case []any:
		return len(value) > 0 && !p.leaf
	case bool:
		return value
	case float64:
		return value != 0
	case json.Number:
		number, err := value.Float64()
		return err != nil || number != 0 || !p.typed // a code of 0 is one
	case string:
		return value != "" && (isASCIILetter(value[0]) || isDigit(value[0]) || v.text(p) != "")
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
