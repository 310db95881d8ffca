package providers

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"logto-email-relay/settings"
	"logto-email-relay/smtp"
)

func TestSMTPMode(t *testing.T) {
	yes, no := true, false
	login := &SMTPAuth{Type: "login", User: "relay", Pass: settings.NewSecret("x")}
	for _, test := range []struct {
		name string
		SMTPSettings
		mode smtp.TLSMode
		port int
	}{
		{"nothing written", SMTPSettings{}, smtp.TLSOffered, 587},
		{"25", SMTPSettings{Port: 25}, smtp.TLSOffered, 25},
		{"465", SMTPSettings{Port: 465}, smtp.TLSImplicit, 465},
		{"Amazon's 2465", SMTPSettings{Port: 2465}, smtp.TLSImplicit, 2465},
		{"secure alone", SMTPSettings{Secure: &yes}, smtp.TLSImplicit, 465},
		{"secure elsewhere", SMTPSettings{Secure: &yes, Port: 8465}, smtp.TLSImplicit, 8465},
		{"a login", SMTPSettings{Auth: login}, smtp.TLSRequired, 587},
		{"a login at 25", SMTPSettings{Auth: login, Port: 25}, smtp.TLSRequired, 25},
		{"a login at 465", SMTPSettings{Auth: login, Port: 465}, smtp.TLSImplicit, 465},
		{"a login, secure false", SMTPSettings{Auth: login, Secure: &no, Port: 587}, smtp.TLSRequired, 587},
		{"an empty login", SMTPSettings{Auth: &SMTPAuth{Type: "login"}}, smtp.TLSOffered, 587},
		{"required", SMTPSettings{RequireTLS: true, Port: 25}, smtp.TLSRequired, 25},
		{"ignored", SMTPSettings{IgnoreTLS: true}, smtp.TLSOff, 587},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := test.SMTPSettings
			s.Host = "smtp.example.com"
			if problems := s.Check(); len(problems) > 0 {
				t.Errorf("%v", problems)
			}
			if s.mode() != test.mode || s.port() != test.port {
				t.Errorf("mode %d port %d, want %d and %d", s.mode(), s.port(), test.mode, test.port)
			}
		})
	}
	for _, host := range []string{"localhost", "LOCALHOST", "127.0.0.1", "127.1.2.3", "::1"} {
		s := SMTPSettings{Host: host, Auth: login}
		if s.mode() != smtp.TLSOffered {
			t.Errorf("%s: a login on this machine needs no TLS", host)
		}
		for proxy, mode := range map[string]smtp.TLSMode{"socks5://LOCALHOST:1080": smtp.TLSOffered, "socks5://bastion.example:1080": smtp.TLSRequired} {
			if s.Proxy = settings.NewSecret(proxy); s.mode() != mode {
				t.Errorf("%s behind %s: %v", host, proxy, s.mode())
			}
		}
	}
}

