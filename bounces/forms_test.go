package bounces

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
)

const (
	system   = "From: MAILER-DAEMON@mx.example\nSubject: failure notice\n"
	person   = "From: Bob <bob@example.net>\nSubject: Re: hello\n"
	status   = system + "Content-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example\n\n"
	withText = system + "Content-Type: multipart/report; boundary=x\n\n--x\nContent-Type: text/plain\n\n<ada@example.org>: no such user\n--x\n" +
		"Content-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example\nFIELDS\n--x--\n"
	failedOnes = status + "Final-Recipient: rfc822; ada@example.org\nAction: failed\n"
)

// hard and soft are failures that say something of an address, and those that do not.
func hard(address string) string { return address + " hard" }
func soft(address string) string { return address + " soft" }

// outcomes are the results of a report in a few words.
func outcomes(raw string) (all []string) {
	report := Parse([]byte(raw))
	if report == nil {
		return nil
	}
	for _, r := range report.Results {
		switch {
		case r.Outcome != Failed:
			all = append(all, fmt.Sprint(r.Address, " ", r.Outcome, strings.Repeat(" hard", map[bool]int{true: 1}[r.Hard])))
		case r.Hard:
			all = append(all, hard(r.Address))
		default:
			all = append(all, soft(r.Address))
		}
	}
	return all
}

