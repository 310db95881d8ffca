package providers

import (
	"strings"
	"testing"
)

// A message type is a tag where every service takes it as one.
func TestATypeThatIsNoTag(t *testing.T) {
	for kind, is := range map[string]bool{"SignIn": true, "sign-in_2": true, "sign in": false, "Anmeldung für": false, strings.Repeat("t", 64): true, strings.Repeat("t", 65): false} {
		m := plainMessage()
		m.Type = kind
		if got := tag(m); is && got != kind || !is && got != "" {
			t.Errorf("%q: %q", kind, got)
		}
	}
}
