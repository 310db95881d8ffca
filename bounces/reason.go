package bounces

import (
	"regexp"
	"slices"
	"strings"
	"sync"

	"logto-email-relay/mail"
)

// expression is compiled when it is first used. Together they would add 14 ms and 1 MB
// to the start of every relay, and most never read a report.
func expression(text string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(text) })
}

// words makes an expression of phrases, in which a blank stands for any blanks.
func words(phrases ...string) func() *regexp.Regexp {
	return expression(`(?i)` + strings.Join(phrases, "|"))
}

var (
	// hardWords say that there is nobody who takes mails to the address.
	hardWords = words(
		`(user|recipient|mailbox|address|account|addressee|alias)\w*( name| address| account|:)?( \S+){0,3} `+
			`(is |was |has |does |do |doesn't |not |could |couldn't )*(be )?`+
			`(unknown|not? (known|found|exist|listed|valid|recogni[sz]ed)|invalid|non.?exist)`,
		`(unknown|no such|invalid|non.?existent|bad|illegal|no valid|not a (valid|known)|unrouteable|undeliverable) `+
			`(\S+ ){0,2}(user|recipient|mailbox|address|account|local|name|person|alias|domain|host)`,
		`(address|recipient|user|mailbox|domain|host|account)\b[^.]{0,60}(not|n.{1,3}t) (be )?(found|exist)`,
		`(user|recipient|mailbox|account|address|person|one|name) (here )?(with|by) (that|this) name`,
		`no (mailbox|user|account|recipient|one) here`,
		`(doesn't|does not) have .{0,40}(account|mailbox)`,
		`no longer (valid|available|exists|in use|with|active|on server)`,
		`has (moved|changed)`,
		`not listed in`,
		`check if address is correct`,
		`recipient address rejected: access denied`,       // Exchange Online, of addresses that it does not know
		`requested action not taken: mailbox unavailable`, // Outlook.com, the same
		`recipnotfound|recipient ?unknown`,                // Exchange
		`no existe|unbekannt|inconnu`,                     // in Spanish, German and French
		`host (or domain name )?(\S+ ){0,2}not found`,     // and of domains
		`(host|domain) unknown|unknown (host|domain)`,
		`domain .{0,40}(does not exist|doesn't exist|invalid)`,
		`domain is not reachable|name or service not known|nxdomain`,
		`null mx|no mx record|no smtp service|does not accept mail|not accepting (network )?messages`,
	)
	// softWords say that another mail may fare better.
	softWords = words(
		`(mailbox|mail ?folder|inbox|account|user|disk|disc|storage|quota)( \S+){0,4} (is |are |was |has |been )*(full|exceed|exceeded|over|out of)`,
		`mailbox.{0,20}full`,
		`over ?quota|quota exceed|exceed.{0,30}(quota|storage|limit|size)`,
		`(insufficient|not enough) (\S+ ){0,2}(space|storage|resource)`,
		`too (big|large|long|many)|size limit|maximum size`,
		`spam|virus|malware|attachment|message content|content (is |was )?(rejected|blocked|filter)`,
		`blocked|block ?list|black ?list|denylist|\brbl\b|dnsbl|reputation`,
		`policy|dmarc|\bspf\b|dkim|authenticat`,
		`recipient preferences`,
		`reverse dns|\bptr\b|helo`,
		`relay(ing)? (access )?(denied|not permitted|not allowed|prohibited)|(unable|not permitted) to relay`,
		`your (ip( address)?|domain|sending address|host( ?name)?|(mail ?)?server|account|network) (is|are|has|does|do|was not|not)\b|client host|`+
			`sending (ip|domain|host|server)|you send (from|with)|reverse look.?up|from senders|\btoken\b`,
		`invalid dns mx|sender.{0,30}(reject|denied|invalid|unknown|verif|not |null)|unknown sender|verification failed for|(callback|callout)( verification)? failed|`+
			`(envelope.from|originat\w+) (domain|address|host)|sender'?s? (domain|address)|\bfrom.domain\b|host \[?\d+\.\d+\.\d+\.\d+\]? not found|domain of sender|(after|in reply to) mail from|from: domain`,
		`temporar|try again (later|in)|again later|, try again|gr[ea]ylist|deferred|timed? ?out|connection (refused|reset|lost)|too busy|rate limit`,
		`mail loop|loops back|hop count|too many hops`,
		filteredByReader,
	)
	ofReader = words(filteredByReader)
	// softCodes are of what passes, of the sender, its machine or the rights to write to a group.
	softCodes = expression(`^4\.|^5\.1\.[78]$|^5\.7\.(2\d|\d{3})$`)
	// hardCodes are those of RFC 3463 that are about the address or its domain.
	hardCodes = []string{"5.1.0", "5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.4.4"}
	// vague are the codes that tell nothing of the address or the mail.
	vague = expression(`^$|^5\.([035]\.|\d+\.0$)`)
	// unknownHost is how Sendmail, Postfix and qmail name a host that DNS does not know.
	unknownHost = expression(`(?i)(?:name server: |service error for name=|any host named |unable to look up host )['"]?([a-z0-9.-]*[a-z0-9])|` +
		`([a-z0-9-]+\.[a-z0-9.-]*[a-z0-9]): host not found`)
	// afterData tells that the address was accepted, and the mail refused when its content
	// was there. Whatever the server says then, the address exists.
	afterData = words(`end of data`, `in reply to .{0,10}DATA`, `SMTP command DATA`, `>>> DATA\s+<<< 55[0-3]`)
	// reply is an answer of an SMTP server.
	reply = expression(`\b[45]\d\d[ -]`)
	// code is one of RFC 3463, and no part of an IP address or a version.
	code = expression(`(?:^|[^.\d])([245]\.[0-7]\.\d{1,3})(?:\.?[^.\d]|\.?$)`)
)