// What is said counts for the address that it is said of.
func TestWhoIsMeant(t *testing.T) {
	const bob = "bob@example.org"
	encoded := strings.NewReplacer("<ada@example.org>: no such user", "sorry", "delivery-status\n\nReporting-MTA: dns; mx.example\nFIELDS",
		"delivery-status\nContent-Transfer-Encoding: base64\n\n"+base64.StdEncoding.EncodeToString([]byte("Final-Recipient: rfc822; ada@example.org\nStatus: 5.1.1\n"))).Replace(withText)
	for name, c := range map[string]struct {
		raw    string
		wanted []string
	}{
		"one, above it":           {system + "\nThere is no such user:\n\n<ada@example.org>\n", []string{hard(ada)}},
		"two, above them":         {system + "\nThere is no such user:\n\n<ada@example.org>\n\n<bob@example.org>\n", []string{soft(ada), soft(bob)}},
		"below each":              {system + "\n<ada@example.org>: no such user\n<bob@example.org>: mailbox full\n", []string{hard(ada), soft(bob)}},
		"the other way":           {system + "\n<ada@example.org>: mailbox full\n<bob@example.org>: no such user\n", []string{soft(ada), hard(bob)}},
		"further below":           {system + "\n<ada@example.org>:\n\nno such user\n\n<bob@example.org>:\n\nmailbox full\n", []string{hard(ada), soft(bob)}},
		"two groups of fields":    {failedOnes + "Status: 5.1.1\n\nFinal-Recipient: rfc822; bob@example.org\nAction: failed\nStatus: 5.2.2\n", []string{hard(ada), soft(bob)}},
		"late and given up":       {failedOnes + "Status: 5.1.1\n\nFinal-Recipient: rfc822; bob@example.org\nAction: delayed\n", []string{hard(ada), bob + " 1"}},
		"tried in vain for days":  {failedOnes + "Status: 4.4.1\nDiagnostic-Code: smtp; 450 4.4.1 no such user\n", []string{soft(ada)}},
		"nobody in the fields":    {strings.Replace(withText, "FIELDS", "\nAction: failed\nStatus: 5.1.1\n", 1), []string{hard(ada)}},
		"no fields but the first": {strings.Replace(withText, "FIELDS", "", 1), []string{hard(ada)}},
		"no words of a failure":   {"From: MAILER-DAEMON@mx.example\nSubject: hello\n\n<ada@example.org>: welcome\n", nil},
		"no boundary":             {system + "Content-Type: multipart/report\n\n<ada@example.org>: no such user\n", []string{hard(ada)}},
		"nothing":                 {"", nil},
		"no header":               {"\n\nhello\n", nil},
		"late, nobody there":      {failedOnes[:len(failedOnes)-len("failed\n")] + "delayed\nStatus: 4.1.1\nDiagnostic-Code: smtp; 450 4.1.1 no such user\n", []string{ada + " 1"}},
		"late and unknown":        {failedOnes[:len(failedOnes)-len("failed\n")] + "delayed\nDiagnostic-Code: smtp; no such user\n", []string{ada + " 1"}},
		"no action":               {status + "Final-Recipient: rfc822; ada@example.org\nStatus: 5.1.1\n", []string{hard(ada)}},
		"after the data":          {failedOnes + "Status: 5.0.0\nDiagnostic-Code: smtp; 550 user unknown (in reply to end of DATA command)\n", []string{soft(ada)}},
		"the same and a code":     {failedOnes + "Status: 5.1.1\nDiagnostic-Code: smtp; 550 5.1.1 user unknown (in reply to end of DATA command)\n", []string{hard(ada)}},
		"the server's word goes first": {strings.NewReplacer("no such user", "the mailbox is full", "FIELDS",
			"\nFinal-Recipient: rfc822; ada@example.org\nAction: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; 550 5.1.1 sorry\n").Replace(withText), []string{hard(ada)}},
		"named twice, with another": {system + "\n<ada@example.org>: host mx.example.org said: 550 <ada@example.org>: no such user\n\n<bob@example.org>: mailbox full\n", []string{hard(ada), soft(bob)}},
		"two of nobody":             {strings.NewReplacer("<ada@example.org>: ", "", "FIELDS", "\nAction: failed\n\nAction: failed\n").Replace(withText), []string{soft(""), soft("")}},
		"who sent it is named too":  {system + "To: no-reply@acme.example\n\n<no-reply@acme.example>\nwrote to\n<ada@example.org>: no such user\n", []string{hard(ada)}},
		"late, and then given up":   {system + "\nIt was delayed for a day and is now returned to sender.\n\n<ada@example.org>: the mailbox is full\n", []string{soft(ada)}},
		"late":                      {system + "\nIt was delayed for a day.\n\n<ada@example.org>: the mailbox is full\n", []string{ada + " 1"}},
		"named in the header":       {person + "X-Failed-Recipients: ada@example.org\n\nit failed, no such user\n", []string{hard(ada)}},
		"fields in the text":        {person + "\nFinal-Recipient: rfc822; ada@example.org\nAction: failed\nStatus: 5.1.1\n", []string{hard(ada)}},
		"fields in both":            {strings.NewReplacer("<ada@example.org>: ", "Final-Recipient: bob@example.org\nAction: failed\nReason: ", "FIELDS", "\nFinal-Recipient: rfc822; ada@example.org\nAction: failed\n").Replace(withText), []string{hard(ada)}},
		"fields of a person":        {person + "\n<ada@example.org> failed, so:\n\nAction: failed\nStatus: 5.1.1\n", nil},
		"no fields, of a person":    {strings.NewReplacer(system, person, "no such user", "it failed", "FIELDS", "").Replace(withText), nil},
		"action of a person's":      {strings.NewReplacer(system, person, "FIELDS", "\nAction: failed\nStatus: 5.1.1\n").Replace(withText), []string{hard(ada)}},
		"no such boundary":          {strings.ReplaceAll(encoded, "--x", "--yyyyyy"), []string{hard(ada)}},
		"boundary not told":         {strings.ReplaceAll(strings.Replace(encoded, "; boundary=x", "", 1), "--x", "--yyyyyy"), []string{hard(ada)}},
		"named again":               {system + "\n<ada@example.org>: no such user\n\n<ada@example.org>: no such user\n", []string{hard(ada)}},
		"words of a complaint":      {"From: ada@example.org\nSubject: Complaint about message from you\n\nWhy do you write?\n", nil},
		"an empty complaint": {strings.Replace(strings.Replace(withText, "FIELDS", "\nFinal-Recipient: rfc822; ada@example.org\nAction: failed\n", 1),
			"--x--", "--x\nContent-Type: message/feedback-report\n\n\n--x--", 1), []string{hard(ada)}},
		"a code alone":                {failedOnes + "Status: 5.1.1\n", []string{hard(ada)}},
		"a code, and vague":           {failedOnes + "Status: 5.1.1\nDiagnostic-Code: smtp; 550 5.1.1 sorry\n", []string{hard(ada)}},
		"a code, and soft words":      {failedOnes + "Status: 5.1.1\nDiagnostic-Code: smtp; 550 5.1.1 mailbox full\n", []string{soft(ada)}},
		"a code of the sender's":      {failedOnes + "Status: 5.1.8\nDiagnostic-Code: smtp; 553 5.1.8 <no-reply@acme.example>: domain does not exist\n", []string{soft(ada)}},
		"another":                     {failedOnes + "Status: 5.1.7\nDiagnostic-Code: smtp; 550 5.1.7 <no-reply@acme.example>: invalid address\n", []string{soft(ada)}},
		"a code of the machine's":     {failedOnes + "Status: 5.7.25\nDiagnostic-Code: smtp; 550 5.7.25 host not found\n", []string{soft(ada)}},
		"a code of a policy":          {failedOnes + "Status: 5.7.509\nDiagnostic-Code: smtp; 550 5.7.509 Access denied, domain acme.example does not exist\n", []string{soft(ada)}},
		"our domain":                  {failedOnes + "Status: 5.7.1\nDiagnostic-Code: smtp; 550 5.7.1 your domain does not exist\n", []string{soft(ada)}},
		"our address":                 {failedOnes + "Status: 5.7.1\nDiagnostic-Code: smtp; 550 5.7.1 Your IP is not listed in our allow list\n", []string{soft(ada)}},
		"our machine":                 {failedOnes + "Status: 5.7.1\nDiagnostic-Code: smtp; 550 5.7.1 Client host not found [192.0.2.7]\n", []string{soft(ada)}},
		"our login":                   {failedOnes + "Status: 5.7.1\nDiagnostic-Code: smtp; 550 5.7.1 the account you send with does not exist\n", []string{soft(ada)}},
		"a group":                     {failedOnes + "Status: 5.7.1\nDiagnostic-Code: smtp; 550 5.7.1 This group is not accepting messages from senders outside\n", []string{soft(ada)}},
		"a policy's code, and nobody": {failedOnes + "Status: 5.7.1\nDiagnostic-Code: smtp; 550 5.7.1 Recipient address rejected: user unknown\n", []string{hard(ada)}},
		"back to the sender":          {failedOnes + "Status: 5.1.1\nDiagnostic-Code: smtp; 550 5.1.1 No such user; your message is returned to the sender\n", []string{hard(ada)}},
		// Yahoo's 4.79.181.168 and 10.2.9.112 of a Communigate, in real reports.
		"an IP address is no code":   {system + "\n<ada@example.org>: host mx.example.org [4.79.181.168]: 550 no such user\n", []string{hard(ada)}},
		"nor is this one":            {failedOnes + "Status: 5.0.0\nDiagnostic-Code: smtp; host mx.example.org[5.1.1.7] said: 554 sorry\n", []string{soft(ada)}},
		"nor the end of one":         {failedOnes + "Status: 5.0.0\nDiagnostic-Code: smtp; host 10.5.1.1 says: 554 sorry\n", []string{soft(ada)}},
		"a code at the end":          {failedOnes + "Status: 5.0.0\nDiagnostic-Code: smtp; 554 sorry, 5.1.1.\n", []string{hard(ada)}},
		"a code after a sign":        {failedOnes + "Diagnostic-Code: smtp; 554 sorry (#5.1.1)\n", []string{hard(ada)}},
		"not yet":                    {"From: MAILER-DAEMON@example.net\nSubject: Warning: message has not yet been delivered\n\nYour message to:\n ada@example.org\n\nhas not yet been delivered because the server did not respond.\n", []string{ada + " 1"}},
		"an answer of a postmaster":  {"From: postmaster@customer.example\nSubject: Re: Your sign-in code\nIn-Reply-To: <1@acme.example>\n\nYour page says the user does not exist. Can you help?\n", nil},
		"an answer about Bounce":     {"From: Ada <ada@example.org>\nSubject: RE: [2] Your sign-in code for Bounce\n\nThe user does not exist, it says.\n", nil},
		"an answer in German":        {"From: \"Sysadmin Bob\" <bob@example.org>\nSubject: AW: Ihr Anmeldecode\n\nBenutzer unbekannt\n", nil},
		"an answer in Chinese":       {"From: Postmaster <bob@example.org>\nSubject: =?utf-8?B?5Zue5aSN77yaIGNvZGU=?=\n\nno such user\n", nil},
		"a domain that is called so": {"From: Ada <ada@mail-systems.example>\nSubject: the code\n\nThe user does not exist, it says.\n", nil},
		"a server that answers":      {"From: post_master@example.net\nSubject: Re:Your code\n\nYour message could not be delivered:\n\n<ada@example.org>: 550 no such user\n", []string{hard(ada)}},
		"nobody is named":            {"From: MAILER-DAEMON@example.net\nSubject: Undeliverable\n\nNo such user\n", []string{soft("")}},
		// Postfix with smtp_host_lookup = native: its own next hop, and the reader's domain.
		"our next hop":             {failedOnes + "Status: 5.4.4\nDiagnostic-Code: X-Postfix; unable to look up host smtp.acme.exmaple: Name or service not known\n", []string{soft(ada)}},
		"another next hop":         {failedOnes + "Status: 5.4.4\nDiagnostic-Code: X-Postfix; smtp.acme.exmaple: host not found\n", []string{soft(ada)}},
		"the reader's server":      {failedOnes + "Status: 5.4.4\nDiagnostic-Code: X-Postfix; unable to look up host mx.example.org: Name or service not known\n", []string{hard(ada)}},
		"a code, soft in the text": {strings.NewReplacer("no such user", "the mailbox is full", "FIELDS", "\nFinal-Recipient: rfc822; ada@example.org\nAction: failed\nStatus: 5.1.1\n").Replace(withText), []string{soft(ada)}},
	} {
		if got := outcomes(c.raw); !slices.Equal(got, c.wanted) {
			t.Errorf("%s: %q, want %q", name, got, c.wanted)
		}
	}
}

