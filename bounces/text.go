package bounces

import (
	"regexp"
	"slices"
	"strings"
)

// maxText bounds what is read of a text for people, in bytes, and maxResults the
// addresses that it may name. maxAbout bounds what is taken for words about one of them, in
// bytes: all of them together take time.
const maxText, maxResults, maxAbout = 16 << 10, 20, 2 << 10

// atom and label are what addresses consist of, in any language.
const (
	atom  = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~.\\x{80}-\\x{10ffff}-]"
	label = `[A-Za-z0-9\x{80}-\x{10ffff}-]`

	anAddress = `(?:` + atom + `+|"[^"\s]{1,64}")@(?:` + label + `+\.)+` + label + `*[A-Za-z0-9\x{80}-\x{10ffff}]`
)

var (
	addressPattern = expression(anAddress)
	// named is an address that a line begins with, mostly after a sign or two.
	named = expression(`(?m)^[ \t]*(?:>>> |[45]\d\d |[*] |-- |- |TO: |Recipient: )?["'<(]{0,2}(` + anAddress + `)["'>)]{0,2}(?:[ \t:;,(\[{<]|\.\.\.|$)`)
	// refused is one that a server did not take.
	refused = expression(`(?i)RCPT TO:\s*<?(` + anAddress + `)`)

	systems = words(`mailer.?daemon`, `post.?master`, `mail.?(delivery|admin|system)`, `delivery.?(system|subsystem|status)`, `mdaemon`,
		`undeliverable`, `system administrator|sysadmin`)
	returned = words(`undeliver|not delivered|non.?delivery|unable to deliver`, `returned mail|bounce`, `mail delivery|delivery status`,
		`delivery (notification|failure|failed|problem|has failed|report|error)|failed delivery|failure notice`,
		`mail (could|can)not be|could not (be )?sen[dt]|error sending|mail (system )?error`)
	// nobody is no person's address, whatever the subject says: Verizon's is the second.
	nobody = words(`\bmailer-daemon@`, `\bpost_master@`)
	// answers are what people's programs put before the subject of what they answer.
	answers  = words(`^\s*(re|aw|antw|antwort|sv|vs|rv|res|ref|rif|odp|ynt|ang|vá|tr|r|отв|на|回复|答复|回覆|返信|回信)(\s*\[\d+\])?\s*[:：]`)
	absences = words(`^\s*(auto(matic)?.?(reply|response|antwort)|out of (the )?office|autorespon|vacation|away\b|abwesenheit)`)
	failure  = words(`\b(fail|undeliver|not (yet )?(been |be )?deliver|reject|return|unable|error|bounce|could not|couldn't|cannot|can't|wasn't able|` +
		`not reach|problem|refused|unknown|delay|no valid|trouble)`)
	late = words(`(has been|is|was) delayed|delayed for|still (trying|being)|will (keep|continue) (to )?try|message .{0,40}delayed`,
		`not yet been delivered|do not need to re-?send`)
	givenUp = words(`giv(en|ing) up`, `permanent`, `returned to sender`, `could not be delivered`, `no longer`)
)

func addressesIn(text string) []string { return addressPattern().FindAllString(text, maxResults) }

// isFromMailSystem tells whether nobody but a mail server writes so.
func (c *content) isFromMailSystem() bool {
	subject, err := c.header.Text("Subject")
	if err != nil {
		subject = c.header.Get("Subject")
	}
	switch {
	case c.header.Get("X-Failed-Recipients") != "", nobody().MatchString(c.header.Get("From")):
		return true
	case absences().MatchString(subject), answers().MatchString(subject):
		return false
	}
	from := addressPattern().ReplaceAllStringFunc(c.header.Get("From"), func(address string) string {
		local, _, _ := strings.Cut(address, "@") // a domain may be called anything
		return local
	})
	return systems().MatchString(from) || returned().MatchString(subject)
}

// free reads a report that is written for people.
func (c *content) free() (results []Result) {
	if !failure().MatchString(c.header.Get("Subject") + "\n" + c.text) {
		return nil
	}
	for _, address := range c.failed() {
		r := Result{Address: address}
		if late().MatchString(c.text) && !givenUp().MatchString(c.text) {
			r.Outcome = Delayed
		}
		results = append(results, r)
	}
	c.judge(results)
	return results
}

// failed are the addresses that a text names as those that did not get the mail; one
// that is empty if it names none.
func (c *content) failed() []string {
	var own []string
	for _, name := range []string{"To", "From", "Return-Path", "Delivered-To"} {
		own = append(own, addressesIn(c.header.Get(name))...)
	}
	for _, found := range [][]string{
		addressesIn(c.header.Get("X-Failed-Recipients")),
		without(own, submatches(named(), c.text)),
		submatches(refused(), c.text),
		without(own, addressesIn(c.text)),
		submatches(named(), c.text),
	} {
		if len(found) > 0 {
			return without(nil, found)
		}
	}
	return []string{firstAddress(c.original, "To")}
}

// without returns each address once, and none of others.
func without(others, all []string) (left []string) {
	for _, address := range all {
		is := func(other string) bool { return strings.EqualFold(other, address) }
		if !slices.ContainsFunc(others, is) && !slices.ContainsFunc(left, is) {
			left = append(left, address)
		}
	}
	return left
}

func submatches(pattern *regexp.Regexp, text string) (all []string) {
	for _, found := range pattern.FindAllStringSubmatch(text, maxResults) {
		all = append(all, found[1])
	}
	return all
}

// about is what the text says of an address: what follows it, up to the next blank line,
// and up to another one of the addresses.
func (c *content) about(address string, all []Result) (near, far string) {
	if address == "" {
		return "", ""
	}
	_, said, _ := strings.Cut(c.text, address)
	said = said[:min(len(said), maxAbout)]
	for _, other := range all {
		if other.Address != "" && other.Address != address {
			said, _, _ = strings.Cut(said, other.Address)
		}
	}
	near, _, _ = strings.Cut(said, "\n\n")
	return near, said
}
