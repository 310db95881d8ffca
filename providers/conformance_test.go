package providers

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"logto-email-relay/mail"
	"logto-email-relay/settings"
)

var update = flag.Bool("update", false, "write the golden files anew")

// fixtures holds one fixture for each of Types. To add one, write a function
// that returns it beside the tests of the service, and its line here.
//
// A service with an HTTP API fills fixture.http, and the suite plays the
// service. Any other service fills fixture.serve, which starts a fake of it.
var fixtures = map[string]func() fixture{
	"smtp":      smtpFixture,
	"sendgrid":  sendGridFixture,
	"mailgun":   mailgunFixture,
	"ses":       sesFixture,
	"postmark":  postmarkFixture,
	"aliyun":    aliyunFixture,
	"resend":    resendFixture,
	"smtp2go":   smtp2goFixture,
	"mailjunky": mailJunkyFixture,
	"http":      httpProviderFixture,
	"inbox":     inboxFixture,
}

// fixture is what the suite has to know of one type of provider.
type fixture struct {
	// settings returns valid settings that lead to a server at address: a base
	// URL for a service with an HTTP API, host:port for any other.
	settings func(address string) Settings
	// mistakes spoil valid settings; Check has to name the key.
	mistakes map[string]func(Settings)
	// secrets are the texts among the settings that no error may hold.
	secrets []string
	// id is the receipt's id for an accepted mail; the message's own if empty.
	id string
	// brokenAnswer is the kind of failure when the service accepts and the rest
	// of its answer breaks off; zero where that is a success all the same.
	brokenAnswer Kind
	// stored tells that the service keeps templates.
	stored bool
	// anyAddress tells that recipients outside ASCII are taken.
	anyAddress bool

	// unverifiable tells that the type has no Verify.
	unverifiable bool

	// http is set for a service with an HTTP API.
	http *httpFixture
	// serve starts a fake of any other service, which ends with the test.
	serve func(t testing.TB, treat treatment) *fake
	// kept returns the mails of a provider that is its own service.
	kept func(Provider) []string
}

// treatment is what a fake does with every mail.
type treatment int

const (
	accepts   treatment = iota
	breaksOff           // accepts, and breaks off in the middle of saying so
	cuts                // takes the whole mail and closes the connection
	stalls              // takes the whole mail and says nothing
)

// fake is a running fake of a service.
type fake struct {
	address string
	// mails returns what arrived, each mail as text that is the same whenever
	// the mail is.
	mails func() []string
	// connections is the most that were open at one time.
	connections func() int
	// stalled is closed when one that stalls has been asked and says nothing.
	stalled <-chan struct{}
}

// expiring is a context whose deadline passes when the channel is closed.
type expiring struct {
	context.Context
	passed <-chan struct{}
}

func (c expiring) Done() <-chan struct{} { return c.passed }

