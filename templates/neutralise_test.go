package templates

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

func TestNeutralise(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		// Names as they are.
		{"", ""}, {"Alice", "Alice"}, {"Alice Wönderland", "Alice Wönderland"}, {"王小明", "王小明"}, {"山田　太郎", "山田 太郎"},
		{"O'Brien & Söhne <GmbH>", "O'Brien & Söhne <GmbH>"}, {"Acme, Inc.", "Acme, Inc."}, {"St. Mary's", "St. Mary's"}, {"Yahoo!", "Yahoo!"},
		{"Version 2.0", "Version 2.0"}, {"10:30 Club", "10:30 Club"}, {"AC/DC", "AC/DC"}, {"@alice", "@alice"}, {"euel96w4lta6", "euel96w4lta6"}, {":)", ":)"},
		{"محمد", "محمد"}, {"می\u200cخواهم", "می\u200cخواهم"}, {"क्\u200dष", "क्\u200dष"}, {"สมชาย ใจดี", "สมชาย ใจดี"}, {"葛\U000E0100城", "葛\U000E0100城"},
		{"👩\u200d🚀 ☺️ 1️⃣ 🏳️\u200d🌈 🇩🇪 👍🏽", "👩\u200d🚀 ☺️ 1️⃣ 🏳️\u200d🌈 🇩🇪 👍🏽"},
		{"葛\U000E01EF城", "葛\U000E01EF城"}, {"0\ufe0f\u20e3 9\ufe0f\u20e3", "0\ufe0f\u20e3 9\ufe0f\u20e3"}, {"Ada \u00a0", "Ada"}, {"Ubuntu 22.04", "Ubuntu 22.04"},
		{"Version 9.9", "Version 9.9"},
		// Made legible rather than torn.
		{"J.R.R. Tolkien", "J. R. R. Tolkien"}, {"Wait...what", "Wait... what"}, {"Team:Alpha", "Team: Alpha"}, {"你好。世界", "你好。 世界"},
		// Web addresses: Gmail and Apple Mail link bare domains, Outlook www. and schemes.
		{"evil.com", "evil. com"}, {"www.evil.com", "www. evil. com"}, {"http://evil.com/a?b", "http: /evil. com/a?b"}, {"HTTPS://EVIL.COM", "HTTPS: /EVIL. COM"},
		{"go to evil.com/x now", "go to evil. com/x now"}, {"(evil.com)", "(evil. com)"}, {"\"evil.com\",", "\"evil. com\","},
		{"пример.рф", "пример. рф"}, {"例え.テスト", "例え. テスト"}, {"xn--e1awd7f.com", "xn--e1awd7f. com"}, {"evil.com:8080", "evil. com: 8080"},
		{"1.2.3.4", "1. 2. 3. 4"}, {"http://2130706433", "http: /2130706433"}, {"http://[::1]/", "http: /[:: 1]/"}, {"2.0/evil", "2. 0/evil"},
		{"javascript:alert(1)", "javascript: alert(1)"}, {"tel:123", "tel: 123"}, {"ftp.evil.com", "ftp. evil. com"}, {`\\server\share`, `\server\share`}, {"//evil", "/evil"},
		{"💩.la", "💩. la"}, {"evil.-x.com", "evil. -x. com"}, {".com", ". com"},
		{"::1", ":: 1"}, {"a .5", "a . 5"}, {"2.x", "2. x"},
		// Dots that IDNA or NFKC read as such.
		{"evil。com", "evil。 com"}, {"evil．com", "evil． com"}, {"evil｡com", "evil｡ com"}, {"evil․com", "evil․ com"}, {"evil﹒com", "evil﹒ com"}, {"evil⒈com", "evil⒈ com"},
		{"evil㏂com", "evila. m. com"}, {"x㏇uk", "xCo. uk"}, {"㏘", "p. m."}, {"a‥b", "a.. b"}, {"evil︙com", "evil... com"}, {"mailto：x", "mailto： x"},
		{"tel﹕1", "tel﹕ 1"}, {"x⩴y", "x: : =y"}, {"magnet:?xt=urn:btih:a", "magnet: ?xt=urn: btih: a"}, {"magnet：？x", "magnet： ？x"}, {"Bob:)", "Bob:)"},
		// What services fill in, whose parts would join.
		{"go to evil.{{x}}com", "go to evil. { { x}}com"}, {"{{7*7}}", "{ { 7*7}}"}, {"a {% if %} b", "a { % if %} b"}, {"{{", "{ {"}, {"{email}", "{ email}"},
		{"*|FNAME|*", "* |FNAME|*"}, {"[[data:x]]", "[ [data: x]]"}, {"[%unsubscribe%]", "[ %unsubscribe%]"}, {"<%x%> <<y>>", "< %x%> < <y>>"},
		{"${x} #{x}", "${ x} #{ x}"}, {"a { b } [c] * | <d>", "a { b } [c] * | <d>"}, {"{", "{"},
		{"{:1", "{ : 1"}, {"{.é*}", "{ . é*}"}, {"{@x", "{ @x"}, {"{/x", "{ /x"}, {"{localhost", "{ local host"},
		// The one name without a dot that is an address.
		{"localhost/x", "local host/x"}, {"LocalHost", "Local Host"}, {"fe80::1", "fe80: : 1"}, {"1:2:3:4:5:6:7:8", "1:2: 3:4: 5:6: 7:8"}, {"10:30:15", "10:30: 15"}, {"ｌｏｃａｌｈｏｓｔ:80", "ｌｏｃａｌ ｈｏｓｔ: 80"}, {"mylocalhosts", "mylocal hosts"},
		// Mail addresses.
		{"mallory@evil.com", "mallory @ evil. com"}, {"a＠b.c", "a ＠ b. c"}, {"mailto:x@y", "mailto: x @ y"},
		// What cannot be seen, and what turns the text around.
		{"\u202egnirts\r\nBcc: x@example.com", "gnirts Bcc: x @ example. com"}, {"evil\u200b.\u2060com", "evil. com"}, {"ev\u00adil.c\u200com", "evil. com"},
		{"a\u2066b\u2069\u200e\u200f\u061cc", "abc"}, {"a\ufeffb\x00c\x1b[31m\u0085d", "abc[31m d"}, {"\u3164\u2800\u115f", ""}, {" \t\n ", ""}, {"a\u2028b\u2029c", "a b c"},
		{"a\U000E0041b", "ab"}, {"a\ue000b\ufffeb", "abb"}, {"bad\xffutf", "badutf"}, {"a\u200db", "ab"}, {"\u0301a", "a"}, {".\u0301com", ". com"},
		{"a\ufff0b\ufff8c", "abc"}, {"a\U000E0000b", "ab"}, {"a\U000E0FFFb", "ab"}, {"a\ufe00b\ufe0fc\u180bd\u180fe", "abcde"},
		{"z\u0301\u0302\u0303\u0304\u0305\u0306!", "z\u0301\u0302\u0303\u0304!"},
		// Long ones.
		{strings.Repeat("a", 100), strings.Repeat("a", 100)}, {strings.Repeat("a", 101), strings.Repeat("a", 99) + "…"},
		{strings.Repeat("a", 98) + "e\u0301xyz", strings.Repeat("a", 98) + "…"},
		{strings.Repeat("a", 98) + "👩\u200d🚀xyz", strings.Repeat("a", 98) + "…"},
		{strings.Repeat("a", 98) + "🇩🇪xyz", strings.Repeat("a", 98) + "…"},
		{strings.Repeat("a", 98) + " xyz", strings.Repeat("a", 98) + "…"},
		{"The " + strings.Repeat("very ", 19) + "long name", "The" + strings.Repeat(" very", 19) + "…"},
		{strings.Repeat("a", 80) + ", " + strings.Repeat("b", 80), strings.Repeat("a", 80) + "…"},
		{strings.Repeat("a", 60) + " " + strings.Repeat("b", 80), strings.Repeat("a", 60) + " " + strings.Repeat("b", 38) + "…"},
		{strings.Repeat("word… ", 30), strings.TrimSuffix(strings.Repeat("word… ", 16), "… ") + "…"},
		{strings.Repeat(".", 200), ".…"},
		{strings.Repeat("\u200b", 800) + "evil", ""}, {strings.Repeat("\u200b", 799) + "evil", "e"},
		{strings.Repeat("ä", 99) + "!", strings.Repeat("ä", 99) + "!"},
		{strings.Repeat("a", 98) + "👍🏻xyz", strings.Repeat("a", 98) + "…"}, {strings.Repeat("a", 98) + "👍🏿xyz", strings.Repeat("a", 98) + "…"},
		{strings.Repeat("a", 98) + "🇦🇿xyz", strings.Repeat("a", 98) + "…"}, {strings.Repeat("a", 98) + "🇿🇦xyz", strings.Repeat("a", 98) + "…"},
		{strings.Repeat("👩\u200d", 60) + "👩", "👩…"}, {"Ada" + strings.Repeat("👩\u200d", 60) + "👩", "Ada…"}, {strings.Repeat("🇩🇪", 60), strings.Repeat("🇩🇪", 49) + "…"},
		{strings.Repeat("a", 76) + " " + strings.Repeat("b", 80), strings.Repeat("a", 76) + "…"},
		{strings.Repeat("a", 75) + " " + strings.Repeat("b", 80), strings.Repeat("a", 75) + " " + strings.Repeat("b", 23) + "…"},
	} {
		got := neutralise(test.in)
		if got != test.want {
			t.Errorf("%q: got %q, want %q", test.in, got, test.want)
		}
		checkNeutral(t, test.in, got)
	}
}

