package providers

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"logto-email-relay/settings"
)

// SMTPTLS are the options of Node's TLS that matter to a client.
type SMTPTLS struct {
	// RejectUnauthorized may be set to false to trust any certificate.
	RejectUnauthorized *bool `json:"rejectUnauthorized"`
	// CA holds certificates in PEM or names of files with them; they replace
	// the system's own.
	CA settings.Texts `json:"ca" file:"content"`
	// ServerName is the name that the certificate must have; host when not given.
	ServerName string `json:"servername" validate:"omitempty,serverhost|ip"`
	// MinVersion is TLSv1.2 when not given.
	MinVersion string `json:"minVersion" validate:"omitempty,oneof=TLSv1 TLSv1.1 TLSv1.2 TLSv1.3"`
	// Ciphers is OpenSSL's list of what is allowed up to TLS 1.2; Go's choice when
	// not given, which leaves out the exchange of keys by RSA alone.
	Ciphers string `json:"ciphers"`
	// Cert and Key show the server who the relay is, both in PEM. Cert may name files.
	Cert settings.Texts  `json:"cert" file:"content"`
	Key  settings.Secret `json:"key"`
}

func (t *SMTPTLS) check(report func(key, text string)) {
	if _, err := t.authorities(); err != nil {
		report("tls.ca", err.Error())
	}
	if _, err := t.ciphers(); err != nil {
		report("tls.ciphers", err.Error())
	}
	switch _, err := t.certificates(); {
	case len(t.Cert) == 0 && t.Key.Reveal() != "":
		report("tls.cert", "the key needs its certificate")
	case len(t.Cert) > 0 && t.Key.Reveal() == "":
		report("tls.key", "write the private key of the certificate, such as ${file:/run/secrets/client.key}")
	case strings.Contains(t.Key.Reveal(), "ENCRYPTED"):
		report("tls.key", "the key is encrypted; write one without a passphrase")
	case err != nil:
		report("tls.key", "write the private key of tls.cert in PEM, such as ${file:/run/secrets/client.key}")
	}
}

// pemOf returns certificates in PEM, of which some may be in files.
func pemOf(texts settings.Texts) ([]byte, error) {
	var all []byte
	for _, text := range texts {
		if !strings.Contains(text, "-----BEGIN") {
			content, err := os.ReadFile(text)
			if err != nil {
				return nil, fmt.Errorf("write certificates in PEM, or the name of a file that can be read: %w", err)
			}
			text = string(content)
		}
		all = append(append(all, text...), '\n')
	}
	return all, nil
}

// authorities returns the certificates of tls.ca, nil for the system's own.
func (t *SMTPTLS) authorities() (*x509.CertPool, error) {
	if len(t.CA) == 0 {
		return nil, nil
	}
	certificates, err := pemOf(t.CA)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(certificates) {
		return nil, errors.New("there is no certificate in PEM")
	}
	return pool, nil
}

// certificates returns the client's own, if it has one.
func (t *SMTPTLS) certificates() ([]tls.Certificate, error) {
	if len(t.Cert) == 0 {
		return nil, nil
	}
	certificates, err := pemOf(t.Cert)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(certificates, []byte(t.Key.Reveal()))
	return []tls.Certificate{pair}, err
}

// opensslNames are the names that OpenSSL, and so nodemailer, has for the ciphers
// that Go can do: https://docs.openssl.org/3.0/man1/openssl-ciphers/
var opensslNames = map[uint16]string{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256:       "ECDHE-ECDSA-AES128-GCM-SHA256",
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384:       "ECDHE-ECDSA-AES256-GCM-SHA384",
	tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256:         "ECDHE-RSA-AES128-GCM-SHA256",
	tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384:         "ECDHE-RSA-AES256-GCM-SHA384",
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256: "ECDHE-ECDSA-CHACHA20-POLY1305",
	tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256:   "ECDHE-RSA-CHACHA20-POLY1305",
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA:          "ECDHE-ECDSA-AES128-SHA",
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA:          "ECDHE-ECDSA-AES256-SHA",
	tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA:            "ECDHE-RSA-AES128-SHA",
	tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA:            "ECDHE-RSA-AES256-SHA",
	tls.TLS_RSA_WITH_AES_128_GCM_SHA256:               "AES128-GCM-SHA256",
	tls.TLS_RSA_WITH_AES_256_GCM_SHA384:               "AES256-GCM-SHA384",
	tls.TLS_RSA_WITH_AES_128_CBC_SHA:                  "AES128-SHA",
	tls.TLS_RSA_WITH_AES_256_CBC_SHA:                  "AES256-SHA",
	tls.TLS_RSA_WITH_AES_128_CBC_SHA256:               "AES128-SHA256",
}