func (c expiring) Err() error {
	select {
	case <-c.passed:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// start starts the fake of the fixture's service, if it has one.
func (f fixture) start(t testing.TB, treat treatment) *fake {
	switch {
	case f.http != nil:
		return f.http.start(t, treat)
	case f.serve != nil:
		return f.serve(t, treat)
	}
	return nil
}

// open makes the provider to be tested.
func open(t testing.TB, s Settings) Provider {
	t.Helper()
	provider, err := s.Open()
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	if closer, ok := provider.(interface{ Close() error }); ok {
		t.Cleanup(func() { _ = closer.Close() })
	}
	return provider
}

const testCode = "482913"

// plainMessage is a mail in plain letters.
func plainMessage() *mail.Message {
	return &mail.Message{
		ID:        "01k9zq4v7x2m5n8p3r6t0w1yab",
		MessageID: "01k9zq4v7x2m5n8p3r6t0w1yab@acme.example",
		Date:      time.Date(2026, 11, 21, 10, 30, 0, 0, time.UTC),
		From:      mail.Address{Name: "Acme, Inc.", Address: "no-reply@acme.example"},
		ReplyTo:   mail.Address{Address: "help@acme.example"},
		To:        "ada.lovelace@example.org",
		Subject:   "Your sign-in code",
		Text:      "Your code is " + testCode + ".\n",
		HTML:      mail.Body{mail.OwnPart("<p>Your code is <b>"), mail.OwnPart(testCode), mail.OwnPart("</b>.</p>\n")},
		Locale:    "en",
		Type:      "SignIn",
		Headers:   []mail.Header{{Name: "Auto-Submitted", Value: "auto-generated"}},
	}
}

// unicodeMessage is a mail with names, subject and text in other letters, to an
// address that wants quotes.
func unicodeMessage() *mail.Message {
	m := plainMessage()
	m.From.Name = "アクメ株式会社"
	m.ReplyTo.Name = `Grüße "vom" Support`
	m.To = "foo.@docomo.ne.jp"
	m.Subject = "サインイン用コード – schöne Grüße"
	m.Text = "コードは " + testCode + " です。\n"
	m.HTML = nil
	m.Locale = "ja"
	m.Headers = append(m.Headers, mail.Header{Name: "X-Team", Value: "Größe"})
	return m
}

// TestConformance holds every type of provider to the same promises.
func TestConformance(t *testing.T) {
	for _, kind := range Types() {
		t.Run(kind.Name, func(t *testing.T) {
			makeFixture, ok := fixtures[kind.Name]
			if !ok {
				t.Fatal("no fixture: add one to fixtures in conformance_test.go")
			}
			f := makeFixture()
			t.Run("settings", func(t *testing.T) { checkSettings(t, kind, f) })
			t.Run("accept", func(t *testing.T) { checkAccept(t, kind.Name, f) })
			t.Run("refuse before sending", func(t *testing.T) { checkRefusals(t, f) })
			t.Run("no time left", func(t *testing.T) { checkNoTime(t, f) })
			t.Run("twenty at a time", func(t *testing.T) { checkConcurrent(t, f) })
			t.Run("verify", func(t *testing.T) { checkVerify(t, f) })
			if f.kept != nil {
				return
			}
			t.Run("broken answer", func(t *testing.T) { checkBrokenAnswer(t, f) })
			t.Run("cut", func(t *testing.T) { checkCut(t, f) })
			t.Run("stall", func(t *testing.T) { checkStall(t, f) })
			t.Run("nobody there", func(t *testing.T) { checkNobodyThere(t, f) })
			if f.http != nil {
				t.Run("http", func(t *testing.T) { checkHTTP(t, f) })
			}
		})
	}
	for name := range fixtures {
		if !slices.ContainsFunc(Types(), func(kind Type) bool { return kind.Name == name }) {
			t.Errorf("fixture %s is of no type", name)
		}
	}
}

// problems are what the settings' own check reports.
func problems(s Settings) []settings.Problem {
	if checker, ok := s.(settings.Checker); ok {
		return checker.Check()
	}
	return nil
}

func checkSettings(t *testing.T, kind Type, f fixture) {
	if s := kind.New(); s.Shared() == nil {
		t.Error("Shared returns nothing")
	}
	if found := problems(f.settings("https://127.0.0.1:1")); len(found) > 0 {
		t.Errorf("valid settings are refused: %v", found)
	}
	for key, spoil := range f.mistakes {
		s := f.settings("https://127.0.0.1:1")
		spoil(s)
		found := problems(s)
		if !slices.ContainsFunc(found, func(p settings.Problem) bool { return p.Key == key && p.Text != "" }) {
			t.Errorf("a mistake in %s is reported as %v", key, found)
		}
	}
	printed := fmt.Sprintf("%v %+v %#v", f.settings("x"), f.settings("x"), f.settings("x"))
	for _, secret := range f.secrets {
		if strings.Contains(printed, secret) {
			t.Error("the settings print a secret")
		}
	}
}

// storedMessage is a mail that the service writes from a template that it keeps.
func storedMessage() *mail.Message {
	m := plainMessage()
	m.Subject, m.Text, m.HTML, m.Locale = "", "", nil, ""
	m.Stored = &mail.StoredTemplate{Name: "d-sign-in", Data: map[string]any{
		"code": testCode, "application": map[string]any{"name": "Größe & Co"}, "brand": "Acme"}}
	return m
}

func checkAccept(t *testing.T, name string, f fixture) {
	var all strings.Builder
	type described struct {
		what string
		m    *mail.Message
	}
	mails := []described{{"in plain letters", plainMessage()}, {"in other letters", unicodeMessage()}}
	if f.stored {
		mails = append(mails, described{"from a template at the service", storedMessage()})
	}
	for _, mail := range mails {
		provider, arrived := openHonest(t, f)
		receipt, err := provider.Send(t.Context(), mail.m)
		if err != nil {
			t.Fatalf("%s: %v", mail.what, err)
		}
		want := f.id
		if want == "" {
			want = mail.m.ID
		}
		if receipt.ID != want {
			t.Errorf("%s: id %q, want %q", mail.what, receipt.ID, want)
		}
		mails := arrived()
		if len(mails) != 1 {
			t.Fatalf("%s: %d mails arrived, want 1", mail.what, len(mails))
		}
		fmt.Fprintf(&all, "# A mail %s\n\n%s\n\n", mail.what, strings.TrimSpace(mails[0]))
	}
	compareGolden(t, name, all.String())
}

func compareGolden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("there is no %s: run this test with -update, and read what it writes", file)
	}
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("what arrived differs from %s (-update writes it anew):\n%s", file, got)
	}
}

