package providers

import (
	"bufio"
	"errors"
	"net"
	"net/textproto"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
)

// The replies that the services are known to give, each sent by a server at its
// stage.
func TestSMTPRefusals(t *testing.T) {
	type want struct {
		kind       Kind
		quota      bool
		suppressed bool
	}
	recipient, content, configuration := want{kind: Recipient}, want{kind: Content}, want{kind: Configuration}
	limited, temporary := want{kind: RateLimited}, want{kind: Temporary}
	quota := want{kind: RateLimited, quota: true}
	suppressed := want{kind: Recipient, suppressed: true}
	rows := []struct {
		at    smtpStage
		reply string
		want
	}{
		{atGreeting, "421 4.3.2 try later", temporary},
		{atGreeting, "421 Too many concurrent SMTP connections", limited},
		{atGreeting, "554 no SMTP service here", configuration},

		{atEHLO, "550 5.7.1 go away", configuration},
		{atSTARTTLS, "454 4.7.0 TLS not available due to temporary reason", temporary},
		{atSTARTTLS, "502 5.5.1 not implemented", configuration},
		{atMAIL, "530 5.7.0 Must issue a STARTTLS command first", configuration},

		{atAUTH, "535 5.7.8 authentication failed", configuration},
		{atAUTH, "534 5.7.9 Application-specific password required", configuration},
		{atAUTH, "538 Encryption required for requested authentication mechanism", configuration},
		{atAUTH, "530 Authentication required", configuration},
		{atAUTH, "432 4.7.12 A password transition is needed", configuration},
		{atAUTH, "454 4.7.0 Temporary authentication failure", temporary},
		{atAUTH, "454 4.7.0 Too many login attempts, please try again later", limited},
		{atAUTH, "451 Authentication failed: Maximum credits exceeded", quota},
		{atAUTH, "535 Authentication Credentials Invalid", configuration},
		{atAUTH, "535 Account not subscribed to SES", configuration},
		{atAUTH, "454 Temporary authentication failure", temporary},
		{atAUTH, "503 5.5.1 Error: authentication not enabled", configuration},

		{atMAIL, "550 5.1.7 bad sender address", configuration},
		{atMAIL, "553 5.1.8 sender domain not found", configuration},
		{atMAIL, "550 5.7.1 sender not allowed", configuration},
		{atMAIL, "436 mail from address is not the same as the authentication address", configuration},
		{atMAIL, "552 5.3.4 Message size exceeds fixed limit", content},
		{atMAIL, "452 4.3.1 Insufficient system storage", temporary},
		{atMAIL, "451 4.3.0 local error", temporary},
		{atMAIL, "421 4.3.2 Service not available", temporary},
		{atMAIL, "452 4.5.3 too many", limited},
		{atMAIL, "550 5.4.5 Daily user sending limit exceeded", quota},
		{atMAIL, "550 5.4.5 Daily user sending quota exceeded. For more information", quota},
		{atMAIL, "530 5.5.1 Authentication Required", configuration},
		{atMAIL, "553 <no-reply@acme.example> Invalid email address", configuration},
		{atMAIL, "550 Unauthenticated senders not allowed", configuration},
		{atMAIL, "504 bad X-AliDM-Settings", configuration},
		{atMAIL, "551 Main account unavailable", configuration},

		{atRCPT, "550 5.1.1 user unknown", recipient},
		{atRCPT, "550 5.1.2 bad destination system", recipient},
		{atRCPT, "550 5.1.3 bad address syntax", recipient},
		{atRCPT, "551 5.1.6 moved", recipient},
		{atRCPT, "550 5.1.10 null MX", recipient},
		{atRCPT, "550 5.2.1 mailbox disabled", recipient},
		{atRCPT, "551 not here", recipient},
		{atRCPT, "553 5.1.3 bad address", recipient},
		{atRCPT, "550 no", recipient},
		{atRCPT, "553 no", recipient},
		{atRCPT, "553 <ada@example.net> address unknown", recipient},
		{atRCPT, "550 5.1.1 <ada@relay.example.net>: user unknown", recipient},
		{atRCPT, "556 domain does not accept mail", recipient},
		{atRCPT, "556 too many RCPT", content},
		{atRCPT, "554 5.7.1 <ada@example.net>: Relay access denied", configuration},
		{atRCPT, "454 4.7.1 <ada@example.net>: Relay access denied", configuration},
		{atRCPT, "550 relay not permitted", configuration},
		{atRCPT, "550 5.7.1 not authorized to send", configuration},
		{atRCPT, "550 5.7.1 Unauthenticated senders not allowed", configuration},
		{atRCPT, "550 5.7.1 <ada@relay.example.net>: Recipient address rejected", recipient},
		{atRCPT, "554 5.7.1 Service unavailable; Client host [192.0.2.7] blocked using zen.example", configuration},
		{atRCPT, "553 5.7.1 <no-reply@acme.example>: Sender address rejected: not owned by user relay", configuration},
		{atRCPT, "504 5.5.2 <relay>: Helo command rejected: need fully-qualified hostname", configuration},
		{atRCPT, "450 4.7.1 Greylisted, come back later", temporary},
		{atRCPT, "451 4.7.1 Greylisted, come back later", temporary},
		{atRCPT, "450 4.2.1 mailbox temporarily disabled", temporary},
		{atRCPT, "452 4.5.3 Too many recipients", limited},
		{atRCPT, "452 4.2.2 mailbox full", recipient},
		{atRCPT, "552 5.2.2 over quota", recipient},
		{atRCPT, "550 5.4.5 Daily user sending limit exceeded", quota},
		{atRCPT, "559 Invalid rcptto", suppressed},
		{atRCPT, "561 honeypot", recipient},
		{atRCPT, "550 5.6.7 non-ASCII addresses not permitted", recipient},

		{atDATA, "451 4.3.0 try again", temporary},
		{atDATA, "554 5.7.1 no", configuration},
		{atDATA, "550 5.4.5 Daily user sending limit exceeded", quota},

		{atDot, "552 5.3.4 too big", content},
		{atDot, "552 Message is too long.", content},
		{atDot, "554 5.6.0 bad content", content},
		{atDot, "550 5.7.1 looks like spam", content},
		{atDot, "554 5.7.0 virus found", content},
		{atDot, "554 Reject by content spam", content},
		{atDot, "557 too large", content},
		{atDot, "550 5.7.26 not authenticated", configuration},
		{atDot, "554 5.7.26 not authenticated", configuration},
		{atDot, "550 The from address does not match a verified Sender Identity. Mail cannot be sent", configuration},
		{atDot, "554 Message rejected: Email address is not verified. The following identities failed the check " +
			"in region EU-WEST-1: no-reply@acme.example", configuration},
		{atDot, "554 Access denied: User `arn:aws:iam::123456789012:user/x' is not authorized to perform " +
			"`ses:SendRawEmail' on resource `arn:aws:ses:eu-west-1:123456789012:identity/acme.example'", configuration},
		{atDot, "550 5.7.1 message rejected by the DMARC policy of the sender's domain", configuration},
		{atDot, "550 SPF check failed", configuration},
		{atDot, "454 Throttling failure: Maximum sending rate exceeded.", limited},
		{atDot, "454 Throttling failure: Daily message quota exceeded.", quota},
		{atDot, "451 You've exceeded your messaging limits", quota},
		{atDot, "552 sending quota exceeded", quota},
		{atDot, "559 Invalid rcptto", suppressed},
		{atDot, "550 5.1.1 no such user", recipient},
		{atDot, "451 Temporary service failure", temporary},
		{atDot, "451 Timeout waiting for data from client.", temporary},
		{atDot, "454 Temporary service failure", temporary},
		{atDot, "451 4.3.0 try again", temporary},
		{atDot, "452 4.3.1 no space", temporary},
		{atDot, "421 4.3.2 shutting down", temporary},
		{atDot, "554 5.3.2 system not accepting messages", temporary},
		{atDot, "550 no", content},
	}
	for _, extensions := range [][]string{{"PIPELINING", "AUTH PLAIN"}, {"AUTH PLAIN"}} {
		for _, row := range rows {
			t.Run(row.at.String()+" "+row.reply, func(t *testing.T) {
				fake := &fakeSMTP{extensions: extensions}
				if row.at == atSTARTTLS {
					fake.extensions = append([]string{"STARTTLS"}, extensions...)
				}
				fake.answer = func(stage smtpStage, _, _ int) string {
					if stage == row.at {
						return row.reply
					}
					return ""
				}
				fake.start(t)
				provider := openSMTP(t, fake.port(), withLogin)
				_, err := provider.Send(shortly(t), smtpMessage())
				failure := asSMTPError(t, err)
				got := want{failure.Kind, failure.Quota, failure.Suppressed}
				if got != row.want {
					t.Errorf("got %v, want %v: %v", got, row.want, err)
				}
				if failure.Stage != row.at.String() {
					t.Errorf("stage %q, want %q", failure.Stage, row.at)
				}
				if !strings.HasPrefix(failure.Code, row.reply[:3]) {
					t.Errorf("code %q", failure.Code)
				}
				for _, secret := range []string{"ada@", "482913", "pa55", "no-reply@"} {
					if strings.Contains(err.Error(), secret) {
						t.Errorf("the error holds %q: %v", secret, err)
					}
				}
			})
		}
	}
}

