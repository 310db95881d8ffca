// Package settings is the vocabulary in which operators write their
// configuration: secrets that never print, durations as people say them,
// mailboxes, networks, files, and the places where one text or a list of texts
// will do. The other packages build their settings structs from it; the
// loader in config fills them and says where something is wrong.
//
// A settings struct names its keys with json tags, its simple rules with
// validate tags (github.com/go-playground/validator) and everything that needs
// more than one key to judge in a Check method. Further tags speak to the
// loader:
//
//	noeffect:"why"   the key is accepted, and reported as having no effect
//	file:"path"      a relative path begins at the folder of the configuration; a
//	                 secret may be a URL instead
//	file:"content"   PEM, or the name of a file, whose content takes its place
//	placeholders:"…" the {{…}} that are replaced, or any; all others are refused
package settings

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	netmail "net/mail"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"logto-email-relay/mail"
)

// Checker is implemented by settings with rules that tags cannot express. The
// loader calls Check on every struct it has filled and reports all problems of
// all structs together.
type Checker interface {
	Check() []Problem
}

// Problem is something the operator has to change, in words that tell what to
// write instead. Key is relative to the struct that reports it, dotted
// ("auth.pass"), and empty for the struct as a whole.
type Problem struct {
	Key  string
	Text string
	// Warning marks what the relay can work with all the same.
	Warning bool
}

// Unmarshaler is implemented by settings that take more than one shape, such as
// a text or a list. It receives what the file holds as string, bool, int64,
// float64, []any or map[string]any, with ${…} already replaced. Its error is
// shown to the operator beside the key.
type Unmarshaler interface {
	UnmarshalSetting(value any) error
}

// Secret holds a text that must never be printed: %v, %+v, %#v, JSON and slog
// all show a placeholder. The value sits behind a pointer, because fmt prints
// the unexported fields of a struct without asking its String method.
type Secret struct{ value *string }

// NewSecret wraps a text that must never be printed.
func NewSecret(value string) Secret { return Secret{&value} }

// Reveal returns the text itself, empty when none was set.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// String returns a placeholder, or an empty text when there is no secret.
func (s Secret) String() string {
	if s.Reveal() == "" {
		return ""
	}
	return "[secret]"
}

// GoString keeps %#v from showing the value.
func (s Secret) GoString() string { return s.String() }

// LogValue keeps slog from showing the value.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText keeps JSON and YAML from showing the value.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText takes the value as it stands.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = NewSecret(string(text))
	return nil
}

// Token is a secret that a caller bears, and the tenant whose callers bear it; empty
// where there is one tenant only. It is written as a text, or as
// {"tenant": "eu", "value": "Bearer …"}.
type Token struct {
	Secret
	Tenant string
}