func TestMailboxesAreShown(t *testing.T) {
	for address, want := range map[string]string{
		"mallory@example.com": "mallory@example.com", "a.b+c_d@sub.example.co.uk": "a.b+c_d@sub.example.co.uk",
		"foo.@docomo.ne.jp": "foo. @ docomo. ne. jp", "see http://evil.com a@b.c": "see http: /evil. com a @ b. c", "a@b": "a @ b",
		"<script>@evil.com": "<script> @ evil. com", "a@b@c.com": "a @ b @ c. com", "a@.com": "a @ . com", "a@b.com,c@d.com": "a @ b. com,c @ d. com",
		"evil.com/login@b.com": "evil. com/login @ b. com", "evil.com?x@b.com": "evil. com?x @ b. com", "evil.com!x@b.com": "evil. com!x @ b. com",
		"1.2.3.4/x@b.com": "1. 2. 3. 4/x @ b. com", "localhost/x@b.com": "local host/x @ b. com", "evil.com'x@b.com": "evil. com'x @ b. com",
		"john.o'brien@b.com": "john.o'brien@b.com", "a/b@b.com": "a/b@b.com", "evil.com=x@b.com": "evil.com=x@b.com", "evil.com@b.com": "evil.com@b.com",
	} {
		data := map[string]any{"user": map[string]any{"primaryEmail": address, "name": address}}
		p, err := compile(&source{text: "{{user.primaryEmail}}|{{user.name}}"}, textFormat, vocabulary{messageType: generic})
		if err != nil {
			t.Fatal(err)
		}
		if got := p.render(valuesFor(data)).String(); got != want+"|"+neutralise(address) {
			t.Errorf("%q: got %q", address, got)
		}
	}
}

