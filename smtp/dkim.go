package smtp

import (
	"bytes"
	"errors"
	"slices"
	"strings"

	"github.com/emersion/go-msgauth/dkim"
	gomail "github.com/wneessen/go-mail"
)

// DKIM signs messages with a domain's key (RFC 6376).
type DKIM struct{ options dkim.SignOptions }

// signedHeaders are what is signed. Those that are there twice may not be there more
// often than they are: another one, put on top on the way, would be the one that
// readers see (RFC 6376 section 8.15).
var signedHeaders = []string{"From", "From", "Reply-To", "Reply-To", "To", "To", "Cc", "Subject", "Subject",
	"Date", "Date", "Message-ID", "MIME-Version", "MIME-Version", "Content-Type", "Content-Type"}

// NewDKIM makes a signer of a key in PEM, RSA or Ed25519. Headers to skip are not
// signed; From has to be.
func NewDKIM(domain, selector, key string, skip ...string) (*DKIM, error) {
	// go-mail reads keys, but breaks lines within a name of the list of headers.
	private, err := gomail.PrivKeyFromPEM([]byte(key))
	if err != nil {
		return nil, err
	}
	signed := slices.DeleteFunc(slices.Clone(signedHeaders), func(header string) bool {
		return slices.ContainsFunc(skip, func(name string) bool { return strings.EqualFold(strings.TrimSpace(name), header) })
	})
	if !slices.Contains(signed, "From") {
		return nil, ErrUnsignedFrom
	}
	return &DKIM{dkim.SignOptions{Domain: domain, Selector: selector, Signer: private, HeaderKeys: signed,
		HeaderCanonicalization: dkim.CanonicalizationRelaxed, BodyCanonicalization: dkim.CanonicalizationRelaxed}}, nil
}

// ErrUnsignedFrom is the error for a list of headers to skip that has From.
var ErrUnsignedFrom = errors.New("a signature without From is none")

// Sign returns a whole message with its signature in front.
func (d *DKIM) Sign(message []byte) ([]byte, error) {
	var signed bytes.Buffer
	err := dkim.Sign(&signed, bytes.NewReader(message), &d.options)
	return signed.Bytes(), err
}