// A mail that is copied into the text leads to itself, and no word of it is the server's.
func TestCopyInTheText(t *testing.T) {
	const said = system + "\nIt could not be delivered.\n\n<ada@example.org>: 550 no such user\n\n"
	for name, c := range map[string]struct {
		raw  string
		refs []string
	}{
		"two lines":        {said + "Message-ID: <1@acme.example>\nTo: <bob@example.org>\n\nThe mailbox is full\n", []string{"1@acme.example"}},
		"a line goes on":   {said + "X-Entity-Ref-ID:\n 1\nMessage-ID: <1@acme.example>\nTo: <bob@example.org>\n\nThe mailbox is full\n", []string{"1", "1@acme.example"}},
		"with a tab":       {said + "X-Entity-Ref-ID:\n\t1\nMessage-ID: <1@acme.example>\nTo: <bob@example.org>\n\nThe mailbox is full\n", []string{"1", "1@acme.example"}},
		"two copies":       {strings.Replace(said, "\n\n", "\nContent-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: message/rfc822\n\nMessage-ID: <1@acme.example>\nTo: <bob@example.org>\n--x\nContent-Type: text/plain\n\n", 1) + "Message-ID: <2@acme.example>\nTo: <bob@example.org>\n--x--\n", []string{"1@acme.example"}},
		"one line":         {system + "\nIt could not be delivered. It is\n\nMessage-ID: <1@acme.example>\n\nand was to\n\n<ada@example.org>: 550 no such user\n", nil},
		"lines between":    {system + "\nRecipient: ada@example.org\nwas not found, so no such user, and it was\nFrom: no-reply@acme.example\n\nsorry\n", nil},
		"a blank between":  {system + "\nRecipient: ada@example.org no such user\n \nFrom: no-reply@acme.example\n\nsorry\n", nil},
		"fields of no one": {system + "\nReason: no such user\nRecipient: ada@example.org\n", nil},
	} {
		report := Parse([]byte(c.raw))
		if report == nil || !slices.Equal(report.Refs, c.refs) || !slices.Equal(outcomes(c.raw), []string{hard(ada)}) {
			t.Errorf("%s: %q, %+v", name, outcomes(c.raw), report)
		}
	}
}