// What is spelled out is all that NFKC makes a dot, a colon or a slash of together
// with other characters, numbers with a dot aside, which count as dots.
func TestCharactersThatStandForSeveral(t *testing.T) {
	for r := rune(0x80); r <= unicode.MaxRune; r++ {
		composed := norm.NFKC.String(string(r))
		if utf8.RuneCountInString(composed) > 1 && strings.ContainsAny(composed, ".:@") && r != '…' && !isDot(r) && spelled(r) != composed {
			t.Errorf("U+%04X is %q and not %q", r, spelled(r), composed)
		}
		if len(composed) == 1 && strings.Contains(".:@/\\", composed) && !isDot(r) && !isColon(r) && !isAt(r) && !isSlash(r) {
			t.Errorf("U+%04X is %q", r, composed)
		}
	}
}

// A number is shown as it is, but not one of 60,000 digits.
func TestNumbersAsNames(t *testing.T) {
	for number, want := range map[string]string{
		"7": "7", "-1.5": "-1.5", "6.02e23": "6.02e23", strings.Repeat("1", 64): strings.Repeat("1", 64),
		strings.Repeat("1", 60003): strings.Repeat("1", maxNameRunes-1) + "…",
	} {
		if got := write(t, textFormat, "{{user.name}}", `{"user":{"name":`+number+`}}`); got != want {
			t.Errorf("%.80s: got %.80s", number, got)
		}
	}
}

// Every text that a person can have typed goes through neutralise, wherever it
// stands in the payload.
func TestTypedNamesAreNeutralised(t *testing.T) {
	const data = `{"user":{"name":"evil.com","profile":{"nickname":"evil.com"},"username":"evil.com"},"inviter":{"name":"evil.com"},
		"organization":"evil.com","application":{"name":"evil.com","customData":{"list":["evil.com"]}},"foo":"evil.com","uiLocales":"evil.com"}`
	for _, name := range []string{"user.name", "user.profile.nickname", "user.username", "inviter.name", "organization", "application.name",
		"application.customData.list.0", "foo", "uiLocales"} {
		for _, f := range []format{textFormat, htmlFormat, titleFormat} {
			if got := write(t, f, "{{"+name+"}}", data, "foo"); got != "evil. com" {
				t.Errorf("{{%s}}: got %q", name, got)
			}
		}
	}
	if got := write(t, textFormat, "{{branding.senderName}}", `{"application":{"displayName":"evil.com"}}`); got != "evil. com" {
		t.Errorf("the application's display name: got %q", got)
	}
}

func TestIsLinked(t *testing.T) {
	for text, want := range map[string]bool{
		"123456": false, "012345": false, "AB-12 cd_34": false, " 123\u00a0456\n": false, "12.34.56": false, "482.913": false, "1.2.3.4": true, "1.2.3.com": true, "12:34": false, "№ 7": false, "": false,
		"https://evil.example": true, "evil.example": true, "go to evil.com now": true, "a@b.example": true, "//evil": true, "mailto:x": true, "evil。com": true,
	} {
		if got := IsLinked(text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// An address in which a service would fill something in is no address to show as it is.
func TestMailboxOfServicesWords(t *testing.T) {
	for in, want := range map[string]string{
		"alice+tag@acme.example": "alice+tag@acme.example", "{{x}}@acme.example": "{ { x}} @ acme. example", "*|x|*@acme.example": "* |x|* @ acme. example",
	} {
		if got := Mailbox(in); got != want {
			t.Errorf("%s is shown as %q, want %q", in, got, want)
		}
	}
}
