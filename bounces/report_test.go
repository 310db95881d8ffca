package bounces

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	id    = "0123456789abcdefghjkmnpqrs" // of the mail that the reports are about
	ada   = "ada@example.org"
	verp  = "bounces+" + id + "@acme.example"
	about = id + "@acme.example"
)

func sample(t testing.TB, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata/reports", name+".eml"))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// The forms that servers write, each in words of the test's own.
func TestReports(t *testing.T) {
	for name, wanted := range map[string]Result{
		"postfix-unknown":   {Address: ada, Hard: true, Status: "5.1.1", Diagnostic: "550 5.1.1 <ada@example.org>: Recipient address rejected: User unknown"},
		"postfix-delayed":   {Address: ada, Outcome: Delayed, Status: "4.4.1", Diagnostic: "connect to mx.example.org[192.0.2.9]:25: Connection timed out"},
		"postfix-forwarded": {Address: "ada.home@example.net", Original: ada, Status: "5.2.2", Diagnostic: "552 5.2.2 mailbox full"},
		"internationalized": {Address: "äda@example.org", Hard: true, Status: "5.1.1", Diagnostic: "550 no such user"},
		"exchange-online": {Address: ada, Hard: true, Status: "5.1.10",
			Diagnostic: "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient ada@example.org not found by SMTP address lookup"},
		"exchange-text":     {Address: ada, Hard: true},
		"gmail-text":        {Address: ada, Status: "5.2.2"},
		"qmail":             {Address: ada, Hard: true, Status: "5.1.1"},
		"exim":              {Address: ada, Hard: true},
		"exim-filtered":     {Address: ada},
		"exim-delayed":      {Address: ada, Outcome: Delayed},
		"sendmail":          {Address: "ada@example.invalid", Hard: true, Status: "5.1.2"},
		"own-boundary":      {Address: ada, Hard: true, Status: "5.1.1", Diagnostic: "550 5.1.1 <ada@example.org>: Recipient address rejected: User unknown"},
		"complaint":         {Address: ada, Outcome: Complained},
		"complaint-outlook": {Address: ada, Outcome: Complained},
		"delivered":         {Address: ada, Outcome: Delivered, Status: "2.1.5"},
	} {
		t.Run(name, func(t *testing.T) {
			report := Parse(sample(t, name))
			if report == nil || len(report.Results) != 1 {
				t.Fatalf("%+v", report)
			}
			got := report.Results[0]
			if wanted.Diagnostic == "" { // of the texts, it is what stands around the address
				got.Diagnostic = ""
			}
			if got != wanted {
				t.Errorf("got %+v\nnot %+v", got, wanted)
			}
			if at := time.Date(2026, 3, 2, 9, 0, 5, 0, time.UTC); !report.Time.Equal(at) {
				t.Errorf("at %v", report.Time)
			}
			if !strings.HasSuffix(report.ID, "@mx.other.example") {
				t.Errorf("id %q", report.ID)
			}
			if !slices.Contains(report.Refs, about) && !slices.Contains(report.SentTo, verp) {
				t.Errorf("nothing leads to the mail: %q, %q", report.Refs, report.SentTo)
			}
		})
	}
}

// A refusal of the sender says nothing of the address, though its words and its code are
// those for addresses.
func TestARefusalOfTheSenderIsNotHard(t *testing.T) {
	raw := sample(t, "internationalized")
	for _, reply := range []string{
		"550 5.1.1 mailbox unavailable: Sender address has null MX",
		"550 5.1.1 mailbox unavailable: Sender address is not allowed",
		"550 5.1.1 Verification failed for <no-reply@acme.example>: No Such User Here",
		"550 5.1.1 No Such User Here: Sender verify failed",
		"550 5.1.2 Relay not allowed.",
		"554 5.1.0 transaction failed: unknown sender address",
		// https://serverfault.com/questions/1042851: the sender's own name server did not answer.
		"550 5.1.2 Host unknown (Name server: hotmail-com.olc.protection.outlook.com.: host not found)",
		"550 5.1.2 Host unknown (Name server: 'smtp.acme.example': host not found)",
		"550 5.4.4 Host or domain name not found. Name service error for name=smtp.acme.example type=A: Host not found",
		"550 5.1.2 Sorry, I couldn't find any host named smarthost.acme.example.", // qmail with a mistyped route
		"550 5.1.1 <no-reply@acme.example> User unknown; callback failed",
		"550 Requested action not taken: mailbox unavailable invalid DNS MX or A/AAAA resource record",
		"550 5.1.1 Envelope from domain acme.example does not exist",
	} {
		report := Parse(bytes.ReplaceAll(raw, []byte("550 no such user"), []byte(reply)))
		if report == nil || report.Results[0].Hard || report.Results[0].Diagnostic != reply {
			t.Errorf("%s: %+v", reply, report)
		}
	}
}

// A domain that DNS does not know is the address's fault, also where it names its own host.
func TestAnUnknownDomainIsHard(t *testing.T) {
	raw := sample(t, "internationalized")
	for _, reply := range []string{
		"550 5.1.2 Host unknown (Name server: smtp24.example.org: no data known)",
		"550 5.4.4 Host or domain name not found. Name service error for name=example.org type=MX: Host not found",
		"550 5.1.2 Sorry, I couldn't find any host named example.org.",
	} {
		report := Parse(bytes.ReplaceAll(raw, []byte("550 no such user"), []byte(reply)))
		if report == nil || !report.Results[0].Hard {
			t.Errorf("%s: %+v", reply, report)
		}
	}
}

// A name of a server is no word about spam.
func TestNamesOfServersMeanNothing(t *testing.T) {
	report := Parse(bytes.ReplaceAll(sample(t, "internationalized"), []byte("550 no such user"), []byte("550 5.1.1 mx2.antispamcloud.example: no such user")))
	if report == nil || !report.Results[0].Hard {
		t.Errorf("%+v", report)
	}
}

// Answers of people and their programs, and what else comes to a mailbox.
func TestNoReports(t *testing.T) {
	files, err := filepath.Glob("testdata/reports/no-*.eml")
	if err != nil || len(files) < 8 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".eml")
		if report := Parse(sample(t, name)); report != nil {
			t.Errorf("%s: %+v", name, report)
		}
	}
}

