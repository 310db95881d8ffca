package templates

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What two widely used programs make links of, as it is and in the form NFKC, is no
// name of ours. The names are thrown together from what links are made of.
func TestNamesAreNoLinksToLinkifiers(t *testing.T) {
	const dir = "testdata/linkifiers"
	node, err := exec.LookPath("node")
	if _, missing := os.Stat(filepath.Join(dir, "node_modules")); err != nil || missing != nil {
		const why = "needs Node.js and npm ci in templates/testdata/linkifiers"
		if os.Getenv("RELAY_TEST_REQUIRE") == "1" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	parts := strings.Fields(`evil com co.uk www ftp http https mailto magnet tel sms localhost ＬＯＣＡＬＨＯＳＴ xn--e1awd7f пример рф 例え テスト m org
		a 1 2 127 0 fe80 user 💩 é . . . : : / / // @ \ - _ ? # & = % + ~ ! , ; ( ) [ ] < > " ' 。 ． ｡ ․ ﹒ ︒ ۔ ： ﹕ ︓ ／ ⁄ ∕ ＼ ﹨ ＠ ﹫ ？ ﹖ ㏂ ㏇ ㏘ ‥ ︙ ︰ ⩴ ⒈ 🄀 ℀ ½ …`)
	parts = append(parts, " ", " ", "\u200b", "\u200d", "\u00ad", "\u0301", "\ufe0f", "\u202e", "\u00a0", "\n")
	random := rand.New(rand.NewPCG(1, 2))
	names := []string{"evil.com", "localhost/x", "http://localhost:8080/x", "mailto:a@b.com", "magnet:?xt=urn:btih:0", "1.2.3.4", "Alice"}
	for range 30_000 {
		var b strings.Builder
		for range 2 + random.IntN(7) {
			b.WriteString(parts[random.IntN(len(parts))])
		}
		names = append(names, b.String())
	}
	for i := range names {
		names[i] = neutralise(names[i])
	}
	const control = "see evil.com"
	in, err := json.Marshal(append(names, control))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), node, "links.mjs")
	cmd.Dir, cmd.Stdin, cmd.Stderr = dir, bytes.NewReader(in), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var linked []struct {
		Text  string
		Links []string
	}
	if err := json.Unmarshal(out, &linked); err != nil {
		t.Fatal(err)
	}
	if len(linked) == 0 || linked[len(linked)-1].Text != control {
		t.Fatal("no link is found in " + control)
	}
	for i, l := range linked[:max(0, len(linked)-2)] { // its two forms come last
		if i == 20 {
			t.Fatalf("and %d more", len(linked)-i)
		}
		t.Errorf("in %q these are links: %q", l.Text, l.Links)
	}
}