// openHonest opens the provider with a service that accepts, and returns how to
// see what arrived there.
func openHonest(t testing.TB, f fixture) (Provider, func() []string) {
	t.Helper()
	service := f.start(t, accepts)
	if service == nil {
		provider := open(t, f.settings(""))
		return provider, func() []string { return f.kept(provider) }
	}
	return open(t, f.settings(service.address)), service.mails
}

func checkRefusals(t *testing.T, f fixture) {
	provider, arrived := openHonest(t, f)
	refuse := func(what string, kind Kind, spoil func(*mail.Message)) {
		t.Helper()
		m := plainMessage()
		spoil(m)
		_, err := provider.Send(t.Context(), m)
		if e := wantError(t, err); e != nil && e.Kind != kind {
			t.Errorf("%s: %v, want %v", what, e, kind)
		}
	}
	for _, character := range []string{"\r", "\n", "\x00"} {
		evil := "x" + character + "Bcc: eve@example.net"
		refuse("recipient", Recipient, func(m *mail.Message) { m.To = evil + "@example.org" })
		refuse("From name", Content, func(m *mail.Message) { m.From.Name = evil })
		refuse("From address", Content, func(m *mail.Message) { m.From.Address = evil })
		refuse("Reply-To name", Content, func(m *mail.Message) { m.ReplyTo.Name = evil })
		refuse("Reply-To address", Content, func(m *mail.Message) { m.ReplyTo.Address = evil })
		refuse("subject", Content, func(m *mail.Message) { m.Subject = evil })
		refuse("Message-ID", Content, func(m *mail.Message) { m.MessageID = evil })
		refuse("header name", Content, func(m *mail.Message) { m.Headers[0].Name = evil })
		refuse("header value", Content, func(m *mail.Message) { m.Headers[0].Value = evil })
	}
	if !f.anyAddress {
		refuse("recipient in other letters", Recipient, func(m *mail.Message) { m.To = "jürgen@example.org" })
		refuse("sender in other letters", Configuration, func(m *mail.Message) { m.From.Address = "jürgen@example.org" })
	}
	if mails := arrived(); len(mails) != 0 {
		t.Errorf("%d mails arrived, want none", len(mails))
	}
}

// wantError returns the *Error that every failure has to be.
func wantError(t testing.TB, err error) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Errorf("error %v of type %T, want a *Error", err, err)
		return nil
	}
	if e.Kind.String() == "" {
		t.Errorf("%v has no kind", e)
	}
	return e
}

// wantKind sends a plain message and asks for that kind of failure, which may
// not tell a secret.
func wantKind(t testing.TB, ctx context.Context, f fixture, provider Provider, kind Kind) *Error {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second) // against a hang only
	defer cancel()
	m := plainMessage()
	_, err := provider.Send(ctx, m)
	e := wantError(t, err)
	if e == nil {
		return &Error{}
	}
	if e.Kind != kind {
		t.Errorf("%v, want %v", e, kind)
	}
	checkDiscreet(t, f, m, e)
	return e
}

// checkDiscreet looks for what no error may tell, in whatever way it is printed.
func checkDiscreet(t testing.TB, f fixture, m *mail.Message, e *Error) {
	t.Helper()
	printed := fmt.Sprintf("%v %+v %#v %s %q %s %s", e, e, e, e, e, e.Detail, e.Code)
	local, _, _ := strings.Cut(m.To, "@")
	for _, secret := range append([]string{m.To, local, testCode, "Acme, Inc.", "magic-link"}, f.secrets...) {
		if strings.Contains(strings.ToLower(printed), strings.ToLower(secret)) {
			t.Errorf("the error tells %q: %s", secret, printed)
		}
	}
}

