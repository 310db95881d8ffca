package providers

import (
	"bytes"
	"crypto"
	"errors"

	gomail "github.com/wneessen/go-mail"
)

// dkimSigner signs messages with a domain key (RFC 6376).
type dkimSigner struct {
	domain, selector string
	key              crypto.Signer
}

// sign puts the signature in front of the message.
func (d *dkimSigner) sign(message []byte) ([]byte, error) {
	headers, body, found := bytes.Cut(message, []byte("\r\n\r\n"))
	if !found {
		return nil, errors.New("the message has no body")
	}
	// go-mail's signer notes its algorithm while it signs, so it cannot be
	// shared between mails.
	signer := gomail.NewDKIMSigner(d.domain, d.selector, d.key)
	signer.SignHeaders("From", "Reply-To", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type")
	signature, err := signer.Sign(headers, body)
	if err != nil {
		return nil, err
	}
	return append([]byte(signature), message...), nil
}
