package providers

import (
	"net"
	"strconv"
	"sync"
	"testing"

	"logto-email-relay/settings"
	"logto-email-relay/smtp"
	"logto-email-relay/smtp/smtptest"
)

func smtpFixture() fixture {
	return fixture{
		settings: func(address string) Settings {
			s := newSMTPSettings()
			s.Type, s.Host = "smtp", "127.0.0.1"
			if _, port, err := net.SplitHostPort(address); err == nil {
				s.Port, _ = strconv.Atoi(port)
			}
			withLogin(s)
			return s
		},
		mistakes: map[string]func(Settings){
			"auth.pass":     func(s Settings) { s.(*SMTPSettings).Auth.Pass = settings.Secret{} },
			"auth.user":     func(s Settings) { s.(*SMTPSettings).Auth.User = "" },
			"auth.type":     func(s Settings) { s.(*SMTPSettings).Auth.Type = "magic" },
			"endpoint":      func(s Settings) { s.Shared().Endpoint = "https://smtp.example.com" },
			"ignoreTLS":     func(s Settings) { s.(*SMTPSettings).IgnoreTLS, s.(*SMTPSettings).Host = true, "smtp.example.com" },
			"envelope.from": func(s Settings) { s.(*SMTPSettings).Envelope.From.Address.Address = "bounces+{{ref}}@acme.example" },
			"bounces.auth": func(s Settings) {
				s.(*SMTPSettings).Auth, s.(*SMTPSettings).Bounces = nil, &SMTPBounces{Host: "imap.example.com"}
			},
			"bounces.poll": func(s Settings) {
				s.(*SMTPSettings).Bounces = &SMTPBounces{Host: "imap.example.com", Poll: settings.Duration(1)}
			},
			"bounces.moveTo": func(s Settings) {
				s.(*SMTPSettings).Bounces = &SMTPBounces{Host: "imap.example.com", Processed: "moved"}
			},
			"tls.ca": func(s Settings) { s.(*SMTPSettings).TLS.CA = settings.Texts{"-----BEGIN nothing"} },
		},
		secrets:      []string{"pa55-word-of-the-relay"},
		id:           "FAKE1X1",
		brokenAnswer: Uncertain,
		anyAddress:   true,
		serve: func(t testing.TB, treat treatment) *fake {
			server := &fakeSMTP{extensions: []string{"PIPELINING", "SMTPUTF8", "SIZE 10000000", "AUTH PLAIN LOGIN"}}
			stalled := make(chan struct{})
			stall := sync.OnceFunc(func() { close(stalled) })
			server.answer = func(stage smtp.Stage, _, _ int) string {
				if stage != smtp.AtDot {
					return ""
				}
				if treat == stalls {
					stall()
				}
				return map[treatment]string{breaksOff: smtptest.EOF, cuts: smtptest.Reset, stalls: smtptest.Stall}[treat]
			}
			server.start(t)
			return &fake{
				address: net.JoinHostPort("127.0.0.1", strconv.Itoa(server.Port())),
				mails: func() []string {
					_, _, mails := server.Seen()
					return mails
				},
				connections: func() int {
					connections, _, _ := server.Seen()
					return connections
				},
				stalled: stalled,
			}
		},
	}
}