// Headers that were damaged on the way are read as far as they go.
func TestDamagedHeaders(t *testing.T) {
	const wanted = "550 no such user at all"
	for name, raw := range map[string]string{
		"indented beginning": "  (no field)\n" + failedOnes + "Diagnostic-Code: smtp; " + wanted + "\n",
		"line with a tab":    failedOnes + "Diagnostic-Code: smtp; 550 no such user\n\tat all\n",
		"line with blanks":   failedOnes + "Diagnostic-Code: smtp; 550 no such user\n   at all\n",
		"not indented":       failedOnes + "Diagnostic-Code: smtp;\n" + wanted + "\n",
		"line in between":    failedOnes + "Diagnostic-Code: smtp; " + wanted + "\nsays the server\nRemote-MTA: dns; mx.example\n",
		"blank beginning":    "\n \n" + failedOnes + "Diagnostic-Code: smtp; " + wanted + "\n",
		"no type":            strings.Replace(system, "\n", "\nContent-Type: ; charset=utf-8\n", 1) + "\n<ada@example.org>: " + wanted + "\n",
	} {
		report := Parse([]byte(raw))
		if report == nil || len(report.Results) != 1 || report.Results[0].Address != ada || report.Results[0].Diagnostic != wanted {
			t.Errorf("%s: %+v", name, report)
		}
	}
}

