package providers

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"logto-email-relay/settings"
	"logto-email-relay/smtp"
)

// testAuthority is a certificate authority of the test's own.
type testAuthority struct {
	key    *ecdsa.PrivateKey
	cert   *x509.Certificate
	pem    string
	server *tls.Config // for 127.0.0.1 and mail.example
	// signs is how, if not as usual.
	signs x509.SignatureAlgorithm
}

func newTestAuthority(t testing.TB) *testAuthority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Authority of a test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a := &testAuthority{key: key, cert: cert,
		pem: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))}
	a.server = a.issue(t, time.Now().Add(time.Hour), "mail.example", "127.0.0.1")
	return a
}

func (a *testAuthority) keyPEM(t testing.TB) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func (a *testAuthority) issue(t testing.TB, until time.Time, names ...string) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return a.issueFor(t, key, until, names...)
}

// issueRSA makes a certificate for a key that a client can encrypt for.
func (a *testAuthority) issueRSA(t testing.TB) *tls.Config {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return a.issueFor(t, key, time.Now().Add(time.Hour), "127.0.0.1")
}

// issueFor makes a certificate; an empty name leaves it with a common name alone.
func (a *testAuthority) issueFor(t testing.TB, key crypto.Signer, until time.Time, names ...string) *tls.Config {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: names[0]}, SignatureAlgorithm: a.signs,
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: until, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
	}
	for _, name := range names {
		if name == "" {
			template.Subject.CommonName = "127.0.0.1"
		} else if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// One that answers with TLS 1.0, and not with an alert: https://github.com/gophish/gophish/issues/2503
func TestSMTPServerWithAnOldTLS(t *testing.T) {
	listener := listen(t)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = conn.Read(make([]byte, 4096))
		_, _ = io.WriteString(conn, "\x16\x03\x01\x00\x2a\x02\x00\x00\x26\x03\x01"+strings.Repeat("r", 32)+"\x00\x00\x2f\x00")
		_, _ = io.Copy(io.Discard, conn)
	}()
	yes := true
	provider := openSMTP(t, listener.Addr().(*net.TCPAddr).Port, func(s *SMTPSettings) { s.Secure = &yes })
	_, err := provider.Send(shortly(t), smtpMessage())
	if e := asSMTPError(t, err); e.Kind != Configuration || e.Stage != "TLS" || !strings.Contains(e.Hint, "tls.minVersion") {
		t.Error(e)
	}
}

