package templates_test

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"logto-email-relay/settings"
	"logto-email-relay/templates"
)

// minutes are lifetimes of a code at which some language changes its words.
var minutes = []int{1, 2, 3, 5, 10, 11, 15, 21, 22, 25, 60, 100, 101}

// wordsForMinutes are what follows the number, in the order of minutes; one word
// where it never changes. Arabic has no number before one and two.
var wordsForMinutes = map[string]string{
	"ar":    "*دقيقة_واحدة *دقيقتين دقائق دقائق دقائق دقيقة دقيقة دقيقة دقيقة دقيقة دقيقة دقيقة دقيقة",
	"cs":    "minutu minuty minuty minut minut minut minut minut minut minut minut minut minut",
	"de":    "Minute Minuten Minuten Minuten Minuten Minuten Minuten Minuten Minuten Minuten Minuten Minuten Minuten",
	"en":    "minute minutes minutes minutes minutes minutes minutes minutes minutes minutes minutes minutes minutes",
	"es":    "minuto minutos minutos minutos minutos minutos minutos minutos minutos minutos minutos minutos minutos",
	"fa-IR": "دقیقه",
	"fr":    "minute minutes minutes minutes minutes minutes minutes minutes minutes minutes minutes minutes minutes",
	"it":    "minuto minuti minuti minuti minuti minuti minuti minuti minuti minuti minuti minuti minuti",
	"ja":    "分間",
	"ko":    "분",
	"pl-PL": "minutę minuty minuty minut minut minut minut minut minuty minut minut minut minut",
	"pt-BR": "minuto minutos minutos minutos minutos minutos minutos minutos minutos minutos minutos minutos minutos",
	"pt-PT": "minuto minutos minutos minutos minutos minutos minutos minutos minutos minutos minutos minutos minutos",
	"ru":    "минуту минуты минуты минут минут минут минут минуту минуты минут минут минут минуту",
	"th":    "นาที",
	"tr-TR": "dakika",
	"uk-UA": "хвилину хвилини хвилини хвилин хвилин хвилин хвилин хвилину хвилини хвилин хвилин хвилин хвилину",
	"zh-CN": "分钟",
	"zh-HK": "分鐘",
	"zh-TW": "分鐘",
}

func TestTheLifetimeOfACodeIsGrammar(t *testing.T) {
	for i, n := range minutes {
		s := templates.DefaultSettings()
		s.CodeLifetime = settings.Duration(time.Duration(n) * time.Minute)
		catalogue, err := templates.Open(s)
		if err != nil {
			t.Fatal(err)
		}
		for _, locale := range languages {
			words := strings.Fields(wordsForMinutes[locale])
			word := words[min(i, len(words)-1)]
			pattern := fmt.Sprintf(`\D%d[ \x{a0}]?%s`, n, word)
			if len(words) > 1 {
				pattern += `\PL`
			}
			if bare, ok := strings.CutPrefix(word, "*"); ok {
				pattern = `\s` + strings.ReplaceAll(bare, "_", " ") + `\.`
			}
			mail, err := catalogue.Render(templates.Request{Type: "SignIn", Locale: locale, Payload: templates.Sample("SignIn", locale)})
			if err != nil {
				t.Fatal(err)
			}
			for part, text := range map[string]string{"text": mail.Text, "HTML": mail.HTML.String()} {
				if !regexp.MustCompile(pattern).MatchString(text) {
					t.Errorf("%s: the %s does not say %d %s", locale, part, n, word)
				}
			}
		}
	}
}

// texts is a file of locales/.
type texts struct {
	Shared   map[string]string
	Types    map[string]map[string]string
	Failures failures
}

// failures are sentences by their reason; some have one for each plural.
type failures map[string]string

func (f *failures) UnmarshalJSON(content []byte) error {
	*f = failures{}
	var written map[string]json.RawMessage
	if err := json.Unmarshal(content, &written); err != nil {
		return err
	}
	for reason, value := range written {
		var one string
		if json.Unmarshal(value, &one) == nil {
			(*f)[reason] = one
			continue
		}
		var forms map[string]string
		if err := json.Unmarshal(value, &forms); err != nil {
			return err
		}
		for form, text := range forms {
			(*f)[reason+"."+form] = text
		}
	}
	return nil
}

var tag = regexp.MustCompile(`\{\{[^}]*\}\}`)

// branches returns the sentences that blocks choose among, each with the names
// left out.
func branches(text string) []string {
	var found []string
	for _, branch := range regexp.MustCompile(`\{\{(#if [^}]*|else|/if)\}\}`).Split(text, -1) {
		if branch != "" {
			found = append(found, branch)
		}
	}
	return found
}

// What locales/README.md asks of translators and what can be counted.
func TestTheTextsKeepTheRules(t *testing.T) {
	for _, locale := range languages {
		content, err := os.ReadFile("locales/" + locale + ".json")
		if err != nil {
			t.Fatal(err)
		}
		var l texts
		if err := json.Unmarshal(content, &l); err != nil {
			t.Fatal(err)
		}
		scale := 1
		if strings.HasPrefix(locale, "zh") || locale == "ja" || locale == "ko" {
			scale = 2
		}
		within := func(key, text string, least, most int) {
			for _, branch := range branches(text) {
				if n := scale * utf8.RuneCountInString(tag.ReplaceAllString(branch, "")); n < least || n > most {
					t.Errorf("%s: %s has %d characters, want %d to %d: %s", locale, key, n/scale, least/scale, most/scale, branch)
				}
			}
		}
		colon := func(key, text string) {
			if text != "" && !strings.HasSuffix(text, ":") && !strings.HasSuffix(text, "：") {
				t.Errorf("%s: %s does not end in a colon: %s", locale, key, text)
			}
		}
		colon("support", l.Shared["support"])
		colon("linkHint", l.Shared["linkHint"])
		for kind, own := range l.Types {
			within(kind+".subject", own["subject"], 0, 50)
			within(kind+".preheader", own["preheader"], 36, 90)
			within(kind+".heading", own["heading"], 0, 42)
			within(kind+".button", own["button"], 0, 25)
			colon(kind+".enter", own["enter"])
			colon(kind+".invitedBy", own["invitedBy"])
			colon(kind+".invitationCode", own["invitationCode"])
			for _, branch := range branches(own["subject"]) {
				if strings.HasPrefix(branch, "{{") {
					t.Errorf("%s: the subject of %s begins with a name: %s", locale, kind, branch)
				}
			}
			for key, text := range own {
				if strings.ContainsAny(text, "!！<>\n") {
					t.Errorf("%s: %s.%s has an exclamation mark, markup or a line break: %s", locale, kind, key, text)
				}
			}
		}
		for reason, text := range l.Failures {
			if strings.HasPrefix(reason, "wait_") || reason == "did_you_mean" {
				text = tag.ReplaceAllString(text, "")
			}
			if strings.ContainsAny(text, "{}<>!！\n“”«»„\u2066\u2067\u2068\u2069") {
				t.Errorf("%s: failures.%s is not one plain line: %s", locale, reason, text)
			}
		}
	}
}
