package providers

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-msgauth/dkim"

	"logto-email-relay/mail"
	"logto-email-relay/settings"
)

// Signatures hold before an independent verifier, many made at a time.
func TestSMTPDKIM(t *testing.T) {
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]crypto.Signer{"ed25519": edKey, "rsa": rsaKey} {
		t.Run(name, func(t *testing.T) {
			der, err := x509.MarshalPKCS8PrivateKey(key)
			if err != nil {
				t.Fatal(err)
			}
			public, err := x509.MarshalPKIXPublicKey(key.Public())
			if edPublic, ok := key.Public().(ed25519.PublicKey); ok {
				public, err = edPublic, nil
			}
			if err != nil {
				t.Fatal(err)
			}
			record := "v=DKIM1; k=" + name + "; p=" + base64.StdEncoding.EncodeToString(public)

			fake := (&fakeSMTP{extensions: []string{"PIPELINING"}}).start(t)
			provider := openSMTP(t, fake.port(), func(s *SMTPSettings) {
				s.DKIM = &SMTPDKIM{Domain: "acme.example", Selector: "relay2026", PrivateKey: settings.NewSecret(
					string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))}
			})
			var group sync.WaitGroup
			for _, change := range []func(*mail.Message){
				func(*mail.Message) {},
				func(m *mail.Message) { m.Subject = strings.Repeat("Ваш код ", 20); m.From.Name = "Акме" },
				func(m *mail.Message) { m.ReplyTo.Address = ""; m.HTML = nil; m.Text = "one line \nand\n\n\n" },
				func(m *mail.Message) { m.HTML = mail.BodyOf(strings.Repeat("<p>.\n.. ü  </p>\t\n", 50)) },
			} {
				message := smtpMessage()
				change(message)
				group.Go(func() {
					if _, err := provider.Send(shortly(t), message); err != nil {
						t.Error(err)
					}
				})
			}
			group.Wait()
			_, _, mails := fake.seen()
			if len(mails) != 4 {
				t.Fatalf("%d mails", len(mails))
			}
			for _, raw := range mails {
				raw = strings.ReplaceAll(raw, "\n", "\r\n")
				verify := func(text string) error {
					verifications, err := dkim.VerifyWithOptions(strings.NewReader(text), &dkim.VerifyOptions{
						LookupTXT: func(domain string) ([]string, error) {
							if domain != "relay2026._domainkey.acme.example" {
								t.Errorf("asked for %s", domain)
							}
							return []string{record}, nil
						},
					})
					if err != nil || len(verifications) != 1 {
						t.Fatalf("%v %v", verifications, err)
					}
					return verifications[0].Err
				}
				if err := verify(raw); err != nil {
					t.Errorf("%v:\n%s", err, raw)
				}
				for _, spoiled := range []string{
					strings.Replace(raw, "\r\nFrom:", "\r\nFrom: Eve", 1),
					strings.Replace(raw, "\r\nSubject:", "\r\nSubject: Re", 1),
					strings.TrimSuffix(raw, "\r\n") + "more\r\n",
				} {
					if verify(spoiled) == nil {
						t.Error("a spoiled message passes")
					}
				}
			}
		})
	}
}