// What fields do not say is taken from the words, and nothing that they do.
func TestCodesAndWords(t *testing.T) {
	for name, c := range map[string]struct{ raw, status, diagnostic string }{
		"both":               {failedOnes + "Status: 5.2.2\nDiagnostic-Code: smtp; 552 5.1.1 full\n", "5.2.2", "552 5.1.1 full"},
		"a vague code":       {failedOnes + "Status: 5.0.0\nDiagnostic-Code: smtp; 552 5.1.1 full\n", "5.1.1", "552 5.1.1 full"},
		"no more than that":  {failedOnes + "Status: 5.0.0\nDiagnostic-Code: smtp; 552 full\n", "5.0.0", "552 full"},
		"no code":            {failedOnes + "Diagnostic-Code: smtp; 552 5.1.1 full\n", "5.1.1", "552 5.1.1 full"},
		"neither":            {failedOnes, "", ""},
		"no type":            {failedOnes + "Diagnostic-Code: unknown\n", "", "unknown"},
		"a semicolon":        {failedOnes + "Diagnostic-Code: 550 no; such user\n", "", "550 no; such user"},
		"words":              {system + "\n<ada@example.org>: 550-5.1.1 no such user\n", "5.1.1", "550-5.1.1 no such user"},
		"words of no server": {system + "\n<ada@example.org>: no such user\n", "", ""},
		"fields, then words": {strings.NewReplacer("no such user", "550 5.1.1 no such user", "FIELDS", "\nFinal-Recipient: rfc822; ada@example.org\nAction: failed\nDiagnostic-Code: smtp; 550 no\n").Replace(withText), "5.1.1", "550 no"},
	} {
		report := Parse([]byte(c.raw))
		if report == nil || len(report.Results) != 1 || report.Results[0].Status != c.status || report.Results[0].Diagnostic != c.diagnostic {
			t.Errorf("%s: %+v", name, report)
		}
	}
}

