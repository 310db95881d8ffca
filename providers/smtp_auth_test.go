package providers

import (
	"fmt"
	"strings"
	"testing"

	"logto-email-relay/settings"
	"logto-email-relay/smtp"
)

// What an operator is told when a login fails.
func TestSMTPAuthentication(t *testing.T) {
	for reply, hint := range map[string]string{
		"535 5.7.8 no": "auth.pass",
		"535 5.7.8 Error: authentication failed: Invalid authentication mechanism": "auth.method",
		"504 5.5.4 Unrecognized authentication type":                               "auth.method",
	} {
		fake := (&fakeSMTP{extensions: []string{"AUTH PLAIN", "PIPELINING"},
			converse: func(string, func(string) string) string { return reply }}).start(t)
		_, err := openSMTP(t, fake.Port(), withLogin, func(s *SMTPSettings) {
			s.Auth.Pass = settings.NewSecret("wrong-secret")
		}).Send(shortly(t), smtpMessage())
		if failure := asSMTPError(t, err); failure.Kind != Configuration || !strings.Contains(failure.Hint, hint) ||
			strings.Contains(fmt.Sprintf("%+v", err), "wrong-secret") {
			t.Error(err)
		}
	}
	// Servers repeat what they do not understand.
	for _, said := range []string{"wrong-1!", "d3JvbmctMSE=", "AHUAd3JvbmctMSE="} {
		fake := (&fakeSMTP{extensions: []string{"AUTH PLAIN", "PIPELINING"},
			converse: func(string, func(string) string) string { return "500 5.5.1 unknown command: " + said }}).start(t)
		_, err := openSMTP(t, fake.Port(), withLogin, func(s *SMTPSettings) {
			s.Auth.User, s.Auth.Pass = "u", settings.NewSecret("wrong-1!")
		}).Send(shortly(t), smtpMessage())
		if failure := asSMTPError(t, err); strings.Contains(failure.Error(), said) || !strings.Contains(failure.Detail, "unknown command") {
			t.Error(err)
		}
	}
	fake := (&fakeSMTP{extensions: []string{"AUTH SCRAM-SHA-256"},
		converse: func(string, func(string) string) string { return "235 2.7.0 welcome" }}).start(t)
	_, err := openSMTP(t, fake.Port(), withLogin).Send(shortly(t), smtpMessage())
	if failure := asSMTPError(t, err); failure.Kind != Configuration || !strings.Contains(failure.Hint, "host") {
		t.Error(err)
	}
	for offer, hint := range map[string]string{
		"SIZE":             "remove auth",
		"AUTH GSSAPI NTLM": "",
	} {
		fake := (&fakeSMTP{extensions: []string{offer}}).start(t)
		_, err := openSMTP(t, fake.Port(), withLogin).Send(shortly(t), smtpMessage())
		if failure := asSMTPError(t, err); failure.Kind != Configuration || !strings.Contains(failure.Hint, hint) {
			t.Error(err)
		}
	}
	fake = (&fakeSMTP{extensions: []string{"AUTH PLAIN"}}).start(t)
	_, err = openSMTP(t, fake.Port(), withLogin, func(s *SMTPSettings) { s.AuthMethod = "SCRAM-SHA-256" }).Send(shortly(t), smtpMessage())
	if failure := asSMTPError(t, err); failure.Kind != Configuration || !strings.Contains(failure.Detail, "SCRAM-SHA-256") || !strings.Contains(failure.Hint, "auth.method") {
		t.Error(err)
	}
	for wanted, hint := range map[string]string{"": "", "XOAUTH2": `remove "type": "oauth2"`, "LOGIN": "remove auth.method"} {
		failure := smtpFailure(&smtp.Error{Stage: smtp.AtAUTH, Err: &smtp.MechanismError{Wanted: wanted, Offered: []string{"PLAIN"}}})
		if failure.Kind != Configuration || !strings.Contains(failure.Hint, hint) || (hint == "") != (failure.Hint == "") {
			t.Errorf("%s: %v", wanted, failure)
		}
	}
}