// A mail has all the ids that lead to it, whichever of them a server leaves.
func TestWhatAReportIsAbout(t *testing.T) {
	report := Parse(sample(t, "postfix-unknown"))
	if !slices.Contains(report.Refs, id) || !slices.Contains(report.Refs, about) || !slices.Contains(report.SentTo, verp) {
		t.Errorf("%+v", report)
	}
	if report := Parse(sample(t, "exchange-text")); !slices.Contains(report.Refs, about) {
		t.Errorf("%+v", report)
	}
}

// Files of many mails, line ends of other systems and cut mails are read as well.
func TestFormsOfFiles(t *testing.T) {
	raw := sample(t, "postfix-unknown")
	for name, form := range map[string][]byte{
		"Unix":     bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n")),
		"mbox":     append([]byte("From MAILER-DAEMON Mon Mar  2 09:00:05 2026\n"), raw...),
		"cut":      raw[:bytes.Index(raw, []byte("X-Entity-Ref-ID"))],
		"very big": append(slices.Clone(raw), bytes.Repeat([]byte("ada@example.org: unknown user\n"), 1<<20/30)...),
	} {
		if report := Parse(form); report == nil || len(report.Results) != 1 || !report.Results[0].Hard {
			t.Errorf("%s: %+v", name, report)
		}
	}
}

// What is meant to take long does not.
func TestHostileReports(t *testing.T) {
	header := "From: MAILER-DAEMON@a.example\nSubject: failure notice\n"
	var nested strings.Builder
	for range 10_000 {
		nested.WriteString("Content-Type: multipart/mixed; boundary=x\n\n--x\n")
	}
	for name, raw := range map[string]string{
		"addresses":  header + "\n" + strings.Repeat("<a@b.example>: 550 error\n\n", 10_000),
		"others":     header + "\n" + strings.Repeat("a", 100_000) + strings.Repeat("@a.b", 30_000),
		"nested":     header + nested.String(),
		"parts":      header + "Content-Type: multipart/report; boundary=x\n\n" + strings.Repeat("--x\nContent-Type: message/delivery-status\n\nFinal-Recipient: rfc822; a@b.example\n\n", 3000),
		"fields":     header + "Content-Type: message/delivery-status\n\n" + strings.Repeat("Final-Recipient: rfc822; a@b.example\nAction: failed\n\n", 4000),
		"no end":     header + "\n" + strings.Repeat("user address account ", 12_000),
		"HTML":       header + "Content-Type: text/html\n\n" + strings.Repeat("<style><!--", 20_000),
		"references": header + "References: " + strings.Repeat("<a> ", 60_000) + "\n\nerror",
	} {
		begin := time.Now()
		report := Parse([]byte(raw))
		if took := time.Since(begin); took > 20*time.Second { // it is 0.1 s on a machine at rest
			t.Errorf("%s took %v", name, took)
		}
		if report != nil && len(report.Results) > maxResults {
			t.Errorf("%s: %d results", name, len(report.Results))
		}
	}
}

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/reports/*.eml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		report := Parse(raw)
		if report == nil {
			return
		}
		if len(report.Results) == 0 || len(report.Results) > maxResults {
			t.Errorf("%d results", len(report.Results))
		}
		for _, r := range report.Results {
			if r.Hard && r.Outcome != Failed || len(r.Diagnostic) > maxDiagnostic {
				t.Errorf("%+v", r)
			}
		}
	})
}
