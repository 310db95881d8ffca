package importer

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"logto-email-relay/config"
)

// provider is an entry of "providers".
type provider map[string]any

// MarshalJSON writes type and name first, where people look for them.
func (p provider) MarshalJSON() ([]byte, error) {
	rest := maps.Clone(p)
	delete(rest, "type")
	delete(rest, "name")
	first, err := json.Marshal(struct {
		Type any `json:"type"`
		Name any `json:"name"`
	}{p["type"], p["name"]})
	if err != nil || len(rest) == 0 {
		return first, err
	}
	others, err := encode(map[string]any(rest))
	return slices.Concat(first[:len(first)-1], []byte(","), bytes.TrimPrefix(others, []byte("{"))), err
}

// connectorTypes are the types of provider by the ids of Logto's connectors.
var connectorTypes = map[string]string{
	"simple-mail-transfer-protocol": "smtp",
	"sendgrid-email-service":        "sendgrid",
	"mailgun-email":                 "mailgun",
	"aws-ses-mail":                  "ses",
	"postmark-mail":                 "postmark",
	"aliyun-direct-mail":            "aliyun",
	"smtp2go-email-service":         "smtp2go",
	"mailjunky-email-service":       "mailjunky",
	"http-email":                    "http",
}

// kindOfConnector tells by its keys which connector's JSON an object is.
func kindOfConnector(object map[string]any) string {
	has := func(names ...string) bool {
		return !slices.ContainsFunc(names, func(name string) bool { return object[name] == nil })
	}
	switch {
	case has("host") && (has("port") || has("auth")):
		return "smtp"
	case has("domain", "apiKey"):
		return "mailgun"
	case has("apiKey", "sender"):
		return "smtp2go"
	case has("apiKey") && strings.HasPrefix(textOf(object, "apiKey"), "mj_"): // else the same keys as SendGrid's
		return "mailjunky"
	case has("apiKey"):
		return "sendgrid"
	case has("serverToken"):
		return "postmark"
	case has("accessKeyId", "accountName"):
		return "aliyun"
	case has("accessKeyId", "region"):
		return "ses"
	case has("endpoint") && (len(object) == 1 || has("authorization")):
		return "http"
	}
	return ""
}

// connector is one entry of the answer of Logto's GET /api/connectors:
// https://openapi.logto.io/operation/operation-listconnectors
type connector struct {
	ConnectorID string         `json:"connectorId"`
	Type        string         `json:"type"`
	Config      map[string]any `json:"config"`
}

// readConnectors takes those that send mail.
func (i *importer) readConnectors(list []connector) error {
	others := 0
	for _, c := range list {
		kind := connectorTypes[c.ConnectorID]
		switch {
		case kind == "" && c.Type != "Email":
			others++
		case kind == "" || c.Config == nil:
			i.lose("%s: the relay has no type of provider for this connector", c.ConnectorID)
		default:
			if err := i.readConnector(kind, c.Config); err != nil {
				return err
			}
		}
	}
	if others == len(list) {
		return errors.New("there is no email connector in this list")
	}
	if others > 0 {
		i.note("left alone: %d of the connectors, which are for SMS and social sign-in", others)
	}
	return nil
}

// readConnector takes a connector's JSON apart: inline templates become files,
// everything else stays in the provider.
func (i *importer) readConnector(kind string, object map[string]any) error {
	if kind == "" || object == nil {
		return errors.New("this is not the configuration of one of Logto's email connectors")
	}
	entry := provider(maps.Clone(object))
	maps.DeleteFunc(entry, func(_ string, value any) bool { return value == nil })
	entry["type"] = kind
	before := len(i.templates)
	if keepsGeneric, others := inlineTemplates(entry); keepsGeneric && others {
		i.note("%s: Generic is kept at the service and goes before your files for every type that the provider lacks, "+
			"so that its other templates stay in the provider, too", kind)
		i.addProvider(entry)
		return nil
	}
	if list, found := entry["templates"].([]any); found {
		left := slices.DeleteFunc(list, i.takeTemplate)
		entry["templates"] = left
		if len(left) == 0 {
			delete(entry, "templates")
		}
	}
	if deliveries, found := entry["deliveries"].(map[string]any); found {
		for _, messageType := range slices.Sorted(maps.Keys(deliveries)) {
			if i.takeDelivery(messageType, deliveries[messageType]) {
				delete(deliveries, messageType)
			}
		}
		if len(deliveries) == 0 {
			delete(entry, "deliveries")
		}
	}
	if len(i.templates) > before {
		i.note("Logto keeps these templates without a language; they are written as %s (--locale), "+
			"and readers of other languages get the relay's own mails", i.locale)
	}
	i.addProvider(entry)
	return nil
}

