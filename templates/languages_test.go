package templates_test

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strconv"
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
	"es-MX": "minuto minutos minutos minutos minutos minutos minutos minutos minutos minutos minutos minutos minutos",
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
			number := strconv.Itoa(n)
			if locale == "fa-IR" {
				number = strings.NewReplacer("0", "۰", "1", "۱", "2", "۲", "3", "۳", "5", "۵", "6", "۶").Replace(number)
			}
			pattern := fmt.Sprintf(`\PN%s\x{a0}?%s`, number, word)
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
		for _, label := range []string{"sentTo", "requested", "address"} {
			colon(label, l.Shared[label])
		}
		for kind, own := range l.Types {
			within(kind+".subject", own["subject"], 0, 50)
			within(kind+".preheader", own["preheader"], 36, 90)
			within(kind+".heading", own["heading"], 0, 42)
			within(kind+".button", own["button"], 0, 25)
			colon(kind+".enter", own["enter"])
			colon(kind+".invitedBy", own["invitedBy"])
			colon(kind+".account", own["account"])
			colon(kind+".invitationCode", own["invitationCode"])
			for _, branch := range branches(own["subject"]) {
				// The name is to be seen in a list of mails, which shows 40 characters.
				if before, _, named := strings.Cut(branch, "{{"); named && utf8.RuneCountInString(before) > 34 {
					t.Errorf("%s: the subject of %s has the name behind 34 characters: %s", locale, kind, branch)
				}
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

// What lines may not break in, and that nothing which readers copy is touched by it.
func TestLinesBreakWhereTheyMay(t *testing.T) {
	catalogue, err := templates.Open(templates.DefaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	const open = `<span style="white-space:nowrap">`
	for _, test := range []struct{ locale, kind, html, text string }{
		{"cs", "SignIn", open + "e-mailu</span>", "e-mail ignorovat"},
		{"pl-PL", "ForgotPassword", "", "i\u00a0bez kodu"},
		{"ru", "ForgotPassword", "", "и\u00a0без кода"},
		{"uk-UA", "ForgotPassword", "", "і\u00a0без коду"},
		{"de", "SignIn", open + "E-Mail</span>-Adresse", "E-Mail-Adresse"},
		{"tr-TR", "SignIn", open + "e-posta</span>", "10\u00a0dakika"},
		{"tr-TR", "BindMfa", open + "e-posta</span>", "2\u00a0aşamalı doğrulama"},
		{"cs", "OrganizationInvitation", "Pozvánka do\u00a0organizace", "Pozvánka do\u00a0organizace"},
		{"en", "SignIn", "Sign in\u00a0to\u00a0Acme</h1>", "Sign in\u00a0to\u00a0Acme\n"},
		{"fa-IR", "MfaVerification", "مرحله تا\u00a0ورود", "مرحله تا\u00a0ورود"},
		{"ko", "MfaVerification", "로그인까지 한\u00a0단계", "않고는 그\u00a0사람도"},
		{"th", "OrganizationInvitation", "ให้" + open + "เข้าร่วม</span>", "ให้เข้าร่วม"},
		{"th", "MfaVerification", "เหลืออีก" + open + "ขั้นตอนเดียว</span>", "ขั้นตอนเดียว"},
		{"zh-TW", "BindNewIdentifier", "確認您的新" + open + "電子郵件</span>地址</h1>", "電子郵件地址"},
		{"ja", "SignIn", "Acmeに" + open + "サインイン</span></h1>", "Acmeにサインイン\n"},
		{"th", "SignIn", open + "เพิกเฉย</span>", "เพิกเฉย"},
		{"fa-IR", "SignIn", "۱۰\u00a0دقیقه", "\n\n123456\n\n"},
		{"zh-CN", "OrganizationInvitation", "邀请人：<span", "邀请人：alice@example.com\n"},
		{"en", "OrganizationInvitation", "Invited by: <span", "Invited by: alice@example.com\n"},
	} {
		mail, err := catalogue.Render(templates.Request{Type: test.kind, Locale: test.locale, Payload: templates.Sample(test.kind, test.locale),
			Branding: templates.Branding{SenderName: "Acme"}})
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(mail.HTML.String(), test.html) || !strings.Contains(mail.Text, test.text) {
			t.Errorf("%s %s: want %q and %q in\n%s\n%s", test.locale, test.kind, test.html, test.text, mail.HTML.String(), mail.Text)
		}
	}
}
