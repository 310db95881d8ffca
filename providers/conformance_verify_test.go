package providers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"logto-email-relay/smtp"
)

// verifyCase is an answer to Verify and what it means.
type verifyCase struct {
	name string
	answer
	kind Kind // zero: it signs in
	// words are a part of the wanted error, or of the note.
	words string
}

// isGet recognises a GET of that path.
func isGet(path string) func(*http.Request, []byte) bool {
	return func(r *http.Request, _ []byte) bool { return r.Method == http.MethodGet && r.URL.Path == path }
}

func always200(body string) func(*http.Request) answer {
	return func(*http.Request) answer { return answer{200, nil, body} }
}

// checkVerify asks for what Verify promises: it finds out, it sends nothing, it
// ends in time and keeps secrets.
func checkVerify(t *testing.T, f fixture) {
	provider, arrived := openHonest(t, f)
	verifier, ok := provider.(Verifier)
	if f.unverifiable {
		if ok {
			t.Error("the type has a Verify after all")
		}
		return
	}
	if !ok {
		t.Fatal("no Verify: write one, or mark the fixture as unverifiable")
	}
	for range 2 {
		if note, err := verifier.Verify(t.Context()); err != nil || note != "" {
			t.Errorf("note %q, error %v", note, err)
		}
	}
	if mails := arrived(); len(mails) != 0 {
		t.Errorf("%d mails arrived, want none", len(mails))
	}
	if _, err := provider.Send(t.Context(), plainMessage()); err != nil {
		t.Errorf("a mail after it: %v", err)
	}
	if f.kept != nil {
		return
	}

	verifyFails(t, t.Context(), f, open(t, f.settings(nobody(t, f))), Temporary, "connect")
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if e := verifyFails(t, cancelled, f, open(t, f.settings(f.start(t, accepts).address)), Temporary, ""); !errors.Is(e, context.Canceled) {
		t.Error("the error does not say that the context ended")
	}
	if f.http != nil {
		checkVerifyHTTP(t, f)
	}
}

// verifyFails asks for that kind of failure, with these words in it.
func verifyFails(t *testing.T, ctx context.Context, f fixture, provider Provider, kind Kind, words string) *Error {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second) // against a hang only
	defer cancel()
	_, err := provider.(Verifier).Verify(ctx)
	e := wantError(t, err)
	if e == nil {
		return &Error{}
	}
	if e.Kind != kind || !strings.Contains(e.Error(), words) {
		t.Errorf("%v, want %v with %q", e, kind, words)
	}
	if kind == Configuration && e.Hint == "" && e.Detail == "" {
		t.Errorf("%v does not say what to do", e)
	}
	checkDiscreet(t, f, plainMessage(), e)
	return e
}

func checkVerifyHTTP(t *testing.T, f fixture) {
	verifyFails(t, t.Context(), f, open(t, f.settings(f.start(t, cuts).address)), Temporary, "")

	service := f.start(t, stalls)
	stalled := expiring{context.Background(), service.stalled}
	if e := verifyFails(t, stalled, f, open(t, f.settings(service.address)), Temporary, ""); !errors.Is(e, context.DeadlineExceeded) {
		t.Error("the error does not say that the deadline passed")
	}

	// No mail is under way that could be uncertain, or at fault.
	shared := map[Kind]Kind{Uncertain: Temporary, Content: Configuration, Configuration: Configuration,
		Temporary: Temporary, RateLimited: RateLimited}
	for _, row := range httpErrors() {
		t.Run(row.name, func(t *testing.T) {
			verifyFails(t, t.Context(), f, openTo(t, f, always(row.answer)), shared[row.kind], "")
		})
	}
	for _, page := range []string{proxyPage, "{}", "null", ""} {
		verifyFails(t, t.Context(), f, openTo(t, f, always(answer{200, nil, page})), Configuration, "endpoint")
	}
	words := "keys " + strings.Join(f.secrets, " ") + " of ada.lovelace@example.org"
	for _, a := range []answer{f.http.refusal(words), {401, nil, words}, {403, nil, words}, {500, nil, words}} {
		_, err := openTo(t, f, always(a)).(Verifier).Verify(t.Context())
		if e := wantError(t, err); e != nil {
			checkDiscreet(t, f, plainMessage(), e)
		}
	}
	for _, row := range f.http.verdicts {
		t.Run(row.name, func(t *testing.T) {
			provider := openTo(t, f, always(row.answer))
			if row.kind != 0 {
				verifyFails(t, t.Context(), f, provider, row.kind, row.words)
				return
			}
			note, err := provider.(Verifier).Verify(t.Context())
			if err != nil || !strings.Contains(note, row.words) || row.words == "" && note != "" {
				t.Errorf("note %q, error %v, want a note with %q", note, err, row.words)
			}
		})
	}
}

// SMTP goes as far as the login, sends no command of a mail, and keeps the
// connection for the first mail.
func TestSMTPVerify(t *testing.T) {
	fake := (&fakeSMTP{extensions: []string{"PIPELINING", "AUTH PLAIN"}}).start(t)
	provider := openSMTP(t, fake.Port(), withLogin)
	for range 3 {
		if note, err := provider.Verify(shortly(t)); err != nil || note != "" {
			t.Fatal(note, err)
		}
	}
	if _, commands, _ := fake.Seen(); len(commands) != 2 || !strings.HasPrefix(commands[0], "EHLO") || !strings.HasPrefix(commands[1], "AUTH") {
		t.Errorf("commands %q", commands)
	}
	if _, err := provider.Send(shortly(t), smtpMessage()); err != nil {
		t.Fatal(err)
	}
	if connections, _, mails := fake.Seen(); connections != 1 || len(mails) != 1 {
		t.Errorf("%d mails over %d connections", len(mails), connections)
	}

	fake.HangUp()
	eventually(t, "the connection is gone", func() bool { return fake.OpenConnections() == 0 })
	if _, err := provider.Verify(shortly(t)); err != nil {
		t.Error(err)
	}
	if connections, _, _ := fake.Seen(); connections != 2 {
		t.Errorf("%d connections, want a new one in place of the dead", connections)
	}

	for stage, answer := range map[smtp.Stage]string{smtp.AtGreeting: "554 no", smtp.AtEHLO: "550 no", smtp.AtAUTH: "535 5.7.8 no"} {
		fake := &fakeSMTP{extensions: []string{"AUTH PLAIN"}}
		fake.answer = func(at smtp.Stage, _, _ int) string {
			if at == stage {
				return answer
			}
			return ""
		}
		fake.start(t)
		_, err := openSMTP(t, fake.Port(), withLogin).Verify(shortly(t))
		if e := asSMTPError(t, err); e.Kind != Configuration || e.Hint == "" || strings.Contains(fmt.Sprintf("%+v", e), "pa55") {
			t.Errorf("%v: %v", stage, e)
		}
	}
	refused := openSMTP(t, fake.Port(), withLogin, func(s *SMTPSettings) { s.Auth.Method = "LOGIN" })
	_, err := refused.Verify(shortly(t))
	if e := asSMTPError(t, err); e.Kind != Configuration {
		t.Error(e)
	}
}
