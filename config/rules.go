package config

import (
	"errors"
	"maps"
	"net"
	"net/netip"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"github.com/go-playground/validator/v10"

	"logto-email-relay/settings"
)

// patterns are the rules of settings that a regular expression can tell. The
// JSON Schema knows them too.
var patterns = map[string]*regexp.Regexp{
	"providername":    regexp.MustCompile(`^[A-Za-z0-9._-]+$`),
	"placeholdername": regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`),
	"httpsurl":        regexp.MustCompile(`^https://`),
	"urlscheme":       regexp.MustCompile(`^[a-z][a-z0-9+.-]*$`),
	"hostpattern":     regexp.MustCompile(`^(\*\.)?` + hostName + `$`),
	"recipient":       regexp.MustCompile(`^[^*@\s]+@` + hostName + `$|^(\*\.)?` + hostName + `$`),
	// Names of containers have underscores, which DNS itself does not mind.
	"serverhost": regexp.MustCompile(`^([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*` +
		`[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.?$`),
}

const hostName = `([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?`

// ruleWords say what every rule asks for. %s is the rule's parameter. Rules
// that mean something else for texts, lists and numbers have one entry for each of
// these. A rule that no setting has is not in here.
var ruleWords = map[string]string{
	"required":             "this is needed",
	"oneof":                "write one of: %s",
	"min text":             "write at least %s characters",
	"max text":             "write at most %s characters",
	"len text":             "write exactly %s characters",
	"min list":             "write at least %s in this list",
	"max list":             "write at most %s in this list",
	"min number":           "write a number of at least %s",
	"max number":           "write a number of at most %s",
	"gte number":           "write a number of at least %s",
	"lte number":           "write a number of at most %s",
	"url":                  `write an address with its scheme, such as "https://example.com"`,
	"http_url":             `write an address such as "https://api.example.com"`,
	"httpsurl":             `write an address that begins with https://, such as "https://acme.example/logo.png"`,
	"ip":                   `write an IP address such as "192.0.2.10"`,
	"fqdn":                 `write a domain such as "mg.acme.example"`,
	"serverhost|ip":        `write a host name such as "smtp.example.com" or an IP address`,
	"hostname_port|listen": `write a host and a port such as "127.0.0.1:8080", or ":8080" for every address`,
	"bcp47_language_tag":   `write a language tag such as "en" or "pt-BR"`,
	"hexcolor":             `write a colour such as "#5d34f2"`,
	"recipient":            `write an address or a domain such as "acme.example" or "*.acme.example", and one with other letters in its xn-- form`,
	"email":                `write a mail address such as "no-reply@acme.example"`,
	"providername":         "use letters, digits, dash, underscore and dot only",
	"placeholdername":      "use letters, digits and underscore only, and begin with a letter",
	"urlscheme":            `write a URL scheme in lower case, such as "https"; schemes that run code are not allowed`,
	"hostpattern":          `write a domain such as "acme.example" or "*.acme.example", and one with other letters in its xn-- form`,
	"oneline":              "write one line, without control characters",
	"choice":               "write one of: %s",
	"usagetype":            "write one of Logto's message types",
	"messagetype":          "write one of Logto's message types",
}

// checkRules applies the validate tags of all settings.
func (d *decoder) checkRules(c *Config) {
	var failures validator.ValidationErrors
	_ = errors.As(newValidator().Struct(c), &failures)
	for _, failure := range failures {
		_, path, _ := strings.Cut(strings.ReplaceAll(failure.Namespace(), embedded+".", ""), ".")
		d.complain(path, wordsOf(failure))
	}
}

// wordsOf turns a failed rule into a sentence.
func wordsOf(failure validator.FieldError) string {
	rule, parameter := failure.Tag(), failure.Param()
	words, found := ruleWords[rule]
	if !found {
		words, found = ruleWords[rule+" "+formOf(failure.Type()).counts]
	}
	switch {
	case !found:
		return "this breaks the rule " + strings.TrimSuffix(rule+"="+parameter, "=")
	case rule == "oneof":
		parameter = strings.Join(strings.Fields(parameter), ", ")
	case rule == "required":
		return words + "; write " + formOf(failure.Type()).write
	}
	return strings.ReplaceAll(words, "%s", parameter)
}

// embedded stands in for the name of an embedded struct, whose keys belong to
// the one around it.
const embedded = "~"

func newValidator() *validator.Validate {
	v := validator.New(validator.WithRequiredStructEnabled())
	v.RegisterTagNameFunc(func(f reflect.StructField) string {
		if key, _, _ := strings.Cut(f.Tag.Get("json"), ","); key != "" {
			return key
		}
		return embedded
	})
	v.RegisterCustomTypeFunc(func(value reflect.Value) any { return value.Interface().(settings.Secret).Reveal() }, settings.Secret{})

	rules := make(map[string]func(string) bool)
	for name, pattern := range patterns {
		rules[name] = pattern.MatchString
	}
	maps.Copy(rules, map[string]func(string) bool{
		// These are for the schema. What they mean is checked with words that help more.
		"messagetype": anyText, "usagetype": anyText, "choice": anyText,
		"httpsurl": isHTTPS, "http_url": isHTTP, "oneline": isOneLine, "listen": isListenAddress, "urlscheme": isLinkScheme,
	})
	for name, rule := range rules {
		// Registration fails for an empty name or a missing function only.
		_ = v.RegisterValidation(name, func(f validator.FieldLevel) bool { return rule(f.Field().String()) })
	}
	return v
}

func anyText(string) bool { return true }

func isHTTPS(text string) bool {
	u, err := settings.ParseURL(text)
	return err == nil && u.Scheme == "https" && u.Hostname() != "" && u.User == nil
}

// isHTTP is the validator's own rule but for the port, which has to be one.
func isHTTP(text string) bool {
	u, err := settings.ParseURL(text)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Hostname() != ""
}

func isOneLine(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool {
		return unicode.IsControl(r) || r == '\u2028' || r == '\u2029'
	})
}

// isLinkScheme refuses the schemes that make a link run code or show a page of
// the sender's making.
func isLinkScheme(text string) bool {
	switch text {
	case "javascript", "vbscript", "data", "file", "blob", "about":
		return false
	}
	return patterns["urlscheme"].MatchString(text)
}

// isListenAddress takes what hostname_port does not: IPv6 addresses, and port 0
// for one that the system picks.
func isListenAddress(text string) bool {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return false
	}
	_, portErr := strconv.ParseUint(port, 10, 16)
	_, hostErr := netip.ParseAddr(host)
	return portErr == nil && (hostErr == nil || host == "" || host == "localhost")
}
