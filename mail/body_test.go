package mail

import (
	"encoding/base64"
	"io"
	"mime/quotedprintable"
	"os"
	"strings"
	"testing"
	"unicode/utf8"
)

// cuts returns a text in one part, in one that is shared, in as many as it has
// characters, and in shared ones that begin and end in the middle of lines.
func cuts(text string) map[string]Body {
	if text == "" {
		return nil
	}
	var characters, words Body
	for _, r := range text {
		characters = append(characters, OwnPart(string(r)))
	}
	for word := range strings.SplitAfterSeq(text, "=") {
		if word != "" {
			words = append(words, SharedPart(word))
		}
	}
	return map[string]Body{"one": bodyOf(text), "shared": {SharedPart(text)}, "characters": characters, "words": words}
}

// check wants every cut to be the same text, to travel in lines that are fit for
// it, and to arrive as the same text, in either encoding. Without shared parts,
// before which a line may be broken, it travels as the same lines too.
func check(t *testing.T, text string) {
	t.Helper()
	want := string(bodyOf(text).AppendQuoted(nil))
	lines := strings.NewReplacer("\r\n", "\r\n", "\r", "\r\n", "\n", "\r\n")
	for name, cut := range cuts(text) {
		if cut.String() != text || cut.Len() != len(text) || cut.IsEmpty() {
			t.Errorf("%s: %q became %q", name, text, cut.String())
		}
		const before = "x: y\r\n"
		got, found := strings.CutPrefix(string(cut.AppendQuoted([]byte(before))), before)
		if !found {
			t.Errorf("%s: %q is not appended", name, text)
		}
		if name == "characters" && got != want {
			t.Errorf("%s: %q is encoded as %q, want %q", name, text, got, want)
		}
		for line := range strings.SplitSeq(got, "\r\n") {
			if len(line) > 76 || strings.HasPrefix(line, ".") || strings.HasSuffix(line, " ") || strings.HasSuffix(line, "\t") ||
				strings.ContainsFunc(line, func(r rune) bool { return r < ' ' && r != '\t' || r > '~' }) {
				t.Errorf("%s: %q has the line %q", name, text, line)
			}
		}
		checkBase64(t, cut, lines.Replace(text))
		decoded, err := io.ReadAll(quotedprintable.NewReader(strings.NewReader(got)))
		if err != nil || string(decoded) != lines.Replace(text) {
			t.Errorf("%s: %q travels as %q and arrives as %q: %v", name, text, got, decoded, err)
		}
	}
}

// checkBase64 wants the text to travel in full lines and to arrive.
func checkBase64(t *testing.T, text Body, want string) {
	t.Helper()
	const before = "x: y\r\n"
	got, found := strings.CutPrefix(string(text.AppendBase64([]byte(before))), before)
	decoded, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(got, "\r\n", ""))
	if !found || err != nil || string(decoded) != want {
		t.Errorf("%q travels as %q and arrives as %q: %v", text.String(), got, decoded, err)
	}
	lines := strings.SplitAfter(got, "\r\n")
	for i, line := range lines {
		if full := i < len(lines)-2; full && len(line) != 78 || len(line) > 78 {
			t.Errorf("%q has the line %q", text.String(), line)
		}
	}
	if end := lines[len(lines)-1]; end != "" {
		t.Errorf("%q ends in %q", text.String(), end)
	}
}

// Every ASCII character, at every offset within a few words of the encoder's,
// and before every line end.
func TestQuotedPrintable(t *testing.T) {
	check(t, "")
	for c := range 128 {
		for offset := range 20 {
			before, after := strings.Repeat("x", offset), strings.Repeat("y", 19-offset)
			check(t, before+string(rune(c))+after)
			for _, end := range []string{"\n", "\r\n", "\r"} {
				check(t, before+string(rune(c))+end+after+end+string(rune(c)))
			}
		}
	}
}

