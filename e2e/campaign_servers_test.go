package e2e_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/smtp"
	"net/textproto"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// The campaign proves nothing if its own servers and judges are wrong.

const (
	someNumber = 1234
	someRef    = "abcdefghijklmnopqrstuvwxyz"
)

// always is a plan in which every number meets the same fault.
func always(f fault) faultPlan { return newFaultPlan(1, "test", 100, []fault{f}) }

// givingUp returns a context that ends when the fault has happened, if it is one
// that nobody survives in another way.
func givingUp(t *testing.T, l *ledger, server string, f fault, endless ...manner) context.Context {
	ctx, giveUp := context.WithTimeout(t.Context(), patience)
	var watching sync.WaitGroup
	t.Cleanup(func() {
		giveUp()
		watching.Wait()
	})
	if slices.Contains(endless, f.how) {
		watching.Go(func() {
			for ctx.Err() == nil && l.met(metFault{server, f.String()}) == 0 {
				time.Sleep(time.Millisecond)
			}
			giveUp()
		})
	}
	return ctx
}

// sendBySMTP sends one mail as a client that knows nothing of faults.
func sendBySMTP(ctx context.Context, s *smtpFaultServer) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", s.listener.Addr().String())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	raw := conn
	defer context.AfterFunc(ctx, func() { _ = raw.Close() })()
	trusted := &tls.Config{ServerName: "127.0.0.1"}
	if s.certificates != nil {
		trusted.RootCAs = s.certificates.roots()
	}
	if s.implicitTLS {
		conn = tls.Client(conn, trusted)
	}
	client, err := smtp.NewClient(conn, "127.0.0.1")
	if err != nil {
		return err
	}
	if s.startTLS {
		if err := client.StartTLS(trusted); err != nil {
			return err
		}
	}
	if s.login {
		if err := client.Auth(smtp.PlainAuth("", "user", "password", "127.0.0.1")); err != nil {
			return err
		}
	}
	if err := client.Mail("no-reply@acme.example"); err != nil {
		return err
	}
	if err := client.Rcpt(recipient(someNumber, "r0.example")); err != nil {
		return err
	}
	w, err := client.Data()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "X-Entity-Ref-ID: %s\r\n\r\nyour code is %s\r\n%s", someRef, code(someNumber), strings.Repeat("and more\r\n", 100))
	if err != nil {
		return err
	}
	return w.Close()
}

func TestFaultServersOfSMTP(t *testing.T) {
	certificates := newCertificates(t)
	kinds := []*smtpFaultServer{
		{name: "starttls", startTLS: true, login: true, pipelining: true, certificates: certificates},
		{name: "tls", implicitTLS: true, certificates: certificates},
		{name: "plain"},
	}
	for _, kind := range kinds {
		faults := join(connectionFaults(kind), transactionFaults, mailFaults)
		for _, f := range append(faults, fault{}) {
			t.Run(kind.name+" "+f.String(), func(t *testing.T) {
				if f.at == atIdle {
					t.Skip("this client is never idle; the campaign tells whether it happens")
				}
				s := &smtpFaultServer{name: kind.name, startTLS: kind.startTLS, implicitTLS: kind.implicitTLS, login: kind.login,
					pipelining: kind.pipelining, certificates: certificates, ledger: newLedger()}
				switch f.at {
				case "":
				case atMAIL:
					s.transactions = always(f)
				case atRCPT, atDATA, atBody, atDot:
					s.mails = always(f)
				default:
					s.connections = always(f)
				}
				s.start(t)
				err := sendBySMTP(givingUp(t, s.ledger, s.name, f, stalls, floods), s)

				well := f.at == "" || f.how == dawdles || f.how == drips || f.how == confirms
				var said *textproto.Error
				switch {
				case well && err != nil:
					t.Errorf("got %v from a server that takes the mail", err)
				case !well && err == nil:
					t.Error("the mail was confirmed")
				case f.at == atEHLO: // this client tries HELO then
				case f.how == answers && (!errors.As(err, &said) || !strings.HasPrefix(f.reply, fmt.Sprint(said.Code))):
					t.Errorf("got %v, want %q", err, f.reply)
				}
				copies := s.ledger.copies(someNumber)
				if kept := well || f.kept; kept != (len(copies) == 1) {
					t.Fatalf("%d mails kept", len(copies))
				}
				for _, mail := range copies {
					if mail.ref != someRef || !mail.intact || mail.confirmed != well {
						t.Errorf("kept %+v", mail)
					}
				}
				if f.at != "" {
					until(t, "the fault is noted", func() bool { return s.ledger.met(metFault{kind.name, f.String()}) > 0 })
				}
			})
		}
	}
}