// asSMTPError asks for what every failed Send promises.
func asSMTPError(t testing.TB, err error) *Error {
	t.Helper()
	failure, ok := err.(*Error)
	if !ok {
		t.Fatalf("not a *Error: %v", err)
	}
	return failure
}

// Connections that break instead of answering, each on a fresh connection.
func TestSMTPBrokenConnections(t *testing.T) {
	for _, extensions := range [][]string{{"PIPELINING"}, {}} {
		for _, stunt := range []string{fakeEOF, fakeReset} {
			for _, stage := range []smtpStage{atGreeting, atEHLO, atMAIL, atRCPT, atDATA, atBody, atDot} {
				t.Run(stage.String()+" "+stunt, func(t *testing.T) {
					fake := (&fakeSMTP{extensions: extensions, answer: func(at smtpStage, _, _ int) string {
						if at == stage {
							return stunt
						}
						return ""
					}}).start(t)
					message := smtpMessage()
					if stage == atBody {
						message = bulkyMessage()
					}
					_, err := openSMTP(t, fake.port()).Send(shortly(t), message)
					failure := asSMTPError(t, err)
					kind := Temporary
					if stage == atDot {
						kind = Uncertain
					}
					if failure.Kind != kind {
						t.Errorf("%v, want %v: %v", failure.Kind, kind, err)
					}
					if connections, _, _ := fake.seen(); connections != 1 {
						t.Errorf("%d connections, a fresh one must not be replaced", connections)
					}
				})
			}
		}
	}
}

