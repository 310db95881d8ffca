package relay

import (
	"slices"
	"strings"

	"golang.org/x/text/language"

	"logto-email-relay/settings"
)

// traits are what routes look at.
type traits struct {
	domain       string
	kind         string
	application  string
	organization string
	locale       string
}

func traitsOf(r *Request, locale string) traits {
	return traits{
		domain:       r.To[strings.LastIndexByte(r.To, '@')+1:],
		kind:         r.Type,
		application:  idOf(r.Payload["application"]),
		organization: idOf(r.Payload["organization"]),
		locale:       locale,
	}
}

func idOf(context any) string {
	object, _ := context.(map[string]any)
	id, _ := object["id"].(string)
	return id
}

// matches tells whether every condition that the route names holds.
func (r *Route) matches(t *traits) bool {
	return holds(r.Domains, t.domain, settings.MatchHost) &&
		holds(r.Types, t.kind, equal) &&
		holds(r.Applications, t.application, equal) &&
		holds(r.Organizations, t.organization, equal) &&
		holds(r.Locales, t.locale, matchLocale)
}

func holds(wanted []string, actual string, match func(wanted, actual string) bool) bool {
	return len(wanted) == 0 || slices.ContainsFunc(wanted, func(w string) bool { return match(w, actual) })
}

func equal(wanted, actual string) bool { return wanted == actual }

// matchLocale lets "pt" stand for pt-BR and pt-PT, and "zh-Hant" for zh-TW.
func matchLocale(wanted, actual string) bool {
	if strings.EqualFold(wanted, actual) {
		return true
	}
	want, err := language.Parse(wanted)
	if err != nil {
		return false
	}
	is, err := language.Parse(actual)
	if err != nil {
		return false
	}
	wantBase, _ := want.Base()
	isBase, _ := is.Base()
	if wantBase != isBase {
		return false
	}
	if script, confidence := want.Script(); confidence == language.Exact {
		if isScript, _ := is.Script(); isScript != script {
			return false
		}
	}
	if region, confidence := want.Region(); confidence == language.Exact {
		isRegion, _ := is.Region()
		return isRegion == region
	}
	return true
}