// inlineTemplates tells whether a connector has templates that could become files, and
// whether its Generic is none of them.
func inlineTemplates(entry provider) (keepsGeneric, others bool) {
	see := func(messageType string, template any, content string) {
		object, _ := template.(map[string]any)
		_, isInline := object[content].(string)
		keepsGeneric = keepsGeneric || messageType == "Generic" && !isInline
		others = others || isInline
	}
	list, _ := entry["templates"].([]any)
	for _, one := range list {
		object, _ := one.(map[string]any)
		see(textOf(object, "usageType"), one, "content")
	}
	deliveries, _ := entry["deliveries"].(map[string]any)
	for messageType, one := range deliveries {
		see(messageType, one, "html")
	}
	return keepsGeneric, others
}

func textOf(object map[string]any, key string) string {
	text, _ := object[key].(string)
	return text
}

// takeTemplate makes a file of an entry of "templates" that has a content.
func (i *importer) takeTemplate(entry any) bool {
	object, _ := entry.(map[string]any)
	content, isInline := object["content"].(string)
	if !isInline {
		return false
	}
	i.add(template{locale: i.locale, messageType: textOf(object, "usageType"), subject: textOf(object, "subject"),
		content: content, isText: textOf(object, "contentType") == "text/plain" || textOf(object, "type") == "text/plain"})
	return true
}

// takeDelivery makes files of an entry of Mailgun's "deliveries" that has HTML.
func (i *importer) takeDelivery(messageType string, entry any) bool {
	object, _ := entry.(map[string]any)
	content, isInline := object["html"].(string)
	if !isInline {
		return false
	}
	if replyTo := textOf(object, "replyTo"); replyTo != "" {
		i.note("%s: replyTo %q has no place in a template; use sender.replyTo, in a route with this type", messageType, replyTo)
	}
	i.add(template{locale: i.locale, messageType: messageType, subject: textOf(object, "subject"),
		content: content, text: textOf(object, "text")})
	return true
}

// readDataSources takes the mail connectors of LoopBack:
// https://loopback.io/doc/en/lb3/Email-connector.html
func (i *importer) readDataSources(object map[string]any) bool {
	found := false
	for _, name := range slices.Sorted(maps.Keys(object)) {
		source, _ := object[name].(map[string]any)
		connector := textOf(source, "connector")
		if connector != "mail" && connector != "loopback-connector-mail" {
			continue
		}
		found = true
		transports, _ := source["transports"].([]any)
		if transport, single := source["transport"]; single {
			transports = append(transports, transport)
		}
		for n, transport := range transports {
			i.readTransport(fmt.Sprintf("%s.transports[%d]", name, n), transport)
		}
	}
	return found
}

func (i *importer) readTransport(where string, transport any) {
	object, _ := transport.(map[string]any)
	if kind := strings.ToLower(textOf(object, "type")); kind != "smtp" && kind != "" {
		i.lose("%s: a transport of type %s; only smtp is", where, kind)
		return
	}
	if object["host"] == nil {
		i.lose("%s: there is no host; write the one of its service", where)
		return
	}
	entry := provider(maps.Clone(object))
	entry["type"] = "smtp"
	if alias := textOf(object, "alias"); alias != "" {
		entry["name"] = alias
		delete(entry, "alias")
	}
	i.addProvider(entry)
}

// unfit are characters that a provider's name cannot have.
var unfit = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// addProvider takes an entry without the keys that the relay does not know, and
// with variables in place of its secrets.
func (i *importer) addProvider(entry provider) {
	base := cmp.Or(strings.Trim(unfit.ReplaceAllString(textOf(entry, "name"), "-"), "-"), textOf(entry, "type"))
	name := base
	for n := 2; slices.ContainsFunc(i.providers, func(p provider) bool { return textOf(p, "name") == name }); n++ {
		name = fmt.Sprintf("%s-%d", base, n)
	}
	entry["name"] = name
	i.hideSecrets(name, entry)
	if login, found := entry["auth"].(map[string]any); found {
		i.hideCopies(login)
	}

	for _, problem := range i.problems(entry) {
		if !strings.HasPrefix(problem.Text, "unknown key") {
			continue
		}
		const isNone = "%s: %s is no key of this type of provider"
		switch value, found := drop(entry, problem.Key); {
		case !found:
		case value == nil, value == false, value == "": // and so without effect
			i.note(isNone+", and left out", name, problem.Key)
		default:
			i.lose(isNone, name, problem.Key)
		}
	}
	problems := i.problems(entry)
	for _, problem := range problems {
		i.note("%s: %s: %s", name, problem.Key, problem.Text)
	}
	if len(problems) > 0 {
		i.lose("%s: the provider has to be mended by hand", name)
		return
	}
	i.providers = append(i.providers, entry)
}