func TestSMTPUnreachable(t *testing.T) {
	t.Run("nobody listens", func(t *testing.T) {
		fake := (&fakeSMTP{}).start(t)
		fake.listener.Close()
		_, err := openSMTP(t, fake.port()).Send(shortly(t), smtpMessage())
		if failure := asSMTPError(t, err); failure.Kind != Temporary || failure.Stage != "connect" {
			t.Error(err)
		}
	})
	t.Run("no such host", func(t *testing.T) {
		failure := smtpFailure(shortly(t), atConnect, &net.OpError{Op: "dial", Err: &net.DNSError{IsNotFound: true}})
		if failure.Kind != Configuration {
			t.Error(failure)
		}
	})
	t.Run("look-up fails", func(t *testing.T) {
		failure := smtpFailure(shortly(t), atConnect, &net.OpError{Op: "dial", Err: &net.DNSError{IsTemporary: true}})
		if failure.Kind != Temporary {
			t.Error(failure)
		}
	})
	t.Run("foreign local address", func(t *testing.T) {
		fake := (&fakeSMTP{}).start(t)
		provider := openSMTP(t, fake.port(), func(s *SMTPSettings) { s.LocalAddress = "192.0.2.1" })
		_, err := provider.Send(shortly(t), smtpMessage())
		if failure := asSMTPError(t, err); failure.Kind != Configuration || !strings.Contains(failure.Hint, "localAddress") {
			t.Error(err)
		}
	})
	t.Run("local address of the other family", func(t *testing.T) {
		fake := (&fakeSMTP{}).start(t)
		provider := openSMTP(t, fake.port(), func(s *SMTPSettings) { s.LocalAddress = "::1" })
		_, err := provider.Send(shortly(t), smtpMessage())
		if failure := asSMTPError(t, err); failure.Kind != Configuration || !strings.Contains(failure.Hint, "localAddress") {
			t.Error(err)
		}
	})
	t.Run("not SMTP", func(t *testing.T) {
		fake := (&fakeSMTP{answer: func(smtpStage, int, int) string { return "HTTP/1.1 400 Bad Request" }}).start(t)
		_, err := openSMTP(t, fake.port()).Send(shortly(t), smtpMessage())
		if failure := asSMTPError(t, err); failure.Kind != Configuration || failure.Stage != "greeting" {
			t.Error(err)
		}
	})
	t.Run("an endless greeting", func(t *testing.T) {
		fake := (&fakeSMTP{answer: func(smtpStage, int, int) string {
			return "220 " + strings.Repeat("x", 4<<20)
		}}).start(t)
		_, err := openSMTP(t, fake.port()).Send(shortly(t), smtpMessage())
		if failure := asSMTPError(t, err); failure.Kind != Configuration || len(err.Error()) > 1000 {
			t.Error(err)
		}
	})
}