var tenantName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._-]{0,63}$`)

// UnmarshalSetting reads either form. Its errors quote nothing.
func (t *Token) UnmarshalSetting(value any) error {
	if text, isText := value.(string); isText {
		*t = Token{Secret: NewSecret(text)}
		return nil
	}
	entry, _ := value.(map[string]any)
	tenant, hasTenant := entry["tenant"].(string)
	text, hasValue := entry["value"].(string)
	if !hasTenant || !hasValue || len(entry) != 2 {
		return errors.New(`write a text, or an object such as {"tenant": "eu", "value": "Bearer ${EU_TOKEN}"}`)
	}
	if !tenantName.MatchString(tenant) {
		return errors.New("the name of a tenant begins with a letter and has letters, digits, dash, underscore and dot only, 64 at most")
	}
	*t = Token{NewSecret(text), tenant}
	return nil
}

// Duration is a time span written as text: "8s", "10m", "1h30m", "30d".
type Duration time.Duration

// UnmarshalText reads a positive or zero duration; besides Go's units it knows
// d for days of 24 hours.
func (d *Duration) UnmarshalText(text []byte) error {
	written := strings.TrimSpace(string(text))
	if days, found := strings.CutSuffix(written, "d"); found {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			*d = Duration(time.Duration(n) * 24 * time.Hour)
			return nil
		}
	}
	parsed, err := time.ParseDuration(written)
	if err != nil || parsed < 0 {
		return errors.New(`write a duration such as "8s", "10m" or "30d"`)
	}
	*d = Duration(parsed)
	return nil
}

// Milliseconds is a time span in the manner of nodemailer: a bare number counts
// milliseconds. A text such as "5s" is taken too.
type Milliseconds time.Duration

// UnmarshalSetting reads a whole number of milliseconds or a duration text.
func (m *Milliseconds) UnmarshalSetting(value any) error {
	number, isNumber := value.(int64)
	if text, isText := value.(string); isText {
		var d Duration
		if d.UnmarshalText([]byte(text)) == nil {
			*m = Milliseconds(d)
			return nil
		}
		var err error
		number, err = strconv.ParseInt(text, 10, 64)
		isNumber = err == nil
	}
	switch {
	case !isNumber:
		return errors.New(`write a number of milliseconds such as 5000, or a text such as "5s"`)
	case number < 0 || number > int64(24*time.Hour/time.Millisecond):
		return errors.New("write a number of milliseconds from 0 to 86400000")
	}
	*m = Milliseconds(time.Duration(number) * time.Millisecond)
	return nil
}

// Texts is one text or a list of texts.
type Texts []string

// UnmarshalSetting reads a text or a list of texts.
func (t *Texts) UnmarshalSetting(value any) error {
	items, isList := value.([]any)
	if !isList {
		items = []any{value}
	}
	list := make(Texts, 0, len(items))
	for _, item := range items {
		text, isText := item.(string)
		if !isText {
			return errors.New("write a text or a list of texts")
		}
		list = append(list, text)
	}
	*t = list
	return nil
}

// Headers are additional headers of a mail, written as an object from name to
// text (or list of texts), or as a list of {"key": …, "value": …}.
type Headers []mail.Header

// UnmarshalSetting reads either form. An object has lost the order of its keys, so
// its headers are sorted.
func (h *Headers) UnmarshalSetting(value any) error {
	wrong := errors.New(`write headers as an object such as {"X-Environment": "production"}`)
	var list Headers
	switch v := value.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			var texts Texts
			if texts.UnmarshalSetting(v[name]) != nil {
				return wrong
			}
			for _, text := range texts {
				list = append(list, mail.Header{Name: name, Value: text})
			}
		}
	case []any:
		for _, item := range v {
			pair, _ := item.(map[string]any)
			name, isName := pair["key"].(string)
			text, isText := pair["value"].(string)
			if !isName || !isText {
				return wrong
			}
			list = append(list, mail.Header{Name: name, Value: text})
		}
	default:
		return wrong
	}
	for _, header := range list {
		if err := checkHeader(header.Name, header.Value); err != nil {
			return err
		}
	}
	*h = list
	return nil
}

// checkHeader refuses what would break out of the header or contradict one that
// the relay writes itself.
func checkHeader(name, value string) error {
	if strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || r == ':' }) {
		return errors.New("write header names of letters, digits and dashes alone; the value is a text of its own") // which may be a secret
	}
	if name == "" {
		return errors.New("a header needs a name")
	}
	if strings.ContainsAny(value, "\r\n\x00") {
		return fmt.Errorf("the value of header %s must be one line", name)
	}
	switch strings.ToLower(name) {
	case "from", "to", "cc", "bcc", "subject", "date", "message-id", "reply-to", "sender", "return-path",
		"mime-version", "content-type", "content-transfer-encoding", "content-language", "dkim-signature", "received":
		return fmt.Errorf("header %s is written by the relay itself; remove it here", name)
	}
	return nil
}

// Network is a range of addresses; a bare address stands for itself alone.
type Network struct{ netip.Prefix }

// UnmarshalText reads "10.0.0.0/8" or "10.1.2.3".
func (n *Network) UnmarshalText(text []byte) error {
	if addr, err := netip.ParseAddr(string(text)); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		n.Prefix = netip.PrefixFrom(addr, addr.BitLen())
		return nil
	}
	prefix, err := netip.ParsePrefix(string(text))
	if err != nil {
		return errors.New(`write an address range such as "10.0.0.0/8" or an address such as "10.1.2.3"`)
	}
	// An IPv4 range written as IPv6 would match no caller, whose addresses are
	// unmapped too.
	const mapped = 96
	if prefix.Addr().Is4In6() && prefix.Bits() >= mapped {
		prefix = netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-mapped)
	}
	n.Prefix = prefix.Masked()
	return nil
}

// Mailbox is an address with an optional display name, as in
// "Acme <no-reply@acme.example>".
type Mailbox struct{ mail.Address }

// UnmarshalText reads one mailbox; an empty text is none.
func (m *Mailbox) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*m = Mailbox{}
		return nil
	}
	const longestName, longestAddress = 128, 254 // characters; RFC 5321, 4.5.3.1
	parsed, err := netmail.ParseAddress(string(text))
	if err != nil || strings.ContainsAny(parsed.Name, "\r\n\x00") {
		name, rest, _ := strings.Cut(string(text), "<")
		if _, err := netmail.ParseAddress("<" + rest); err == nil && !strings.ContainsAny(name, `"\`+"\r\n\x00") {
			return errors.New(`put the name in quotes, such as "\"Acme, Inc.\" <no-reply@acme.example>"`)
		}
		return errors.New(`write one mail address, such as "no-reply@acme.example" or "Acme <no-reply@acme.example>"`)
	}
	ascii, err := mail.ASCIIDomain(parsed.Address)
	switch local := ascii[:strings.LastIndexByte(ascii, '@')+1]; {
	case err != nil:
		return fmt.Errorf("%s: %w", parsed.Address, err)
	case !mail.IsASCII(local):
		return errors.New("write an address in plain letters (ASCII) before the @; most mail services refuse others")
	case utf8.RuneCountInString(parsed.Name) > longestName:
		return fmt.Errorf("write a name of at most %d characters", longestName)
	case len(ascii) > longestAddress:
		return fmt.Errorf("write an address of at most %d characters", longestAddress)
	}
	m.Name, m.Address.Address = parsed.Name, ascii
	return nil
}