// problems are what the relay says of an entry. Their keys begin in it.
func (i *importer) problems(entry provider) []config.Problem {
	_, err := i.load(map[string]any{"providers": []provider{entry}})
	var wrong *config.Error
	if !errors.As(err, &wrong) {
		return nil
	}
	for n := range wrong.Problems {
		wrong.Problems[n].Key = strings.TrimPrefix(wrong.Problems[n].Key, "providers[0].")
	}
	return wrong.Problems
}

// drop removes a key given by its path, "tls.ciphers", and returns its value.
func drop(object map[string]any, path string) (value any, found bool) {
	key, rest, nested := strings.Cut(path, ".")
	if nested {
		inner, _ := object[key].(map[string]any)
		return drop(inner, rest)
	}
	value, found = object[key]
	delete(object, key)
	return value, found
}

// secretKeys are the keys whose values do not belong into a file.
var secretKeys = []string{"pass", "apiKey", "accessKeySecret", "serverToken", "authorization", "clientSecret", "refreshToken",
	"accessToken", "privateKey"}

var (
	innerCapital = regexp.MustCompile(`([a-z0-9])([A-Z])`)
	noNames      = regexp.MustCompile(`[^A-Za-z0-9]+`)
	// isHidden is a text that stands for a secret already.
	isHidden = regexp.MustCompile(`^\$\{(?:file:[^{}]+|[A-Za-z_][A-Za-z0-9_]*)\}$`)
	// secretHeaders are names of headers that bear keys.
	secretHeaders = regexp.MustCompile(`(?i)auth|key|token|secret|passw`)
)

// hideCopies puts the variable of a login's secret in place of what has the same value: the
// user may be the token, too.
func (i *importer) hideCopies(login map[string]any) {
	for _, hidden := range login {
		text, _ := hidden.(string)
		found := reference.FindStringSubmatch(text)
		if found == nil {
			continue
		}
		secret, isOurs := i.secrets[found[1]]
		for key, value := range login {
			if isOurs && value == secret {
				login[key] = text
			}
		}
	}
}

// hideSecrets puts ${NAME_KEY} in place of every secret.
func (i *importer) hideSecrets(name string, object map[string]any) {
	for _, key := range slices.Sorted(maps.Keys(object)) {
		switch value := object[key].(type) {
		case map[string]any:
			i.hideSecrets(name, value)
		case string:
			if isSecret(key, value) {
				object[key] = "${" + i.variableFor(name+"_"+key, value) + "}"
			}
		}
	}
}

func isSecret(key, value string) bool {
	address, err := url.Parse(value)
	isAddress := strings.Contains(value, "://")
	switch {
	case value == "", isHidden.MatchString(value):
		return false
	case slices.Contains(secretKeys, key), strings.Contains(value, "PRIVATE KEY-----"):
		return true
	case isAddress && err == nil: // such as that of a proxy, with its password
		return address.User != nil || address.RawQuery != ""
	}
	return isAddress && strings.Contains(value, "@") || strings.Contains(key, "-") && secretHeaders.MatchString(key)
}

// variableFor names the variable of a secret. No two secrets share one.
func (i *importer) variableFor(name, value string) string {
	base := strings.ToUpper(noNames.ReplaceAllString(innerCapital.ReplaceAllString(name, "${1}_$2"), "_"))
	if base[0] <= '9' { // 163_PASS is no name
		base = "SMTP_" + base
	}
	variable := base
	for n := 2; ; n++ {
		known, taken := i.secrets[variable]
		if _, isNamed := i.named[variable]; !isNamed && (!taken || known == value) {
			i.secrets[variable] = value
			return variable
		}
		variable = fmt.Sprintf("%s_%d", base, n)
	}
}
