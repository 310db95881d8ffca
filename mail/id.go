package mail

import (
	"crypto/rand"
	"encoding/base32"
)

var idEncoding = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// NewID returns the id of a request and of the mail that comes of it: 128 random
// bits as 26 characters of digits and lower-case letters, without those that are
// easily misread.
func NewID() string {
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails, see crypto/rand
	var id [26]byte
	idEncoding.Encode(id[:], random[:])
	return string(id[:])
}

// IsID tells whether a text can be an id of NewID's.
func IsID(text string) bool {
	if len(text) != 26 {
		return false
	}
	for i := range len(text) {
		if c := text[i]; !('0' <= c && c <= '9' || 'a' <= c && c <= 'z') {
			return false
		}
	}
	return true
}

// Reference is the part of an id that people read to each other.
func Reference(id string) string { return id[:min(8, len(id))] }