func TestSMTPTLS(t *testing.T) {
	authority := newTestAuthority(t)
	weak := *authority
	weak.signs = x509.ECDSAWithSHA1
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, []byte(authority.pem), 0o600); err != nil {
		t.Fatal(err)
	}
	yes, no := true, false
	trusting := func(s *SMTPSettings) { s.TLS.CA = settings.Texts{authority.pem} }
	starttls := []string{"PIPELINING", "STARTTLS"}
	onlyRSA := authority.issueRSA(t)
	onlyRSA.MaxVersion, onlyRSA.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}
	wantsClient := authority.server.Clone()
	wantsClient.ClientAuth = tls.RequireAnyClientCert
	withoutSAN := authority.issue(t, time.Now().Add(time.Hour), "")
	for _, test := range []struct {
		name       string
		extensions []string
		implicit   bool
		server     *tls.Config
		change     func(*SMTPSettings)
		secure     bool
		// the failure, when one is wanted
		kind  Kind
		stage string
		hint  string
	}{
		{name: "offered", extensions: starttls, change: trusting, secure: true},
		{name: "not offered", extensions: []string{"PIPELINING"}, change: trusting},
		{name: "ignored", extensions: starttls, change: func(s *SMTPSettings) { s.IgnoreTLS = true }},
		{name: "required", extensions: starttls, secure: true, change: func(s *SMTPSettings) { trusting(s); s.RequireTLS = true }},
		{name: "required, not offered", extensions: []string{"PIPELINING"}, change: func(s *SMTPSettings) { trusting(s); s.RequireTLS = true },
			kind: Configuration, stage: "STARTTLS", hint: "secure"},
		{name: "implicit", implicit: true, secure: true, change: func(s *SMTPSettings) { trusting(s); s.Secure = &yes }},
		{name: "CA in a file", extensions: starttls, secure: true, change: func(s *SMTPSettings) { s.TLS.CA = settings.Texts{file} }},
		{name: "servername", extensions: starttls, server: authority.issue(t, time.Now().Add(time.Hour), "mail.example"), secure: true,
			change: func(s *SMTPSettings) { trusting(s); s.ServerName = "mail.example" }},
		{name: "tls.servername first", extensions: starttls, secure: true,
			change: func(s *SMTPSettings) { trusting(s); s.ServerName = "other.example"; s.TLS.ServerName = "mail.example" }},
		{name: "any certificate", extensions: starttls, secure: true, change: func(s *SMTPSettings) { s.TLS.RejectUnauthorized = &no }},
		{name: "key exchange by RSA", extensions: starttls, secure: true, server: onlyRSA,
			change: func(s *SMTPSettings) { trusting(s); s.TLS.Ciphers = "AES128-SHA" }},
		{name: "key exchange by RSA, all ciphers", extensions: starttls, secure: true, server: onlyRSA,
			change: func(s *SMTPSettings) { trusting(s); s.TLS.Ciphers = "SSLv3" }},
		{name: "key exchange by RSA, its group", extensions: starttls, secure: true, server: onlyRSA,
			change: func(s *SMTPSettings) { trusting(s); s.TLS.Ciphers = "kRSA" }},
		{name: "client certificate", extensions: starttls, secure: true, server: wantsClient, change: func(s *SMTPSettings) {
			trusting(s)
			s.TLS.Cert, s.TLS.Key = settings.Texts{authority.pem}, settings.NewSecret(authority.keyPEM(t))
		}},
		{name: "TLS 1.2 server", extensions: starttls, secure: true, change: trusting,
			server: &tls.Config{Certificates: authority.server.Certificates, MaxVersion: tls.VersionTLS12}},

		{name: "no key exchange by RSA unless allowed", extensions: starttls, server: onlyRSA, change: trusting,
			kind: Configuration, stage: "TLS", hint: "tls.ciphers"},
		{name: "no key exchange by RSA in the other group", extensions: starttls, server: onlyRSA,
			change: func(s *SMTPSettings) { trusting(s); s.TLS.Ciphers = "ECDHE" }, kind: Configuration, stage: "TLS", hint: "tls.ciphers"},
		{name: "no client certificate", extensions: starttls, server: wantsClient, change: trusting,
			kind: Configuration, stage: "EHLO", hint: "tls.cert"},
		{name: "a certificate with a common name alone", extensions: starttls, server: withoutSAN, change: trusting,
			kind: Configuration, stage: "TLS", hint: "subject alternative name"},
		{name: "unknown authority", extensions: starttls, change: func(*SMTPSettings) {}, kind: Configuration, stage: "TLS", hint: "tls.ca"},
		{name: "signed with SHA-1", extensions: starttls, server: weak.issue(t, time.Now().Add(time.Hour), "127.0.0.1"), change: trusting,
			kind: Configuration, stage: "TLS", hint: "renew it"},
		{name: "unknown authority, implicit", implicit: true, change: func(s *SMTPSettings) { s.Secure = &yes },
			kind: Configuration, stage: "TLS", hint: "tls.ca"},
		{name: "other name", extensions: starttls, change: func(s *SMTPSettings) { trusting(s); s.ServerName = "other.example" },
			kind: Configuration, stage: "TLS", hint: "servername"},
		{name: "expired", extensions: starttls, server: authority.issue(t, time.Now().Add(-time.Hour), "127.0.0.1"), change: trusting,
			kind: Configuration, stage: "TLS", hint: "clock"},
		{name: "too old", extensions: starttls, change: func(s *SMTPSettings) { trusting(s); s.TLS.MinVersion = "TLSv1.3" },
			server: &tls.Config{Certificates: authority.server.Certificates, MaxVersion: tls.VersionTLS12},
			kind:   Configuration, stage: "TLS", hint: "tls.minVersion"},
		{name: "implicit where STARTTLS is spoken", extensions: starttls, change: func(s *SMTPSettings) { trusting(s); s.Secure = &yes },
			kind: Configuration, stage: "TLS", hint: `remove "secure": true`},
		{name: "STARTTLS where TLS comes first", implicit: true, change: func(s *SMTPSettings) { s.GreetingTimeout = settings.Milliseconds(50e6) },
			kind: Temporary, stage: "greeting", hint: `"secure": true`},
	} {
		t.Run(test.name, func(t *testing.T) {
			config := test.server
			if config == nil {
				config = authority.server
			}
			fake := (&fakeSMTP{extensions: test.extensions, implicit: test.implicit, tls: config}).start(t)
			provider := openSMTP(t, fake.Port(), test.change)
			_, err := provider.Send(shortly(t), smtpMessage())
			if test.kind != 0 {
				failure := asSMTPError(t, err)
				if failure.Kind != test.kind || failure.Stage != test.stage || !strings.Contains(failure.Hint, test.hint) {
					t.Error(err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if (fake.Secured() == 1) != test.secure {
				t.Errorf("%d mails came in TLS", fake.Secured())
			}
		})
	}
}

// A password never leaves this machine in clear text, whatever the settings
// and the server say.
func TestSMTPNoLoginInClearText(t *testing.T) {
	for host, want := range map[string]bool{"localhost": true, "127.0.0.1": true, "192.0.2.1": false, "smtp.example.com": false} {
		s := newSMTPSettings()
		s.Host = host
		withLogin(s)
		if server, err := s.server(nil); err != nil || server.ClearTextLogin != want {
			t.Errorf("%s: %v %v", host, server.ClearTextLogin, err)
		}
		s.Proxy = settings.NewSecret("http://bastion.example:3128") // where localhost is another machine
		if server, err := s.server(nil); err != nil || server.ClearTextLogin || server.TLSMode != smtp.TLSRequired {
			t.Errorf("%s behind a proxy: %v %v %v", host, server.ClearTextLogin, server.TLSMode, err)
		}
	}
	failure := smtpFailure(&smtp.Error{Stage: smtp.AtAUTH, Err: smtp.ErrClearText})
	if failure.Kind != Configuration || failure.Stage != "AUTH" || !strings.Contains(failure.Hint, "requireTLS") {
		t.Error(failure)
	}
}
