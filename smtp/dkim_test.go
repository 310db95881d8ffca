package smtp

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-msgauth/dkim"
)

// Signatures hold, and nothing can be added or changed, many made at a time.
func TestDKIM(t *testing.T) {
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

			signer, err := NewDKIM("acme.example", "relay2026", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
			if err != nil {
				t.Fatal(err)
			}
			var group sync.WaitGroup
			mails := make([]string, 4)
			for i, change := range []func(*Message){
				func(*Message) {},
				func(m *Message) { m.Subject = strings.Repeat("Ваш код ", 20); m.From.Name = "Акме" },
				func(m *Message) {
					m.ReplyTo.Address, m.HTML, m.Text = "", nil, testText("one line \nand\n\n\n")
				},
				func(m *Message) { m.HTML = testText(strings.Repeat("<p>.\n.. ü  </p>\t\n", 50)) },
			} {
				message := testMessage()
				change(message)
				group.Go(func() {
					built, err := message.AppendTo(nil)
					if err == nil {
						built, err = signer.Sign(built)
					}
					if err != nil {
						t.Error(err)
					}
					mails[i] = string(built)
				})
			}
			group.Wait()
			for _, raw := range mails {
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
					"Subject: Another\r\n" + raw,
					"From: Eve <eve@example.org>\r\n" + raw,
					"To: eve@example.org\r\n" + raw,
					"Reply-To: eve@example.org\r\n" + raw,
					"Cc: eve@example.org\r\n" + raw,
					"Content-Type: text/plain\r\n" + raw,
				} {
					if verify(spoiled) == nil {
						t.Error("a spoiled message passes")
					}
				}
			}
		})
	}
}

// What a server replaces need not be signed.
func TestDKIMSkips(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	key := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}))
	signer, err := NewDKIM("acme.example", "relay2026", key, "message-id", " Date ")
	if err != nil {
		t.Fatal(err)
	}
	built, err := testMessage().AppendTo(nil)
	if err == nil {
		built, err = signer.Sign(built)
	}
	if err != nil {
		t.Fatal(err)
	}
	for old, want := range map[string]bool{"\r\nMessage-ID: <": true, "\r\nDate: ": true, "\r\nSubject: ": false} {
		changed := strings.Replace(string(built), old, old+"x", 1)
		found, err := dkim.VerifyWithOptions(strings.NewReader(changed), &dkim.VerifyOptions{LookupTXT: func(string) ([]string, error) {
			return []string{"v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(public)}, nil
		}})
		if err != nil || len(found) != 1 || (found[0].Err == nil) != want {
			t.Errorf("%q: %v %+v", old, err, found)
		}
	}
	if _, err := NewDKIM("acme.example", "relay2026", key, "from"); !errors.Is(err, ErrUnsignedFrom) {
		t.Error(err)
	}
}

func TestDKIMKey(t *testing.T) {
	if _, err := NewDKIM("acme.example", "relay2026", "no key"); err == nil {
		t.Error("a key that is none was taken")
	}
}