// A malformed reply breaks the connection and never counts as consent.
func TestSMTPMalformedReplies(t *testing.T) {
	for _, stage := range []smtpStage{atEHLO, atMAIL, atRCPT, atDATA, atDot} {
		for _, reply := range []string{"what", "25", "250x", "199 no", "600 no", "250-a\r\n251 b"} {
			t.Run(stage.String()+" "+strconv.Quote(reply), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					fake := (&fakeSMTP{extensions: []string{"PIPELINING"}, answer: func(at smtpStage, _, _ int) string {
						if at == stage {
							return reply
						}
						return ""
					}}).prepare(t)
					receipt, err := openPiped(t, fake).Send(shortly(t), smtpMessage())
					if err == nil {
						t.Fatalf("accepted: %+v", receipt)
					}
					failure := asSMTPError(t, err)
					if want := stage == atDot; (failure.Kind == Uncertain) != want {
						t.Error(err)
					}
				})
			})
		}
	}
}

func TestSMTPReplyParsing(t *testing.T) {
	for message, want := range map[string]smtpReply{
		"5.1.1 no such user":   {550, "5.1.1", "no such user"},
		"5.7.26 a\n5.7.26 b":   {550, "5.7.26", "a\n5.7.26 b"},
		"no such user":         {550, "", "no such user"},
		"":                     {550, "", ""},
		"5.1 x":                {550, "", "5.1 x"},
		"3.1.1 x":              {550, "", "3.1.1 x"},
		"5.1.1111 x":           {550, "", "5.1.1111 x"},
		"5.1.1":                {550, "5.1.1", ""},
		"5.x.1 <a@b> rejected": {550, "", "5.x.1 <a@b> rejected"},
	} {
		if got := parseSMTPReply(550, message); got != want {
			t.Errorf("%q: %+v, want %+v", message, got, want)
		}
	}
}

