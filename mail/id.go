package mail

import (
	"crypto/rand"
	"encoding/base32"
	"strings"
	"time"
)

const idCharacters = "0123456789abcdefghjkmnpqrstvwxyz"

var idEncoding = base32.NewEncoding(idCharacters).WithPadding(base32.NoPadding)

// clockCharacters is how many characters of an id follow the clock. tick is how long they
// stay the same: after four days they come again.
const (
	clockCharacters = 5
	tick            = 10 * time.Millisecond
)

// NewID returns the id of a request and of the mail that comes of it: 26 characters of
// digits and lower-case letters, without those that are easily misread. The first five
// follow the clock, so that ids of the same moment stand side by side in the index of a
// database; otherwise each would have a page of its own written. The others are random,
// 103 bits of them.
func NewID() string {
	var bits [16]byte
	_, _ = rand.Read(bits[:]) // never fails, see crypto/rand
	var id [26]byte
	idEncoding.Encode(id[:], bits[:])
	ticks := time.Now().UnixNano() / int64(tick)
	for i := clockCharacters - 1; i >= 0; i-- {
		id[i] = idCharacters[ticks%int64(len(idCharacters))]
		ticks /= int64(len(idCharacters))
	}
	return string(id[:])
}

// IsYoung tells whether an id of NewID's may have been made within a span of time, which is at
// most a day. Clocks may differ by as much.
func IsYoung(id string, span time.Duration) bool {
	if !IsID(id) {
		return false
	}
	ticks := int64(0)
	for _, c := range id[:clockCharacters] {
		ticks = ticks*int64(len(idCharacters)) + int64(strings.IndexRune(idCharacters, c))
	}
	const period = 1 << 25 // 32 characters to the power of clockCharacters
	age := (time.Now().UnixNano()/int64(tick) - ticks + int64(span/tick)) % period
	return (age+period)%period <= 2*int64(span/tick)
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