func checkNoTime(t *testing.T, f fixture) {
	provider, arrived := openHonest(t, f)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	e := wantKind(t, ctx, f, provider, Temporary)
	if !errors.Is(e, context.Canceled) {
		t.Error("the error does not say that the context ended")
	}
	if mails := arrived(); len(mails) != 0 {
		t.Errorf("%d mails arrived, want none", len(mails))
	}
}

func checkConcurrent(t *testing.T, f fixture) {
	const senders, concurrency = 20, 5
	var (
		service  = f.start(t, accepts)
		s        = f.settings("")
		arrived  func() []string
		provider Provider
	)
	if service != nil {
		s = f.settings(service.address)
		arrived = service.mails
	}
	s.Shared().MaxConcurrent = concurrency
	provider = open(t, s)
	if service == nil {
		arrived = func() []string { return f.kept(provider) }
	}
	ids := make([]string, senders)
	var group sync.WaitGroup
	for i := range senders {
		m := plainMessage()
		m.ID = fmt.Sprintf("%026d", i)
		ids[i] = m.ID
		group.Go(func() {
			if _, err := provider.Send(t.Context(), m); err != nil {
				t.Errorf("mail %d: %v", i, err)
			}
		})
	}
	group.Wait()
	mails := arrived()
	if len(mails) != senders {
		t.Errorf("%d mails arrived, want %d", len(mails), senders)
	}
	for _, id := range ids {
		if n := mailsWith(mails, id); n != 1 {
			t.Errorf("mail %s arrived %d times", id, n)
		}
	}
	if service != nil && service.connections() > concurrency {
		t.Errorf("%d connections were open at a time, want at most %d", service.connections(), concurrency)
	}
}

func mailsWith(texts []string, part string) int {
	n := 0
	for _, text := range texts {
		if strings.Contains(text, part) {
			n++
		}
	}
	return n
}

func checkBrokenAnswer(t *testing.T, f fixture) {
	service := f.start(t, breaksOff)
	provider := open(t, f.settings(service.address))
	if f.brokenAnswer != 0 {
		wantKind(t, t.Context(), f, provider, f.brokenAnswer)
	} else if receipt, err := provider.Send(t.Context(), plainMessage()); err != nil || receipt.ID == "" {
		t.Errorf("receipt %+v, error %v; the mail was accepted", receipt, err)
	}
	if n := len(service.mails()); n != 1 {
		t.Errorf("%d mails arrived, want 1", n)
	}
}

func checkCut(t *testing.T, f fixture) {
	service := f.start(t, cuts)
	provider := open(t, f.settings(service.address))
	wantKind(t, t.Context(), f, provider, Uncertain)
	if n := len(service.mails()); n != 1 {
		t.Errorf("%d mails arrived, want 1: a mail that may have been taken is sent again", n)
	}
}

func checkStall(t *testing.T, f fixture) {
	service := f.start(t, stalls)
	provider := open(t, f.settings(service.address))
	began := time.Now()
	e := wantKind(t, expiring{context.Background(), service.stalled}, f, provider, Uncertain)
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("Send returned after %v, the deadline was when the service had the mail", took)
	}
	if !errors.Is(e, context.DeadlineExceeded) {
		t.Error("the error does not say that the deadline passed")
	}
}

func checkNobodyThere(t *testing.T, f fixture) {
	if e := wantKind(t, t.Context(), f, open(t, f.settings(nobody(t, f))), Temporary); e.Stage != "connect" || !e.Momentary {
		t.Errorf("stage %q, want connect, and momentary: %v", e.Stage, e.Momentary)
	}
}

// nobody returns an address that nobody listens at.
func nobody(t *testing.T, f fixture) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if f.http != nil {
		return "http://" + listener.Addr().String()
	}
	return listener.Addr().String()
}

// BenchmarkSend measures a mail from Send to receipt, against a fake in the same
// process that takes its share of the time.
func BenchmarkSend(b *testing.B) {
	for _, kind := range Types() {
		makeFixture, ok := fixtures[kind.Name]
		if !ok {
			continue
		}
		b.Run(kind.Name, func(b *testing.B) {
			provider, _ := openHonest(b, makeFixture())
			m := plainMessage()
			m.HTML = mail.Body{mail.OwnPart(strings.Repeat("<p>Your code is <b>"+testCode+"</b>.</p>\n", 150))}
			b.ReportAllocs()
			b.SetParallelism(8)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := provider.Send(context.Background(), m); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
