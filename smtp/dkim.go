package smtp

import (
	"bytes"
	"crypto"
	"errors"

	gomail "github.com/wneessen/go-mail"
)

// DKIM signs messages with a domain's key (RFC 6376).
type DKIM struct {
	domain, selector string
	key              crypto.Signer
}

// NewDKIM makes a signer of a key in PEM, RSA or Ed25519.
func NewDKIM(domain, selector, key string) (*DKIM, error) {
	private, err := gomail.PrivKeyFromPEM([]byte(key))
	if err != nil {
		return nil, err
	}
	return &DKIM{domain, selector, private}, nil
}

// Sign returns a whole message with its signature in front.
func (d *DKIM) Sign(message []byte) ([]byte, error) {
	headers, body, found := bytes.Cut(message, []byte("\r\n\r\n"))
	if !found {
		return nil, errors.New("the message has no body")
	}
	// go-mail's signer notes its algorithm while it signs, so it cannot be
	// shared between messages.
	signer := gomail.NewDKIMSigner(d.domain, d.selector, d.key)
	signer.SignHeaders("From", "Reply-To", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type")
	signature, err := signer.Sign(headers, body)
	if err != nil {
		return nil, err
	}
	return append([]byte(signature), message...), nil
}