// IsZero tells whether no mailbox was written.
func (m Mailbox) IsZero() bool { return m.Address.Address == "" }

// MatchHost tells whether a host, in lower case, is the one that an operator
// wrote; "*.acme.example" stands for every host below acme.example.
func MatchHost(written, host string) bool {
	written = strings.ToLower(written)
	if below, wildcard := strings.CutPrefix(written, "*"); wildcard {
		return strings.HasSuffix(host, below)
	}
	return written == host
}

// ParseURL is url.Parse for the address of a server, whose port has to be one. A password
// with an @ and a / # or ? in it that is not encoded is refused: part of it would be the host.
func ParseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, err
	}
	isName := !strings.ContainsAny(u.Hostname(), ".:") // as half a password mostly is
	if strings.Contains(u.Fragment, "@") || u.User != nil && isName && strings.Contains(u.Path+u.RawQuery, "@") {
		return nil, errors.New("a password is percent-encoded")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return nil, errors.New("a port is a number from 1 to 65535")
		}
	}
	return u, nil
}

// IsLoopback tells whether a host, in lower case, can only be this machine.
func IsLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Printable returns a text of the operator's on one line, of bounded length and
// without anything that a terminal obeys.
func Printable(text string, limit int) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
	if runes := []rune(text); len(runes) > limit {
		return string(runes[:limit]) + "…"
	}
	return text
}