func TestSMTPCheck(t *testing.T) {
	yes, no := true, false
	login := func(change func(*SMTPAuth)) *SMTPAuth {
		auth := &SMTPAuth{Type: "login", User: "relay", Pass: settings.NewSecret("x")}
		change(auth)
		return auth
	}
	none := func(*SMTPAuth) {}
	for _, test := range []struct {
		name string
		SMTPSettings
		keys string
	}{
		{"secure with 587", SMTPSettings{Secure: &yes, Port: 587}, "secure"},
		{"not secure with 465", SMTPSettings{Secure: &no, Port: 465}, "secure"},
		{"ignored and required", SMTPSettings{IgnoreTLS: true, RequireTLS: true}, "ignoreTLS"},
		{"ignored and implicit", SMTPSettings{IgnoreTLS: true, Port: 465}, "ignoreTLS"},
		{"ignored with a login", SMTPSettings{IgnoreTLS: true, Auth: login(none)}, "ignoreTLS"},
		{"tokens behind a proxy", SMTPSettings{Host: "smtp.example.com", Common: Common{Proxy: settings.NewSecret("http://bastion.example:3128")},
			Auth: &SMTPAuth{Type: "oauth2", User: "a@b.example", AccessToken: settings.NewSecret("x"), AccessURL: "http://127.0.0.1/token"}}, "auth.accessUrl"},
		{"unknown type", SMTPSettings{Auth: login(func(a *SMTPAuth) { a.Type = "ntlm" })}, "auth.type"},
		{"Login", SMTPSettings{Auth: login(func(a *SMTPAuth) { a.Type = "LOGIN" })}, ""},
		{"no password", SMTPSettings{Auth: login(func(a *SMTPAuth) { a.Pass = settings.Secret{} })}, "auth.pass"},
		{"no user", SMTPSettings{Auth: login(func(a *SMTPAuth) { a.User = "" })}, "auth.user"},
		{"method", SMTPSettings{Auth: login(func(a *SMTPAuth) { a.Method = "NTLM" })}, "auth.method"},
		{"method elsewhere", SMTPSettings{Auth: login(none), AuthMethod: "NTLM"}, "authMethod"},
		{"known method", SMTPSettings{Auth: login(none), AuthMethod: "plain"}, ""},
		{"CA that is none", SMTPSettings{TLS: SMTPTLS{CA: settings.Texts{"-----BEGIN CERTIFICATE-----\nx"}}}, "tls.ca"},
		{"CA file that is none", SMTPSettings{TLS: SMTPTLS{CA: settings.Texts{"/no/such/file"}}}, "tls.ca"},
		{"proxy", SMTPSettings{Common: Common{Proxy: settings.NewSecret("ftp://proxy.example:3128")}}, "proxy"},
		{"proxy without a host", SMTPSettings{Common: Common{Proxy: settings.NewSecret("socks5://:1080")}}, "proxy"},
		{"IPv6 from IPv4", SMTPSettings{Common: Common{IPv4: true, LocalAddress: "2001:db8::1"}}, "localAddress"},
		{"endpoint", SMTPSettings{Common: Common{Endpoint: "https://smtp.example.com"}}, "endpoint"},
		{"DKIM key", SMTPSettings{DKIM: &SMTPDKIM{Domain: "acme.example", Selector: "s1", PrivateKey: settings.NewSecret("x")}}, "dkim.privateKey"},
		{"DKIM selector", SMTPSettings{DKIM: &SMTPDKIM{Domain: "acme.example", Selector: "relay_2026.eu"}}, ""},
		{"DKIM selector of 63 letters", SMTPSettings{DKIM: &SMTPDKIM{Domain: "acme.example", Selector: strings.Repeat("s", 63)}}, ""},
		{"DKIM selector of 64 letters", SMTPSettings{DKIM: &SMTPDKIM{Domain: "acme.example", Selector: strings.Repeat("s", 64)}}, "dkim.selector"},
		{"DKIM selector with its domain", SMTPSettings{DKIM: &SMTPDKIM{Domain: "acme.example", Selector: "s1._domainkey.acme.example"}}, "dkim.selector"},
		{"DKIM selector with blanks", SMTPSettings{DKIM: &SMTPDKIM{Domain: "acme.example", Selector: "s1; x=1"}}, "dkim.selector"},
		{"DKIM in nodemailer's words", SMTPSettings{DKIM: &SMTPDKIM{DomainName: "acme.example", KeySelector: "s1", PrivateKey: settings.NewSecret(testKey(t))}}, ""},
		{"DKIM selector with its domain in nodemailer's words", SMTPSettings{DKIM: &SMTPDKIM{DomainName: "acme.example", KeySelector: "s1._domainkey.acme.example"}}, "dkim.keySelector"},
		{"DKIM without names", SMTPSettings{DKIM: &SMTPDKIM{}}, "dkim.domain dkim.selector"},
		{"DKIM of two domains", SMTPSettings{DKIM: &SMTPDKIM{Domain: "acme.example", DomainName: "other.example", Selector: "s1", KeySelector: "s1"}}, "dkim.domain"},
		{"DKIM without From", SMTPSettings{DKIM: &SMTPDKIM{Domain: "acme.example", Selector: "s1", SkipFields: "date:from", PrivateKey: settings.NewSecret(testKey(t))}}, "dkim.skipFields"},
		{"ciphers", SMTPSettings{TLS: SMTPTLS{Ciphers: "AES128-SHA:!RC4"}}, ""},
		{"ciphers as pasted for Outlook", SMTPSettings{TLS: SMTPTLS{Ciphers: "SSLv3"}}, ""},
		{"ciphers of a list", SMTPSettings{TLS: SMTPTLS{Ciphers: "DEFAULT:!aNULL:-kRSA:+HIGH:@SECLEVEL=0"}}, ""},
		{"ciphers of TLS 1.3, too", SMTPSettings{TLS: SMTPTLS{Ciphers: "TLS_AES_128_GCM_SHA256:AES128-SHA"}}, ""},
		{"cipher that is none", SMTPSettings{TLS: SMTPTLS{Ciphers: "AES129-SHA"}}, "tls.ciphers"},
		{"ciphers that are none", SMTPSettings{TLS: SMTPTLS{Ciphers: "ALL:!ALL"}}, "tls.ciphers"},
		{"certificate without a key", SMTPSettings{TLS: SMTPTLS{Cert: settings.Texts{newTestAuthority(t).pem}}}, "tls.key"},
		{"key without a certificate", SMTPSettings{TLS: SMTPTLS{Key: settings.NewSecret(testKey(t))}}, "tls.cert"},
		{"key of another certificate", SMTPSettings{TLS: SMTPTLS{Cert: settings.Texts{newTestAuthority(t).pem}, Key: settings.NewSecret(testKey(t))}}, "tls.key"},
		{"several", SMTPSettings{Secure: &yes, Port: 587, Auth: login(func(a *SMTPAuth) { a.Type = "x" })}, "secure auth.type"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := test.SMTPSettings
			s.Host = "smtp.example.com"
			var keys []string
			for _, problem := range s.Check() {
				keys = append(keys, problem.Key)
				if problem.Text == "" {
					t.Error("a problem without words")
				}
			}
			if got := strings.Join(keys, " "); got != test.keys {
				t.Errorf("problems at %q, want %q", got, test.keys)
			}
		})
	}
}