// Who writes such a mail shows in the subject, however it is encoded.
func TestSubjects(t *testing.T) {
	for subject, want := range map[string]bool{
		"Undeliverable: Your code":                         true,
		"=?utf-8?b?VW5kZWxpdmVyYWJsZTogWW91ciBjb2Rl?=":     true,
		"=?x-unknown?q?Undeliverable:_Your_code?=":         true,
		"Re: Your code":                                    false,
		"=?utf-8?b?QXV0b21hdGljIHJlcGx5OiBmYWlsZWQ=?=":     false,
		"=?utf-8?b?T3V0IG9mIHRoZSBvZmZpY2UsIGJvdW5jZQ==?=": false,
	} {
		raw := "From: somebody@example.org\nSubject: " + subject + "\n\n<ada@example.org>: no such user, it failed\n"
		if report := Parse([]byte(raw)); (report != nil) != want {
			t.Errorf("%q: %+v", subject, report)
		}
	}
	// That a mail was read is no failure, whoever says so.
	receipt := strings.NewReplacer("From: Ada <ada@example.org>", "From: Postmaster <postmaster@example.org>",
		"was displayed", "was displayed without any problem").Replace(string(sample(t, "no-receipt")))
	if report := Parse([]byte(receipt)); report != nil {
		t.Errorf("%+v", report)
	}
}

// A mail is taken apart as deep as is told, and into as many parts.
func TestHowMuchIsTakenApart(t *testing.T) {
	const part = "Content-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example\n\nFinal-Recipient: rfc822; ada@example.org\nAction: failed\n"
	nested := func(depth int) string {
		raw := part
		for level := range depth {
			raw = fmt.Sprintf("Content-Type: multipart/mixed; boundary=x%[1]d\n\n--x%[1]d\n%[2]s\n--x%[1]d--\n", level, raw)
		}
		return "From: Ada <ada@example.org>\n" + raw
	}
	many := func(parts int) string {
		return "From: Ada <ada@example.org>\nContent-Type: multipart/mixed; boundary=x\n\n" + strings.Repeat("--x\nContent-Type: text/plain\n\nhello\n", parts-2) + "--x\n" + part + "--x--\n"
	}
	for name, c := range map[string]struct {
		raw  string
		read bool
	}{
		"as deep":     {nested(maxDepth), true},
		"deeper":      {nested(maxDepth + 1), false},
		"as many":     {many(maxParts), true},
		"one more":    {many(maxParts + 1), false},
		"many in one": {strings.Replace(nested(1), "--x0\n", "--x0\nContent-Type: text/plain\n\nhello\n--x0\n", 1), true},
	} {
		if report := Parse([]byte(c.raw)); (report != nil) != c.read {
			t.Errorf("%s: %+v", name, report)
		}
	}
}

// A mailbox may have had many mails, and may have as many as anybody would leave in one.
func TestHowManyMailsAreListed(t *testing.T) {
	for ranges, want := range map[string]bool{"4000000000:4000000001": true, "1:200000": true, "1:100000 4000000001:4000100000": true,
		"1:200001": false, "1:100000 4000000001:4000100001": false} {
		var set imap.UIDSet
		for text := range strings.FieldsSeq(ranges) {
			var from, to imap.UID
			if _, err := fmt.Sscanf(text, "%d:%d", &from, &to); err != nil {
				t.Fatal(err)
			}
			set.AddRange(from, to)
		}
		if all, err := uidsOf(&imap.SearchData{All: set}); (err == nil) != want || want && len(all) == 0 {
			t.Errorf("%s: %d, %v", ranges, len(all), err)
		}
	}
}