func FuzzSMTPRefusal(f *testing.F) {
	f.Add(550, "5.1.1 <ada@example.net> no such user", uint(7))
	f.Add(421, "4.7.0 try again\nlater", uint(10))
	f.Fuzz(func(t *testing.T, code int, message string, shift uint) {
		if code < 200 || code > 599 {
			return
		}
		stage := smtpStage(1) << (shift % 11)
		failure := refusal(stage, parseSMTPReply(code, message))
		if failure.Kind < Recipient || failure.Kind > Uncertain || failure.Stage == "" || len(failure.Error()) > 1000 {
			t.Fatalf("%+v", failure)
		}
		if failure.Kind == Uncertain && (stage != atDot || code >= 400) {
			t.Fatalf("a verdict came back: %v", failure)
		}
		if failure.Quota && failure.Kind != RateLimited || failure.Suppressed && failure.Kind != Recipient {
			t.Fatalf("%+v", failure)
		}
		if failure.Kind == Recipient && stage&(atRCPT|atDATA|atDot) == 0 && code != 559 && code != 561 {
			t.Fatalf("the recipient was not known yet: %v", failure)
		}
		if errors.Unwrap(failure) != nil {
			t.Fatal("a refusal has no cause beside the reply")
		}
	})
}

// readReply reads one reply through a buffer as small as that of a session.
func readReply(sent string) (code int, text string, err error) {
	s := &smtpSession{in: bufio.NewReaderSize(strings.NewReader(sent), replyBuffer)}
	code, line, err := s.read()
	return code, string(line), err
}

func TestSMTPReplies(t *testing.T) {
	long := strings.Repeat("x", 3*replyBuffer)
	for sent, want := range map[string]struct {
		code int
		text string
	}{
		"250 Ok\r\n":                                {250, "Ok"},
		"250 \r\n":                                  {250, ""},
		"354 go\n250 next\n":                        {354, "go"},
		"250-a\r\n250-b\r\n250 c\r\n":               {250, "a\nb\nc"},
		"550-a\r\nno code here\r\n550 c\r\n":        {550, "a\nno code here\nc"},
		"250 " + long + "\r\n":                      {250, long},
		"550-" + long + "\r\n550 " + long + "y\r\n": {550, long + "\n" + long + "y"},
	} {
		if code, text, err := readReply(sent); code != want.code || text != want.text || err != nil {
			t.Errorf("%.40q: %d %.40q %v", sent, code, text, err)
		}
	}
	for _, sent := range []string{"", "\r\n", "250\r\n", "25 Ok\r\n", "2x0 Ok\r\n", "250_Ok\r\n", "100 Ok\r\n", "650 Ok\r\n", "-50 Ok\r\n",
		"250 broken off", "250-a\r\n250 broken off", "250-a\r\n"} {
		if code, text, err := readReply(sent); err == nil {
			t.Errorf("%q: %d %q", sent, code, text)
		}
	}
}

// FuzzSMTPReply holds the reading of replies against Go's own.
func FuzzSMTPReply(f *testing.F) {
	f.Add("250-a\r\n250 b\r\n")
	f.Add("550-5.1.1 a\r\nb\r\n550 c\n250 d\r\n")
	f.Fuzz(func(t *testing.T, sent string) {
		if !strings.HasSuffix(sent, "\n") || strings.Contains(sent, "\r\r") {
			return // Go's takes a line that broke off for a whole one, and drops more than one CR
		}
		code, text, err := readReply(sent)
		wantCode, wantText, wantErr := textproto.NewReader(bufio.NewReader(strings.NewReader(sent))).ReadResponse(0)
		if wantErr == nil && (wantCode < 200 || wantCode > 599) {
			wantErr = textproto.ProtocolError("no code of SMTP")
		}
		if (err == nil) != (wantErr == nil) || err == nil && (code != wantCode || text != wantText) {
			t.Errorf("%q: %d %q %v, want %d %q %v", sent, code, text, err, wantCode, wantText, wantErr)
		}
	})
}