// cipherGroups are the words of OpenSSL's lists that stand for many ciphers; those
// that stand for none that Go can do, or are about the order, are left out.
var cipherGroups = []string{"ALL", "DEFAULT", "HIGH", "SSLV3", "TLSV1", "TLSV1.0", "TLSV1.2", "AES"}

// ciphers returns what is allowed up to TLS 1.2, nil for Go's choice. As in OpenSSL,
// items are added in turn, and those that begin with ! or - are taken away.
func (t *SMTPTLS) ciphers() ([]uint16, error) {
	if t.Ciphers == "" {
		return nil, nil
	}
	var allowed []uint16
	for item := range strings.FieldsFuncSeq(strings.ToUpper(t.Ciphers), func(r rune) bool { return strings.ContainsRune(":, ", r) }) {
		name := strings.TrimLeft(item, "!-+")
		isMeant := func(id uint16) bool {
			keys, isRSA := opensslNames[id], !strings.HasPrefix(opensslNames[id], "ECDHE-")
			return keys == name || tls.CipherSuiteName(id) == name || slices.Contains(cipherGroups, name) ||
				name == "ECDHE" && !isRSA || (name == "RSA" || name == "KRSA") && isRSA
		}
		switch item[0] {
		case '@', '+':
		case '!', '-':
			allowed = slices.DeleteFunc(allowed, isMeant)
		default:
			before := len(allowed)
			for id := range opensslNames {
				if isMeant(id) {
					allowed = append(allowed, id)
				}
			}
			if len(allowed) == before && !strings.HasPrefix(name, "TLS_") { // those of TLS 1.3 are always allowed
				return nil, fmt.Errorf("there is no cipher %q here; write names as OpenSSL has them, such as AES128-SHA, "+
					"or DEFAULT for all that are known", item)
			}
		}
	}
	if len(allowed) == 0 {
		return nil, errors.New("this leaves no cipher; write names as OpenSSL has them, such as AES128-SHA, or DEFAULT for all that are known")
	}
	return allowed, nil
}

func (s *SMTPSettings) tlsConfig() (*tls.Config, error) {
	authorities, err := s.TLS.authorities()
	if err != nil {
		return nil, fmt.Errorf("tls.ca: %w", err)
	}
	ciphers, err := s.TLS.ciphers()
	if err != nil {
		return nil, fmt.Errorf("tls.ciphers: %w", err)
	}
	certificates, err := s.TLS.certificates()
	if err != nil {
		return nil, errors.New("tls.key: not the private key of tls.cert")
	}
	config := &tls.Config{
		RootCAs:            authorities,
		Certificates:       certificates,
		CipherSuites:       ciphers,
		ServerName:         s.host(),
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: s.TLS.RejectUnauthorized != nil && !*s.TLS.RejectUnauthorized,
		ClientSessionCache: tls.NewLRUClientSessionCache(0),
		// Most mails leave in one write then.
		DynamicRecordSizingDisabled: true,
	}
	for _, name := range []string{s.ServerName, s.TLS.ServerName} {
		if name != "" {
			config.ServerName = name
		}
	}
	switch s.TLS.MinVersion {
	case "TLSv1":
		config.MinVersion = tls.VersionTLS10
	case "TLSv1.1":
		config.MinVersion = tls.VersionTLS11
	case "TLSv1.3":
		config.MinVersion = tls.VersionTLS13
	}
	return config, nil
}