// filteredByReader is KDDI's word for mails that their reader's own filter refuses:
// https://github.com/sisimai/p5-sisimai/blob/5-stable/lib/Sisimai/Rhost/KDDI.pm
const filteredByReader = `(\b550:?|:) : user unknown`

// HasAddress tells whether a server's words for a refusal show that it has the address, whatever
// they say of it: it took that, and refused the mail when its content was there, or its reader did.
func HasAddress(words string) bool {
	return ofReader().MatchString(words) || afterData().MatchString(words) && !slices.Contains(hardCodes, codeIn(words))
}

// codeIn returns the first code of RFC 3463 in a text; empty if there is none.
func codeIn(text string) string {
	if found := code().FindStringSubmatch(text); found != nil {
		return found[1]
	}
	return ""
}

// namesOtherHost tells whether a host that is not known is none of the address's domain:
// the way out of the operator's own server, or its name server, is at fault.
func namesOtherHost(said, address string) bool {
	found := unknownHost().FindStringSubmatch(said)
	domain := strings.ToLower(address[strings.LastIndexByte(address, '@')+1:])
	return found != nil && domain != "" && !strings.HasSuffix("."+strings.ToLower(found[1]+found[2]), "."+domain)
}

// maxDiagnostic bounds the words of a server that are kept, in bytes.
const maxDiagnostic = 500

// judge decides of each failure whether it is one of the address, and completes what the
// report does not say in fields by what it says in words.
func (c *content) judge(results []Result) {
	for i := range results {
		r := &results[i]
		near, far := c.about(r.Address, results)
		sources := []string{r.Diagnostic, near, far}
		if len(results) == 1 {
			sources = append(sources, c.text)
		}
		for j, said := range sources {
			said = strings.Join(strings.Fields(said), " ")
			sources[j] = said
			if r.Diagnostic == "" && reply().MatchString(said) {
				r.Diagnostic = strings.TrimLeft(said[:min(len(said), maxDiagnostic)], `>"'):;,. `)
			}
			if found := codeIn(said); found != "" && (r.Status == "" || strings.HasSuffix(r.Status, ".0.0")) {
				r.Status = found
			}
		}
		r.Hard = r.Outcome == Failed && r.Address+r.Original != "" && isHard(r.Status, r.Address, sources)
	}
}

// isHard looks for words that decide in what the server said, then at the code, and then
// at what else is said, from the nearest on.
func isHard(status, address string, sources []string) bool {
	if softCodes().MatchString(status) || slices.ContainsFunc(sources, func(said string) bool { return namesOtherHost(said, address) }) {
		return false
	}
	isCode := slices.Contains(hardCodes, status)
	for i, said := range sources {
		said = mail.WithoutHosts(addressPattern().ReplaceAllString(said, "<>")) // whose words mean nothing
		switch {
		case softWords().MatchString(said):
			return false
		case hardWords().MatchString(said):
			return isCode || !afterData().MatchString(strings.Join(sources, " "))
		case isCode && (i > 0 || said != ""):
			return true
		case i == 1 && !vague().MatchString(status):
			return false
		}
	}
	return false
}