func TestFaultServersOfHTTP(t *testing.T) {
	for name, d := range map[string]dialect{"sendgrid": sendGridDialect, "mailgun": mailgunDialect, "ses": sesDialect} {
		for _, f := range append(httpFaults(d), fault{}) {
			t.Run(name+" "+f.String(), func(t *testing.T) {
				s := &httpFaultServer{name: name, dialect: d, ledger: newLedger()}
				if f.at != "" {
					s.mails = always(f)
				}
				s.start(t)
				client := &http.Client{
					CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
				}
				defer client.CloseIdleConnections()
				body := fmt.Sprintf(`{"to":%q,"headers":{"X-Entity-Ref-ID":%q},"text":"your code is %s"}`,
					recipient(someNumber, "r0.example"), someRef, code(someNumber))
				request, err := http.NewRequestWithContext(givingUp(t, s.ledger, name, f, stalls), http.MethodPost,
					s.endpoint()+d.path, strings.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				answer, err := client.Do(request)
				status := ""
				if err == nil {
					status = fmt.Sprint(answer.StatusCode)
					_ = answer.Body.Close()
				}

				well := f.at == "" || f.how == dawdles || f.how == drips
				want := ""
				switch {
				case f.how == answers:
					want = f.reply[:3]
				case well || f.how == floods:
					want = d.accept[:3]
				}
				if status != want {
					t.Errorf("status %q, want %q: %v", status, want, err)
				}
				copies := s.ledger.copies(someNumber)
				if kept := well || f.kept; kept != (len(copies) == 1) {
					t.Fatalf("%d mails kept", len(copies))
				}
				for _, mail := range copies {
					if mail.ref != someRef || !mail.intact || mail.confirmed != well {
						t.Errorf("kept %+v", mail)
					}
				}
			})
		}
	}
}

func TestTheSeedAloneDecidesWhoMeetsWhichFault(t *testing.T) {
	one, same, other := newFaultPlan(7, "plain", 25, mailFaults), newFaultPlan(7, "plain", 25, mailFaults), newFaultPlan(8, "plain", 25, mailFaults)
	met, differs, seen := 0, 0, make(map[fault]bool)
	const numbers = 10_000
	for number := range numbers {
		f, faulty := one.faultOf(number)
		if g, also := same.faultOf(number); f != g || faulty != also {
			t.Fatalf("number %d meets %v and %v", number, f, g)
		}
		if g, _ := other.faultOf(number); f != g {
			differs++
		}
		if faulty {
			met++
			seen[f] = true
		}
	}
	if met < numbers*23/100 || met > numbers*27/100 || len(seen) != len(mailFaults) || differs < numbers/4 {
		t.Errorf("%d of %d numbers meet %d of %d faults; with another seed %d differ", met, numbers, len(seen), len(mailFaults), differs)
	}
}

func TestTheJudgeOfACall(t *testing.T) {
	good := call{number: 1, status: 200, id: someRef, provider: "plain", took: time.Second, limit: 2 * time.Second}
	kept := keptMail{server: "plain", ref: someRef, intact: true}
	tests := []struct {
		name   string
		change func(*call, *keptMail)
		rule   string // none: all is well
	}{
		{"accepted and kept", func(*call, *keptMail) {}, ""},
		{"kept by another server", func(_ *call, m *keptMail) { m.server = "tls" }, everyAcceptanceIsKept},
		{"kept for another webhook", func(_ *call, m *keptMail) { m.ref = "other" }, everyAcceptanceIsKept},
		{"kept without its code", func(_ *call, m *keptMail) { m.intact = false }, everyAcceptanceIsKept},
		{"refused, with an answer", func(c *call, _ *keptMail) { c.status, c.word = 503, "provider_unavailable" }, ""},
		{"no answer", func(c *call, _ *keptMail) { c.status = 0 }, everyRequestAnswered},
		{"late", func(c *call, _ *keptMail) { c.took = 2*time.Second + 1 }, nothingTakesLonger},
		{"refused late", func(c *call, _ *keptMail) { c.status, c.took = 504, 3*time.Second }, nothingTakesLonger},
		{"late, but for the machine", func(c *call, _ *keptMail) { c.took, c.taken = 3*time.Second, time.Second }, ""},
		{"late with the machine and without", func(c *call, _ *keptMail) { c.took, c.taken = 4*time.Second, time.Second }, nothingTakesLonger},
		{"the proxy answers", func(c *call, _ *keptMail) { c.status, c.id = 503, "" }, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, mail := good, kept
			test.change(&c, &mail)
			check(t, judge(c, []keptMail{mail}), test.rule)
		})
	}
	t.Run("accepted and not kept", func(t *testing.T) { check(t, judge(good, nil), everyAcceptanceIsKept) })
}

