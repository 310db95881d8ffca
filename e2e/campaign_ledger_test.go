package e2e_test

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"sync"
	"time"
)

var enhancedCode = regexp.MustCompile(` [245]\.\d\.\d+`)

// recipient writes the number of a webhook into its address, by which the fault
// servers know the mail again.
func recipient(number int, domain string) string {
	return fmt.Sprintf("%s%08d@%s", recipientMark, number, domain)
}

const recipientMark = "webhook-"

// numberIn finds the number of a webhook in what is sent for it.
func numberIn(text []byte) int {
	_, after, found := bytes.Cut(text, []byte(recipientMark))
	if !found || len(after) < 9 || after[8] != '@' {
		return nameless
	}
	number, err := strconv.Atoi(string(after[:8]))
	if err != nil {
		return nameless
	}
	return number
}

var refValue = regexp.MustCompile(`[0-9a-z]{26}`)

// refIn finds the X-Entity-Ref-ID in a mail, however it is encoded.
func refIn(text []byte) string {
	_, after, found := bytes.Cut(text, []byte("X-Entity-Ref-ID"))
	if !found {
		return ""
	}
	return string(refValue.Find(after[:min(len(after), 80)]))
}

// code is the verification code of a webhook.
func code(number int) string { return fmt.Sprintf("%08d", number^0x2a2a2a) }

// keptMail is a mail that a fault server took.
type keptMail struct {
	server string
	ref    string // X-Entity-Ref-ID
	at     time.Time
	// confirmed tells that the server said so, to the last byte.
	confirmed bool
	// intact tells that the code of the webhook is in it.
	intact bool
}

// ledger is what the fault servers know.
type ledger struct {
	mu     sync.Mutex
	kept   map[int][]*keptMail
	faults map[metFault]int
	mails  map[int][]metFault
}

// metFault is a fault that happened.
type metFault struct{ server, fault string }

func newLedger() *ledger {
	return &ledger{kept: make(map[int][]*keptMail), faults: make(map[metFault]int), mails: make(map[int][]metFault)}
}

// nameless is the number of a mail that is not known yet.
const nameless = -1

// meet notes that a fault happened, to a mail if it is known to which.
func (l *ledger) meet(server string, f fault, number int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	met := metFault{server, f.String()}
	l.faults[met]++
	if number != nameless {
		l.mails[number] = append(l.mails[number], met)
	}
}

// met tells how often a fault happened.
func (l *ledger) met(f metFault) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.faults[f]
}

// keep notes that a server has a mail. It is called before anybody is told.
func (l *ledger) keep(number int, mail keptMail) *keptMail {
	l.mu.Lock()
	defer l.mu.Unlock()
	mail.at = time.Now()
	l.kept[number] = append(l.kept[number], &mail)
	return &mail
}

func (l *ledger) confirm(mail *keptMail) {
	l.mu.Lock()
	defer l.mu.Unlock()
	mail.confirmed = true
}

// copies returns the mails of a webhook, oldest first.
func (l *ledger) copies(number int) []keptMail {
	l.mu.Lock()
	defer l.mu.Unlock()
	var copies []keptMail
	for _, mail := range l.kept[number] {
		copies = append(copies, *mail)
	}
	return copies
}

// call is one webhook as its sender saw it.
type call struct {
	number  int
	phase   string
	took    time.Duration
	opening time.Duration // a connection, if there was none; a part of what it took
	at      time.Time     // of the answer
	taken   time.Duration // by the machine, of what it took
	limit   time.Duration // the relay's deadline and half a second
	status  int           // zero: no answer over HTTP
	failure string        // why there was none
	// What the answer said.
	word, id, provider string
}

// outcome is the word for the report.
func (c call) outcome() string {
	switch {
	case c.status == 0:
		return "no answer"
	case c.status == 200:
		return "200"
	case c.id == "":
		return fmt.Sprintf("proxy's %d", c.status)
	}
	return c.word
}

// attempt is one try at one provider as the relay logged it.
type attempt struct {
	Provider, Kind, Stage, Code, Detail string
	MS                                  float64
}

// violation is a broken promise.
type violation struct {
	rule   string
	number int
	text   string
}

// The promises.
const (
	everyAcceptanceIsKept = "every 200 has its mail at a provider"
	everyRequestAnswered  = "every request gets an answer over HTTP"
	nothingTakesLonger    = "nothing takes longer than the deadline and half a second"
	duplicatesExplained   = "duplicates only after uncertain"
	everyAcceptanceHasRow = "every 200 has its row"
	everyRowHasItsMail    = "no row says accepted without its mail"
)

var promises = []string{everyAcceptanceIsKept, everyRequestAnswered, nothingTakesLonger, duplicatesExplained, everyAcceptanceHasRow, everyRowHasItsMail}

// judge holds one webhook against the promises, as soon as it is answered.
func judge(c call, copies []keptMail) []violation {
	var broken []violation
	breaks := func(rule, format string, values ...any) {
		broken = append(broken, violation{rule, c.number, fmt.Sprintf(format, values...) + " (" + c.phase + ")"})
	}
	if c.status == 0 {
		breaks(everyRequestAnswered, "%s after %v", c.failure, c.took)
	}
	if c.took-c.taken > c.limit {
		breaks(nothingTakesLonger, "%v, of which the machine took %v and opening the connection %v; %s", c.took, c.taken, c.opening, c.outcome())
	}
	if c.status == 200 {
		found := false
		for _, mail := range copies {
			found = found || mail.server == c.provider && mail.ref == c.id && mail.intact
		}
		if !found {
			breaks(everyAcceptanceIsKept, "%s is said to have %s; kept: %+v", c.provider, c.id, copies)
		}
	}
	return broken
}

// judgeDuplicates looks at a webhook whose mail is there more than once: every
// copy but the last must be one that the relay could not know of. Its log tells;
// where a relay was killed before it wrote the line, the servers do.
func judgeDuplicates(number int, copies []keptMail, log map[string][]attempt) []violation {
	if len(copies) < 2 {
		return nil
	}
	uncertain, unconfirmed := 0, 0
	for _, one := range log[copies[0].ref] {
		if one.Kind == "uncertain" {
			uncertain++
		}
	}
	same := true
	for _, mail := range copies {
		if !mail.confirmed {
			unconfirmed++
		}
		same = same && mail.ref == copies[0].ref
	}
	_, logged := log[copies[0].ref]
	explained := uncertain >= len(copies)-1 || !logged && unconfirmed >= len(copies)-1
	if same && explained {
		return nil
	}
	return []violation{{duplicatesExplained, number, fmt.Sprintf("%d copies: %+v; attempts: %+v", len(copies), copies, log[copies[0].ref])}}
}