func TestQuotedLines(t *testing.T) {
	for length := 70; length < 160; length++ {
		for _, filling := range []string{"x", " ", "=", "é", ".", "a b"} {
			line := strings.Repeat(filling, length)
			check(t, line)
			check(t, line+"\n"+line+"\n"+line)
		}
	}
}

func FuzzQuotedPrintable(f *testing.F) {
	mail, err := os.ReadFile("../templates/testdata/mails/en/SignIn.html")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(mail))
	f.Add("<p>=</p>\r\n  \n.\n..\r")
	f.Fuzz(func(t *testing.T, text string) {
		if utf8.ValidString(text) && !strings.Contains(text, "\x00") {
			check(t, text)
		}
	})
}

func BenchmarkAppendQuoted(b *testing.B) {
	mail, err := os.ReadFile("../templates/testdata/mails/en/SignIn.html")
	if err != nil {
		b.Fatal(err)
	}
	for name, text := range cuts(string(mail)) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(text.Len()))
			b.ReportAllocs()
			var buffer []byte
			for b.Loop() {
				buffer = text.AppendQuoted(buffer[:0])
			}
		})
	}
}

func BenchmarkAppendBase64(b *testing.B) {
	mail, err := os.ReadFile("../templates/testdata/mails/en/SignIn.html")
	if err != nil {
		b.Fatal(err)
	}
	text := bodyOf(string(mail))
	b.SetBytes(int64(text.Len()))
	b.ReportAllocs()
	var buffer []byte
	for b.Loop() {
		buffer = text.AppendBase64(buffer[:0])
	}
}

// bodyOf returns the body of some parts that are its own.
func bodyOf(parts ...string) (body Body) {
	for _, part := range parts {
		if part != "" {
			body = append(body, OwnPart(part))
		}
	}
	return body
}

// A part that is shared travels as it was encoded once, where that costs no more than
// the break of a line before it.
func TestAppendQuoted(t *testing.T) {
	own, shared := OwnPart, SharedPart
	x := func(n int) string { return strings.Repeat("x", n) }
	for name, test := range map[string]struct {
		body Body
		want string
	}{
		"behind the first line end":     {Body{own("Hi,"), shared("12345678901\nthe rest")}, "Hi,12345678901\r\nthe rest"},
		"all, if that is far off":       {Body{own("Hi,"), shared("123456789012\nthe rest")}, "Hi,=\r\n123456789012\r\nthe rest"},
		"not a short one in one line":   {Body{own("Hi,"), shared("twelve chars")}, "Hi,twelve chars"},
		"a longer one in one line":      {Body{own("Hi,"), shared("thirteen char")}, "Hi,=\r\nthirteen char"},
		"no break at the start":         {Body{own("Hi\n"), shared("123456789012\nthe rest")}, "Hi\r\n123456789012\r\nthe rest"},
		"blanks at its end":             {Body{shared("<p>\nthe rest \t"), own("\n")}, "<p>\r\nthe rest =09\r\n"},
		"nothing behind the line end":   {Body{own("Hi,"), shared("123\n \t"), own("x")}, "Hi,123\r\n \tx"},
		"a tab within a line":           {Body{own("a\tb")}, "a\tb"},
		"a tab before its end":          {Body{own("a\t\nb")}, "a=09\r\nb"},
		"a tab where the line is full":  {Body{own(x(75) + "\ty")}, x(75) + "=\r\n\ty"},
		"many tabs":                     {Body{own(strings.Repeat("\t", 76) + "x")}, strings.Repeat("\t", 75) + "=\r\n\tx"},
		"an escape that fits":           {Body{own(x(72) + "=")}, x(72) + "=3D"},
		"one that does not":             {Body{own(x(73) + "=")}, x(73) + "=\r\n=3D"},
		"a line that is full":           {Body{own(x(75))}, x(75)},
		"and one that is more":          {Body{own(x(76))}, x(75) + "=\r\nx"},
		"the first and last left alone": {Body{own(" ~\x1f\x7f")}, " ~=1F=7F"},
	} {
		if got := string(test.body.AppendQuoted(nil)); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}
