package providers

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"logto-email-relay/settings"
	"logto-email-relay/smtp"
	"logto-email-relay/smtp/smtptest"
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
	uncertain := want{kind: Uncertain}
	quota := want{kind: RateLimited, quota: true}
	suppressed := want{kind: Recipient, suppressed: true}
	rows := []struct {
		at    smtp.Stage
		reply string
		want
	}{
		{smtp.AtGreeting, "421 4.3.2 try later", temporary},
		{smtp.AtGreeting, "421 Too many concurrent SMTP connections", limited},
		{smtp.AtGreeting, "554 no SMTP service here", configuration},

		{smtp.AtEHLO, "550 5.7.1 go away", configuration},
		{smtp.AtSTARTTLS, "454 4.7.0 TLS not available due to temporary reason", temporary},
		{smtp.AtSTARTTLS, "502 5.5.1 not implemented", configuration},
		{smtp.AtMAIL, "530 5.7.0 Must issue a STARTTLS command first", configuration},

		{smtp.AtAUTH, "535 5.7.8 authentication failed", configuration},
		{smtp.AtAUTH, "534 5.7.9 Application-specific password required", configuration},
		{smtp.AtAUTH, "538 Encryption required for requested authentication mechanism", configuration},
		{smtp.AtAUTH, "530 Authentication required", configuration},
		{smtp.AtAUTH, "432 4.7.12 A password transition is needed", configuration},
		{smtp.AtAUTH, "454 4.7.0 Temporary authentication failure", temporary},
		{smtp.AtAUTH, "454 4.7.0 Too many login attempts, please try again later", limited},
		{smtp.AtAUTH, "451 Authentication failed: Maximum credits exceeded", quota},
		{smtp.AtAUTH, "535 Authentication Credentials Invalid", configuration},
		{smtp.AtAUTH, "535 Account not subscribed to SES", configuration},
		{smtp.AtAUTH, "454 Temporary authentication failure", temporary},
		{smtp.AtAUTH, "503 5.5.1 Error: authentication not enabled", configuration},

		{smtp.AtMAIL, "550 5.1.7 bad sender address", configuration},
		{smtp.AtMAIL, "553 5.1.8 sender domain not found", configuration},
		{smtp.AtMAIL, "550 5.7.1 sender not allowed", configuration},
		{smtp.AtMAIL, "436 mail from address is not the same as the authentication address", configuration},
		{smtp.AtMAIL, "552 5.3.4 Message size exceeds fixed limit", content},
		{smtp.AtMAIL, "452 4.3.1 Insufficient system storage", temporary},
		{smtp.AtMAIL, "451 4.3.0 local error", temporary},
		{smtp.AtMAIL, "421 4.3.2 Service not available", temporary},
		{smtp.AtMAIL, "452 4.5.3 too many", limited},
		{smtp.AtMAIL, "550 5.4.5 Daily user sending limit exceeded", quota},
		{smtp.AtMAIL, "550 5.4.5 Daily user sending quota exceeded. For more information", quota},
		{smtp.AtMAIL, "530 5.5.1 Authentication Required", configuration},
		{smtp.AtMAIL, "553 <no-reply@acme.example> Invalid email address", configuration},
		{smtp.AtMAIL, "550 Unauthenticated senders not allowed", configuration},
		{smtp.AtMAIL, "504 bad X-AliDM-Settings", configuration},
		{smtp.AtMAIL, "551 Main account unavailable", configuration},

		{smtp.AtRCPT, "550 5.1.1 user unknown", recipient},
		{smtp.AtRCPT, "550 5.1.2 bad destination system", recipient},
		{smtp.AtRCPT, "550 5.1.3 bad address syntax", recipient},
		{smtp.AtRCPT, "551 5.1.6 moved", recipient},
		{smtp.AtRCPT, "550 5.1.10 null MX", recipient},
		{smtp.AtRCPT, "550 5.2.1 mailbox disabled", recipient},
		{smtp.AtRCPT, "551 not here", recipient},
		{smtp.AtRCPT, "553 5.1.3 bad address", recipient},
		{smtp.AtRCPT, "550 no", configuration},
		{smtp.AtRCPT, "553 no", configuration},
		{smtp.AtRCPT, "553 <ada@example.net> address unknown", recipient},
		{smtp.AtRCPT, "550 5.1.1 <ada@relay.example.net>: user unknown", recipient},
		{smtp.AtRCPT, "556 domain does not accept mail", recipient},
		{smtp.AtRCPT, "556 too many RCPT", content},
		{smtp.AtRCPT, "554 5.7.1 <ada@example.net>: Relay access denied", configuration},
		{smtp.AtRCPT, "454 4.7.1 <ada@example.net>: Relay access denied", configuration},
		{smtp.AtRCPT, "550 relay not permitted", configuration},
		{smtp.AtRCPT, "550 5.7.1 not authorized to send", configuration},
		{smtp.AtRCPT, "550 5.7.1 Unauthenticated senders not allowed", configuration},
		{smtp.AtRCPT, "550 5.7.1 <ada@relay.example.net>: Recipient address rejected", recipient},
		{smtp.AtRCPT, "554 5.7.1 Service unavailable; Client host [192.0.2.7] blocked using zen.example", configuration},
		{smtp.AtRCPT, "553 5.7.1 <no-reply@acme.example>: Sender address rejected: not owned by user relay", configuration},
		{smtp.AtRCPT, "504 5.5.2 <relay>: Helo command rejected: need fully-qualified hostname", configuration},
		{smtp.AtRCPT, "450 4.7.1 Greylisted, come back later", temporary},
		{smtp.AtRCPT, "451 4.7.1 Greylisted, come back later", temporary},
		{smtp.AtRCPT, "450 4.2.1 mailbox temporarily disabled", temporary},
		{smtp.AtRCPT, "452 4.5.3 Too many recipients", limited},
		{smtp.AtRCPT, "452 4.2.2 mailbox full", recipient},
		{smtp.AtRCPT, "552 5.2.2 over quota", recipient},
		{smtp.AtRCPT, "550 5.4.5 Daily user sending limit exceeded", quota},
		{smtp.AtRCPT, "550 5.1.2 Relay not allowed.", configuration},
		{smtp.AtRCPT, "550 that IP address is not allowed to send", configuration},
		{smtp.AtRCPT, "450 4.1.2 <ada@acme.exmaple>: Recipient address rejected: Domain not found", recipient},
		{smtp.AtRCPT, "450 4.7.1 too much mail", limited},
		{smtp.AtMAIL, "501 5.5.4 You are not allowed to send from this address.", configuration},
		{smtp.AtRCPT, "559 Invalid rcptto", suppressed},
		{smtp.AtRCPT, "561 honeypot", recipient},
		{smtp.AtRCPT, "550 5.6.7 non-ASCII addresses not permitted", recipient},

		{smtp.AtRCPT, "550 5.1.0 <no-reply@acme.example>: user unknown", configuration},
		{smtp.AtRCPT, "550 Invalid address: NO-REPLY@acme.example", configuration},
		{smtp.AtRCPT, "550 user unknown: ada@example.net, from no-reply@acme.example", recipient},
		{smtp.AtRCPT, "550 5.7.1 The sender does not exist", configuration},
		{smtp.AtRCPT, "550 5.1.1 <x@acme.example>: sender unknown", configuration},
		{smtp.AtRCPT, "550 Return address rejected: no such user", configuration},
		{smtp.AtRCPT, "550 your domain does not exist", configuration},
		{smtp.AtRCPT, "550 Sending server does not exist in DNS", configuration},
		{smtp.AtRCPT, "550 API key does not exist", configuration},
		{smtp.AtDot, "550 The stream provided does not exist on this server", configuration},
		{smtp.AtRCPT, "550 Account does not exist or is not allowed to send", configuration},
		{smtp.AtRCPT, "550 5.1.1 Unknown user or password", configuration},
		{smtp.AtRCPT, "550 Absender existiert nicht", configuration},
		{smtp.AtRCPT, "550 发件用户不存在", configuration},
		{smtp.AtRCPT, "554 5.7.1 <ada@example.net>: Recipient address rejected: user relay exceeded what it may send", configuration},
		{smtp.AtRCPT, "500 5.7.1 <ada@example.net>: Recipient address rejected: what this user may send is used up", configuration},
		{smtp.AtRCPT, "554 5.7.1 <ada@example.net>: Recipient address rejected: domain acme.example is not allowed here", configuration},
		{smtp.AtRCPT, "554 5.7.1 <ada@example.net>: Recipient address rejected: mail for other domains is not permitted", configuration},
		{smtp.AtRCPT, "556 5.1.10 <ada@example.net>: Recipient address rejected: Domain example.net does not accept mail (nullMX)", recipient},
		{smtp.AtRCPT, "550 5.1.1 No such user; your IP address was logged", recipient},
		{smtp.AtRCPT, "550 5.1.1 dailyplanet: user unknown", recipient},
		{smtp.AtRCPT, "550 5.1.1 unknown user, message from your account not delivered", recipient},
		{smtp.AtRCPT, "550 (5.1.1) nobody", recipient},
		{smtp.AtRCPT, "550-Hello\r\n550-5.1.1 nobody\r\n550 bye", recipient},
		{smtp.AtRCPT, "550 5.1.1: nobody", recipient},
		{smtp.AtRCPT, "550 5.1.1 nobody (5.7.1)", recipient},
		{smtp.AtRCPT, "550 4.2.1 mailbox temporarily disabled", temporary},
		{smtp.AtRCPT, "550 4.4.4 no route", temporary},
		{smtp.AtRCPT, "550 Mailbox for user is full", recipient},
		{smtp.AtRCPT, "552 Mailbox limit exceeded for this email address", recipient},
		{smtp.AtRCPT, "550 Mailbox size limit exceeded", recipient},
		{smtp.AtDot, "451 4.3.0 Disk quota exceeded", temporary},
		{smtp.AtDot, "452 out of space", temporary},
		{smtp.AtDot, "552 Message size limit exceeded", content},
		{smtp.AtRCPT, "552 5.2.2 <ada@example.net>: mailbox has too many messages", recipient},
		{smtp.AtRCPT, "452 4.2.2 mailbox size quota exceeded", recipient},
		{smtp.AtRCPT, "552 5.2.2 user relay is over its sending quota", quota},
		{smtp.AtRCPT, "450 4.2.1 Recipient receives too many messages per minute", temporary},
		{smtp.AtRCPT, "550 Postfach existiert nicht", recipient},
		{smtp.AtRCPT, "550 The recipient cannot be found", recipient},
		{smtp.AtRCPT, "550 5.1.1 User unknown, please contact the sender", recipient},
		{smtp.AtRCPT, "550 5.2.1 Mailbox not available. Sender notified", recipient},
		{smtp.AtAUTH, "421 4.7.0 Too many invalid login attempts", limited},
		{smtp.AtRCPT, "550 5.1.1 returned sender address unknown", configuration},
		{smtp.AtRCPT, "550 Recipient not found, message returned to sender", recipient},
		{smtp.AtDot, "550 5.1.1 returned to sender: sender address rejected", configuration},
		{smtp.AtRCPT, "550 5.2.1 <ada@example.net>: Account disabled", recipient},
		{smtp.AtRCPT, "550 5.2.1 This account has been suspended", recipient},
		{smtp.AtRCPT, "550 5.2.1 Your account has been suspended", configuration},
		{smtp.AtRCPT, "550 No such user at mx.upstream.example", recipient},
		{smtp.AtDot, "554 Transaction failed: Tenant does not exist", configuration},
		{smtp.AtDot, "550 Token does not exist", configuration},
		{smtp.AtRCPT, "451 4.3.0 Temporary failure while the sender was looked up", temporary},
		{smtp.AtRCPT, "451 4.7.1 Temporarily deferred: this pair of sender and recipient is new", temporary},
		{smtp.AtDot, "451 4.3.0 your server is not known yet, try later", temporary},
		{smtp.AtDot, "451 4.3.0 no token for the queue, try later", temporary},
		{smtp.AtRCPT, "422 The recipient's mailbox is over its storage limit", recipient},

		{smtp.AtDATA, "451 4.3.0 try again", temporary},
		{smtp.AtDATA, "554 5.7.1 no", configuration},
		{smtp.AtDATA, "550 5.4.5 Daily user sending limit exceeded", quota},

		{smtp.AtDot, "552 5.3.4 too big", content},
		{smtp.AtDot, "552 Message is too long.", content},
		{smtp.AtDot, "554 5.6.0 bad content", content},
		{smtp.AtDot, "550 5.7.1 looks like spam", content},
		{smtp.AtDot, "554 5.7.0 virus found", content},
		{smtp.AtDot, "554 Reject by content spam", content},
		{smtp.AtDot, "557 too large", content},
		{smtp.AtDot, "550 5.7.26 not authenticated", configuration},
		{smtp.AtDot, "554 5.7.26 not authenticated", configuration},
		{smtp.AtDot, "550 The from address does not match a verified Sender Identity. Mail cannot be sent", configuration},
		{smtp.AtDot, "554 Message rejected: Email address is not verified. The following identities failed the check " +
			"in region EU-WEST-1: no-reply@acme.example", configuration},
		{smtp.AtDot, "554 Access denied: User `arn:aws:iam::123456789012:user/x' is not authorized to perform " +
			"`ses:SendRawEmail' on resource `arn:aws:ses:eu-west-1:123456789012:identity/acme.example'", configuration},
		{smtp.AtDot, "550 5.7.1 message rejected by the DMARC policy of the sender's domain", configuration},
		{smtp.AtDot, "550 SPF check failed", configuration},
		{smtp.AtDot, "454 Throttling failure: Maximum sending rate exceeded.", limited},
		{smtp.AtDot, "454 Throttling failure: Daily message quota exceeded.", quota},
		{smtp.AtDot, "451 You've exceeded your messaging limits", quota},
		{smtp.AtDot, "552 sending quota exceeded", quota},
		{smtp.AtDot, "559 Invalid rcptto", suppressed},
		{smtp.AtDot, "550 5.1.1 no such user", recipient},
		{smtp.AtDot, "451 Temporary service failure", temporary},
		{smtp.AtDot, "451 Timeout waiting for data from client.", temporary},
		{smtp.AtDot, "454 Temporary service failure", temporary},
		{smtp.AtDot, "451 4.3.0 try again", temporary},
		{smtp.AtDot, "452 4.3.1 no space", temporary},
		{smtp.AtDot, "421 4.3.2 shutting down", temporary},
		{smtp.AtDot, "554 5.3.2 system not accepting messages", temporary},
		{smtp.AtDot, "400 not now", temporary},
		{smtp.AtDot, "550 no", configuration},

		{smtp.AtMAIL, "354 go on", temporary},
		{smtp.AtDot, "354 go on", uncertain},
		{smtp.AtRCPT, "550 sorry (#5.1.1)", recipient},
	}
	for _, extensions := range [][]string{{"PIPELINING", "AUTH PLAIN"}, {"AUTH PLAIN"}} {
		for _, row := range rows {
			t.Run(row.at.String()+" "+row.reply, func(t *testing.T) {
				fake := &fakeSMTP{extensions: extensions}
				if row.at == smtp.AtSTARTTLS {
					fake.extensions = append([]string{"STARTTLS"}, extensions...)
				}
				fake.answer = func(stage smtp.Stage, _, _ int) string {
					if stage == row.at {
						return row.reply
					}
					return ""
				}
				fake.start(t)
				provider := openSMTP(t, fake.Port(), withLogin)
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

// Oracle answers 254 for an address that it suppresses, and amavis 250 for a mail that it
// throws away.
func TestSMTPConsentThatIsNone(t *testing.T) {
	for _, c := range []struct {
		at         smtp.Stage
		reply      string
		kind       Kind
		suppressed bool
	}{
		{smtp.AtRCPT, "254 4.7.1 ada@example.net is suppressed for sender no-reply@acme.example", Recipient, true},
		{smtp.AtRCPT, "254 4.7.1 Suppression for user ocid1.user.oc1..aaaaaa to ada@example.net", Recipient, true},
		{smtp.AtDot, "254 4.7.1 -  ada@example.net is suppressed for sender ocid1.emailsender.oc1", Recipient, true},
		{smtp.AtRCPT, "221 2.0.0 bye", Temporary, false},
		{smtp.AtMAIL, "354 nobody is suppressed", Temporary, false},
		{smtp.AtDot, "250 2.7.0 Ok, discarded, id=01234-05 - spam", Content, false},
		{smtp.AtDot, "250 2.5.0 Ok, id=03164-18, DISCARD(bounce.suppressed)", Content, false},
		{smtp.AtDot, "250 2.5.0 Ok, id=18438-02, BOUNCE", Content, false},
		{smtp.AtDot, "250 Virus Detected; Discarded Email", Content, false},
		{smtp.AtDot, "250 NOPE: User administratively disabled, discarding mail.", Content, false},
	} {
		fake := (&fakeSMTP{answer: saying(c.at, c.reply)}).start(t)
		_, err := openSMTP(t, fake.Port()).Send(shortly(t), smtpMessage())
		if e := asSMTPError(t, err); e.Kind != c.kind || e.Suppressed != c.suppressed || e.Filtered != (c.kind == Content) {
			t.Errorf("%s: %v", c.reply, e)
		}
	}
	for reply, stage := range map[string]smtp.Stage{"251 2.1.5 user not local; will forward": smtp.AtRCPT, "252 2.1.5 cannot verify the user": smtp.AtRCPT,
		"250 2.6.0 <discard-1@quarantined.mail.example> Queued mail for delivery": smtp.AtDot} {
		fake := (&fakeSMTP{answer: saying(stage, reply)}).start(t)
		if _, err := openSMTP(t, fake.Port()).Send(shortly(t), smtpMessage()); err != nil {
			t.Errorf("%s: %v", reply, err)
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
		for _, stunt := range []string{smtptest.EOF, smtptest.Reset} {
			for _, stage := range []smtp.Stage{smtp.AtGreeting, smtp.AtEHLO, smtp.AtMAIL, smtp.AtRCPT, smtp.AtDATA, smtp.AtBody, smtp.AtDot} {
				t.Run(stage.String()+" "+stunt, func(t *testing.T) {
					fake := (&fakeSMTP{extensions: extensions, answer: saying(stage, stunt)}).start(t)
					message := smtpMessage()
					if stage == smtp.AtBody {
						message = bulkyMessage()
					}
					_, err := openSMTP(t, fake.Port()).Send(shortly(t), message)
					failure := asSMTPError(t, err)
					kind := Temporary
					if stage == smtp.AtDot {
						kind = Uncertain
					}
					if failure.Kind != kind {
						t.Errorf("%v, want %v: %v", failure.Kind, kind, err)
					}
					if connections, _, _ := fake.Seen(); connections != 1 {
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
		fake.Close()
		_, err := openSMTP(t, fake.Port()).Send(shortly(t), smtpMessage())
		if failure := asSMTPError(t, err); failure.Kind != Temporary || failure.Stage != "connect" {
			t.Error(err)
		}
	})
	t.Run("no such host", func(t *testing.T) {
		failure := smtpFailure(&smtp.Error{Stage: smtp.AtConnect, Err: &net.OpError{Op: "dial", Err: &net.DNSError{IsNotFound: true}}})
		if failure.Kind != Configuration {
			t.Error(failure)
		}
	})
	t.Run("look-up fails", func(t *testing.T) {
		failure := smtpFailure(&smtp.Error{Stage: smtp.AtConnect, Err: &net.OpError{Op: "dial", Err: &net.DNSError{IsTemporary: true}}})
		if failure.Kind != Temporary {
			t.Error(failure)
		}
	})
	t.Run("no TLS after STARTTLS", func(t *testing.T) {
		failure := smtpFailure(&smtp.Error{Stage: smtp.AtTLS, Err: tls.RecordHeaderError{Msg: "x"}})
		if failure.Kind != Configuration || !strings.Contains(failure.Hint, "breaks STARTTLS") {
			t.Error(failure)
		}
	})
	t.Run("a certificate that may not be one", func(t *testing.T) {
		for reason, words := range map[x509.InvalidReason]string{x509.Expired: "clock", x509.NotAuthorizedToSign: "tls.ca"} {
			failure := smtpFailure(&smtp.Error{Stage: smtp.AtTLS, Err: &tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Reason: reason}}})
			if failure.Kind != Configuration || !strings.Contains(failure.Hint, words) {
				t.Error(failure)
			}
		}
	})
	t.Run("no agreement on TLS", func(t *testing.T) {
		for op, kind := range map[string]Kind{"remote error": Configuration, "local error": Configuration, "read": Temporary} {
			failure := smtpFailure(&smtp.Error{Stage: smtp.AtTLS, Err: &net.OpError{Op: op, Err: errors.New("tls: no supported versions")}})
			if failure.Kind != kind {
				t.Errorf("%s: %v", op, failure)
			}
		}
	})
	t.Run("a signature that cannot be made", func(t *testing.T) {
		if failure := new(smtpProvider).failure(&Error{Kind: Configuration, Detail: "no key"}); failure.Kind != Configuration || failure.Detail != "no key" {
			t.Error(failure)
		}
	})
	t.Run("no port left", func(t *testing.T) {
		failure := smtpFailure(&smtp.Error{Stage: smtp.AtConnect, Err: &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.EADDRNOTAVAIL)}})
		if failure.Kind != Temporary {
			t.Error(failure)
		}
	})
	t.Run("foreign local address", func(t *testing.T) {
		fake := (&fakeSMTP{}).start(t)
		provider := openSMTP(t, fake.Port(), func(s *SMTPSettings) { s.LocalAddress = "192.0.2.1" })
		_, err := provider.Send(shortly(t), smtpMessage())
		if failure := asSMTPError(t, err); failure.Kind != Configuration || !strings.Contains(failure.Hint, "localAddress") {
			t.Error(err)
		}
	})
	t.Run("local address of the other family", func(t *testing.T) {
		fake := (&fakeSMTP{}).start(t)
		provider := openSMTP(t, fake.Port(), func(s *SMTPSettings) { s.LocalAddress = "::1" })
		_, err := provider.Send(shortly(t), smtpMessage())
		if failure := asSMTPError(t, err); failure.Kind != Configuration || !strings.Contains(failure.Hint, "localAddress") {
			t.Error(err)
		}
	})
	t.Run("not SMTP", func(t *testing.T) {
		fake := (&fakeSMTP{answer: func(smtp.Stage, int, int) string { return "HTTP/1.1 400 Bad Request" }}).start(t)
		_, err := openSMTP(t, fake.Port()).Send(shortly(t), smtpMessage())
		if failure := asSMTPError(t, err); failure.Kind != Configuration || failure.Stage != "greeting" {
			t.Error(err)
		}
	})
	t.Run("an endless greeting", func(t *testing.T) {
		fake := (&fakeSMTP{answer: func(smtp.Stage, int, int) string {
			return "220 " + strings.Repeat("x", 4<<20)
		}}).start(t)
		_, err := openSMTP(t, fake.Port()).Send(shortly(t), smtpMessage())
		if failure := asSMTPError(t, err); failure.Kind != Configuration || len(err.Error()) > 1000 {
			t.Error(err)
		}
	})
}

func FuzzSMTPRefusal(f *testing.F) {
	f.Add(550, "5.1.1", "<ada@example.net> no such user", uint(8))
	f.Add(421, "4.7.0", "try again\nlater", uint(11))
	f.Fuzz(func(t *testing.T, code int, enhanced, text string, shift uint) {
		if code < 200 || code > 599 || len(enhanced) > len("5.123.123") {
			return
		}
		stage := smtp.AtConnect << (shift % 12)
		failure := refusal(stage, smtp.Reply{Code: code, Enhanced: enhanced, Text: text})
		if failure.Kind < Recipient || failure.Kind > Uncertain || failure.Stage == "" || len(failure.Error()) > 1000 {
			t.Fatalf("%+v", failure)
		}
		if failure.Kind == Uncertain && (stage != smtp.AtDot || code >= 400) {
			t.Fatalf("a verdict came back: %v", failure)
		}
		if failure.AboutAddress && failure.Kind != Temporary || failure.Filtered && failure.Kind != Content {
			t.Fatalf("%+v", failure)
		}
		if failure.Quota && failure.Kind != RateLimited || failure.Suppressed && failure.Kind != Recipient {
			t.Fatalf("%+v", failure)
		}
		if failure.Kind == Recipient && stage&(smtp.AtRCPT|smtp.AtDATA|smtp.AtDot) == 0 && code != 559 && code != 561 && code != 563 {
			t.Fatalf("the recipient was not known yet: %v", failure)
		}
		if errors.Unwrap(failure) != nil {
			t.Fatal("a refusal has no cause beside the reply")
		}
	})
}

// What may be over in a moment says so, if the server did not take the mail up.
func TestSMTPMomentary(t *testing.T) {
	for _, row := range []struct {
		at        smtp.Stage
		reply     string
		momentary bool
	}{
		{smtp.AtGreeting, "421 4.3.2 try later", true},
		{smtp.AtGreeting, smtptest.EOF, true},
		{smtp.AtGreeting, "554 not you", false},
		{smtp.AtEHLO, smtptest.Reset, true},
		{smtp.AtMAIL, "451 4.3.0 not now", true},
		{smtp.AtMAIL, "421 4.3.2 restarting", true},
		{smtp.AtGreeting, "421 4.7.0 mx.example.net Error: too many connections from 192.0.2.7", true},
		{smtp.AtMAIL, "421 4.7.0 too many messages per minute", false},
		{smtp.AtDATA, "454 Throttling failure: Maximum sending rate exceeded.", true},
		{smtp.AtDot, "454 Throttling failure: Maximum sending rate exceeded.", true}, // https://github.com/ItzNotABug/ghosler/issues/25
		{smtp.AtDot, "432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded", true},
		{smtp.AtDot, "450 4.7.1 too many messages per minute", false},
		{smtp.AtMAIL, "450 4.7.1 Error: too much mail from 192.0.2.7", false},
		{smtp.AtEHLO, "454 4.7.0 Too many login attempts, please try again later", false},
		{smtp.AtRCPT, "451 4.3.0 Temporary lookup failure", true},
		{smtp.AtRCPT, "450 4.2.0 Greylisted", false},
		{smtp.AtRCPT, "454 4.7.1 <ada@example.net>: Relay access denied", false},
		{smtp.AtRCPT, "550 5.1.1 no such user", false},
		{smtp.AtMAIL, "452 daily limit", false},
		{smtp.AtMAIL, "550 5.4.4 Unable to route", false},
		{smtp.AtMAIL, "500 5.4.4 Unable to route", false},
		{smtp.AtDATA, "451 4.3.0 not now", true},
		{smtp.AtDot, "451 4.3.0 not now", false},
		{smtp.AtDot, smtptest.EOF, false},
	} {
		t.Run(fmt.Sprint(row.at, " ", row.reply), func(t *testing.T) {
			fake := (&fakeSMTP{answer: saying(row.at, row.reply)}).start(t)
			_, err := openSMTP(t, fake.Port()).Send(shortly(t), smtpMessage())
			if e := asSMTPError(t, err); e.Momentary != row.momentary {
				t.Errorf("%v: %v", e.Momentary, e)
			}
		})
	}
	fake := (&fakeSMTP{}).start(t)
	provider := openSMTP(t, fake.Port())
	fake.Close()
	_, err := provider.Send(shortly(t), smtpMessage())
	if e := asSMTPError(t, err); !e.Momentary {
		t.Errorf("refused: %v", e)
	}
	_ = provider.Close()
	_, err = provider.Send(shortly(t), smtpMessage())
	if e := asSMTPError(t, err); e.Momentary {
		t.Errorf("closed by a new configuration: %v", e)
	}
	if e := (&smtpProvider{}).failure(&smtp.Error{Stage: smtp.AtConnect, Err: &smtp.BusyError{Connections: 5, Err: context.DeadlineExceeded}}); e.Momentary {
		t.Errorf("at the bound of the pool: %v", e)
	}
}

// Who does not log in is told to, where a login may help.
func TestSMTPWithoutALogin(t *testing.T) {
	for _, row := range []struct {
		at          smtp.Stage
		reply, hint string
	}{
		{smtp.AtGreeting, "554 5.7.1 Client host [192.0.2.7] blocked using zen.spamhaus.org", refusedIP},
		{smtp.AtMAIL, "554 5.7.1 Client host [192.0.2.7] blocked using zen.spamhaus.org", needLogin},
		{smtp.AtMAIL, "534 5.7.9 no", needLogin},
		{smtp.AtMAIL, "535 5.7.8 no", needLogin},
		{smtp.AtMAIL, "550 5.1.8 no", checkSender},
	} {
		fake := (&fakeSMTP{answer: saying(row.at, row.reply)}).start(t)
		_, err := openSMTP(t, fake.Port()).Send(shortly(t), smtpMessage())
		if e := asSMTPError(t, err); e.Hint != row.hint {
			t.Errorf("%s %s: %s", row.at, row.reply, e.Hint)
		}
	}
}

// A limit of the operator's own holds mails back, and names itself.
func TestSMTPRateLimit(t *testing.T) {
	fake := (&fakeSMTP{}).start(t)
	provider := openSMTP(t, fake.Port(), func(s *SMTPSettings) { s.RateLimit, s.RateDelta = 1, settings.Milliseconds(time.Hour) })
	if _, err := provider.Send(shortly(t), smtpMessage()); err != nil {
		t.Fatal(err)
	}
	_, err := provider.Send(shortly(t), smtpMessage())
	if e := asSMTPError(t, err); e.Kind != RateLimited || e.Quota || e.RetryAfter < 59*time.Minute || !strings.Contains(e.Hint, "rateLimit") {
		t.Error(err)
	}
}

// A wait that took all of the time says what it may be about.
func TestSMTPSlowOpening(t *testing.T) {
	for stage, words := range map[smtp.Stage]string{smtp.AtGreeting: "secure", smtp.AtAUTH: "an earlier login may have been refused"} {
		for _, cause := range []error{context.DeadlineExceeded, &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}} {
			if e := smtpFailure(&smtp.Error{Stage: stage, Err: cause}); e.Kind != Temporary || !strings.Contains(e.Hint, words) {
				t.Error(e)
			}
		}
	}
}

// Bounces may go to another address than the sender's in the mail, and a server may name either.
func TestSMTPNamesTheSenderOfTheMail(t *testing.T) {
	for _, c := range []struct {
		to, reply string
		kind      Kind
	}{
		{"ada@example.net", "550 5.1.1 <no-reply@acme.example>: user unknown", Configuration},
		{"ada@example.net", "550 5.1.1 <BOUNCES@acme.example>: user unknown", Configuration},
		{"ada@example.net", "550 5.1.1 no-reply@acme.example: <ada@example.net> not found", Recipient},
		{"ada@example.net", "550 5.1.1 user unknown", Recipient},
		{"ada@example.net", "550 The domain acme.example does not exist", Configuration},
		{"ada@example.net", "550 Domain does not exist: example.net (from acme.example)", Recipient},
		{"ada@example.net", "550 mx.acme.example: no such user", Recipient},
		{"ada@example.net", "550 5.1.2 no such domain example.net (from <no-reply@acme.example>)", Recipient},
		{"ada@example.net", "550-5.1.1 No such user here\r\n550 For assistance contact postmaster@acme.example", Recipient},
		{"ada@example.net", "550-Unrouteable address\r\n550 Questions? https://acme.example/mail", Recipient},
		{"ada@example.net", "550 5.1.1 could not reach <ada@example.net>: user unknown (from no-reply@acme.example)", Recipient},
		{"ada@example.net", "550 5.1.1 <no-reply@acme.example>: user unknown; contact postmaster@example.net", Configuration},
		{"bob@acme.example", "550 5.1.1 <no-reply@acme.example>: user unknown", Configuration},
		{"bob@acme.example", "550 5.1.1 <bob@acme.example>: user unknown", Recipient},
		{"bob@acme.example", "550 5.1.1 user unknown", Recipient},
	} {
		fake := (&fakeSMTP{answer: saying(smtp.AtDot, c.reply)}).start(t)
		provider := openSMTP(t, fake.Port(), func(s *SMTPSettings) { s.Envelope.From.Address.Address = "bounces@acme.example" })
		message := smtpMessage()
		message.To = c.to
		_, err := provider.Send(shortly(t), message)
		if failure := asSMTPError(t, err); failure.Kind != c.kind {
			t.Errorf("%s: %v", c.reply, err)
		}
	}
}