// Environment files and CI systems take the line breaks out of keys, or write them as \n.
func TestDKIMKeysWithoutLineBreaks(t *testing.T) {
	key := strings.TrimSpace(testKey(t))
	for _, written := range []string{strings.ReplaceAll(key, "\n", `\n`), strings.ReplaceAll(key, "\n", " "), strings.ReplaceAll(key, "\n", "") + "\n"} {
		s := SMTPSettings{Host: "smtp.example.com", DKIM: &SMTPDKIM{Domain: "acme.example", Selector: "s1", PrivateKey: settings.NewSecret(written)}}
		problems := s.Check()
		if len(problems) != 1 || problems[0].Key != "dkim.privateKey" || !strings.Contains(problems[0].Text, "line breaks of the key are missing") {
			t.Errorf("got %+v", problems)
		}
	}
}

// testKey is a private key in PEM.
func testKey(t testing.TB) string {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// Every key of Logto's SMTP connector and of nodemailer's transport that a
// configuration may hold is known.
func TestSMTPKnowsEveryKey(t *testing.T) {
	var keys []string
	var collect func(reflect.Type, string)
	collect = func(of reflect.Type, prefix string) {
		for field := range of.Fields() {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if field.Anonymous {
				collect(field.Type, prefix)
				continue
			}
			keys = append(keys, prefix+name)
			inner := field.Type
			if inner.Kind() == reflect.Pointer {
				inner = inner.Elem()
			}
			if inner == reflect.TypeFor[SMTPTLS]() || inner == reflect.TypeFor[SMTPAuth]() || inner == reflect.TypeFor[SMTPDKIM]() {
				collect(inner, name+".")
			}
		}
	}
	collect(reflect.TypeFor[SMTPSettings](), "")
	for _, key := range strings.Fields(`host port auth auth.type auth.user auth.pass auth.method auth.clientId auth.clientSecret
		auth.refreshToken auth.accessToken auth.expires auth.accessUrl auth.privateKey auth.serviceClient fromEmail replyTo
		templates logger debug disableFileAccess disableUrlAccess name localAddress connectionTimeout greetingTimeout
		socketTimeout dnsTimeout secure tls tls.rejectUnauthorized tls.ca tls.servername tls.minVersion servername ignoreTLS
		requireTLS customHeaders pool maxConnections maxMessages authMethod dkim dkim.domain dkim.selector dkim.domainName dkim.keySelector dkim.privateKey
		dkim.skipFields tls.ciphers tls.cert tls.key envelope rateLimit rateDelta`) {
		if !slices.Contains(keys, key) {
			t.Errorf("%s is not known", key)
		}
	}
	sorted := slices.Clone(keys)
	slices.Sort(sorted)
	if unique := slices.Compact(slices.Clone(sorted)); len(unique) != len(keys) {
		t.Errorf("a key is there twice: %v", sorted)
	}
}

func TestSMTPDefaults(t *testing.T) {
	s := newSMTPSettings()
	s.Host = "smtp.example.com"
	if problems := s.Check(); len(problems) > 0 {
		t.Error(problems)
	}
	for want, given := range map[int]*int{0: nil, -1: new(0), 5: new(5)} {
		s.MaxMessages = given
		if server, err := s.server(nil); err != nil || server.MaxMessages != want || server.RateDelta != time.Second {
			t.Errorf("%d messages: %v", server.MaxMessages, err)
		}
	}
	server, err := s.server(nil)
	if err != nil || server.TLSTimeout != 4*time.Second || server.GreetingTimeout != 30*time.Second || server.ReplyTimeout != 4*time.Second ||
		time.Duration(s.DNSTimeout) != 6*time.Second {
		t.Errorf("%+v, %v", server, err)
	}
	for given, want := range map[int]int{0: 50, 7: 7} {
		s.MaxConcurrent = given
		if server, err := s.server(nil); err != nil || server.MaxConnections != want {
			t.Errorf("%d connections: %v", server.MaxConnections, err)
		}
	}
	if err := s.FromEmail.UnmarshalText([]byte("Acme <no-reply@acme.example>")); err != nil {
		t.Fatal(err)
	}
	if err := s.ReplyTo.UnmarshalText([]byte("help@acme.example")); err != nil {
		t.Fatal(err)
	}
	if sender := s.Sender(); sender.From.Name != "Acme" || sender.ReplyTo.Address.Address != "help@acme.example" {
		t.Errorf("%+v", sender)
	}
}

func TestSMTPEHLOName(t *testing.T) {
	machine, err := os.Hostname()
	if err != nil {
		t.Skip("this machine has no name")
	}
	for name, want := range map[string]string{
		"relay.example.com": "relay.example.com",
		"Relay.Example.com": "relay.example.com",
		"main":              "", // a name for logs, not a host's
		"Acme Mail":         "",
		"":                  "",
	} {
		s := SMTPSettings{Common: Common{Name: name}}
		got := s.ehloName()
		if want == "" {
			if got != "localhost" && !strings.EqualFold(got, machine) {
				t.Errorf("%q: %q", name, got)
			}
			continue
		}
		if got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
	fake := (&fakeSMTP{}).start(t)
	if _, err := openSMTP(t, fake.Port(), func(s *SMTPSettings) { s.Name = "relay.example.com" }).Send(shortly(t), smtpMessage()); err != nil {
		t.Fatal(err)
	}
	if _, commands, _ := fake.Seen(); commands[0] != "EHLO relay.example.com" {
		t.Errorf("%q", commands[0])
	}
}

func TestSMTPLocalAddress(t *testing.T) {
	if probe, err := net.Listen("tcp", "127.0.0.9:0"); err != nil {
		t.Skipf("127.0.0.9 cannot be used here: %v", err)
	} else {
		probe.Close()
	}
	fake := (&fakeSMTP{}).start(t)
	provider := openSMTP(t, fake.Port(), func(s *SMTPSettings) { s.LocalAddress = "127.0.0.9" })
	if _, err := provider.Send(shortly(t), smtpMessage()); err != nil {
		t.Fatal(err)
	}
	if host, _, _ := net.SplitHostPort(fake.Peers()[0]); host != "127.0.0.9" {
		t.Errorf("came from %s", host)
	}
}

func TestSMTPSecretsDoNotPrint(t *testing.T) {
	s := newSMTPSettings()
	withLogin(s)
	s.DKIM = &SMTPDKIM{PrivateKey: settings.NewSecret("pa55-word-of-the-relay")}
	for _, format := range []string{"%v", "%+v", "%#v"} {
		if text := fmt.Sprintf(format, s) + fmt.Sprintf(format, *s.Auth) + fmt.Sprintf(format, *s.DKIM); strings.Contains(text, "pa55") {
			t.Errorf("%s prints a secret: %s", format, text)
		}
	}
}