func TestTheJudgeOfDuplicates(t *testing.T) {
	mail := func(confirmed bool) keptMail { return keptMail{ref: someRef, confirmed: confirmed} }
	attempts := func(kinds ...string) map[string][]attempt {
		var list []attempt
		for _, kind := range kinds {
			list = append(list, attempt{Kind: kind})
		}
		return map[string][]attempt{someRef: list}
	}
	tests := []struct {
		name   string
		copies []keptMail
		log    map[string][]attempt
		rule   string
	}{
		{"none", nil, nil, ""},
		{"one", []keptMail{mail(true)}, attempts("accepted"), ""},
		{"two after uncertain", []keptMail{mail(false), mail(true)}, attempts("uncertain", "accepted"), ""},
		{"two after a late confirmation", []keptMail{mail(true), mail(true)}, attempts("uncertain", "accepted"), ""},
		{"two after temporary", []keptMail{mail(false), mail(true)}, attempts("temporary", "accepted"), duplicatesExplained},
		{"three after one uncertain", []keptMail{mail(false), mail(false), mail(true)}, attempts("uncertain", "temporary", "accepted"), duplicatesExplained},
		{"two, and the relay was killed", []keptMail{mail(false), mail(true)}, nil, ""},
		{"two confirmed, and the relay was killed", []keptMail{mail(true), mail(true)}, nil, duplicatesExplained},
		{"two of two relays", []keptMail{mail(false), {ref: "other", confirmed: true}}, attempts("uncertain"), duplicatesExplained},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { check(t, judgeDuplicates(1, test.copies, test.log), test.rule) })
	}
}

func check(t *testing.T, broken []violation, rule string) {
	t.Helper()
	switch {
	case rule == "" && len(broken) > 0:
		t.Errorf("got %+v, want none", broken)
	case rule != "" && (len(broken) != 1 || broken[0].rule != rule):
		t.Errorf("got %+v, want %q", broken, rule)
	}
}

// The configuration that operators read is the one that the campaign runs.
func TestTheDocumentShowsTheTestedConfigurationOfNginx(t *testing.T) {
	block, err := os.ReadFile("../deploy/nginx.conf")
	if err != nil {
		t.Fatal(err)
	}
	document, err := os.ReadFile("../docs/reliability.md")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(document, append([]byte("```nginx\n"), append(block, "```\n"...)...)) {
		t.Error("docs/reliability.md does not hold deploy/nginx.conf as it is")
	}
	pages, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range append(pages, "../README.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		if page != "../docs/reliability.md" && bytes.Contains(text, []byte("```nginx")) {
			t.Errorf("%s has a configuration of nginx of its own", page)
		}
	}
	for _, promise := range promises {
		if !bytes.Contains(bytes.ToLower(document), []byte(strings.ToLower(promise))) {
			t.Errorf("docs/reliability.md does not say: %s", promise)
		}
	}
}
