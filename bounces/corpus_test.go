package bounces

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// fact is what Sisimai finds in a mail of its own collection.
type fact struct {
	Origin, Recipient, Alias, Reason, FeedbackType string
	HardBounce                                     int
}

// class is what a mail means to us.
func (f *fact) class() string {
	switch {
	case f.Reason == "vacation", f.Reason == "feedback" && f.FeedbackType == "auth-failure":
		return "no bounce"
	case f.Reason == "feedback":
		return "complained"
	case f.Reason == "delivered":
		return "delivered"
	case f.HardBounce == 1:
		return "hard"
	}
	return "soft" // or late: Sisimai has one word for a delay and the end of all tries
}

func classOf(r *Result) string {
	switch {
	case r.Outcome == Complained:
		return "complained"
	case r.Outcome == Delivered:
		return "delivered"
	case r.Hard:
		return "hard"
	}
	return "soft"
}

// is tells whether a result is about the recipient of a fact. Where a mail names none,
// Sisimai makes one up.
func (f *fact) is(r *Result) bool {
	for _, wanted := range []string{f.Recipient, f.Alias} {
		if wanted != "" && (strings.EqualFold(r.Address, wanted) || strings.EqualFold(r.Original, wanted)) {
			return true
		}
	}
	return strings.HasSuffix(f.Recipient, ".invalid")
}

// The collection of real reports that Sisimai is developed with,
// https://github.com/sisimai/set-of-emails, which RELAY_TEST_BOUNCES names a copy of, with
// what Sisimai finds in it beside it. docs/reliability.md tells how to get both.
func TestCollectionOfSisimai(t *testing.T) {
	dir := os.Getenv("RELAY_TEST_BOUNCES")
	if dir == "" {
		t.Skip("RELAY_TEST_BOUNCES names no copy of the collection")
	}
	read := func(name string) []byte {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	var facts []fact
	if err := json.Unmarshal(read("expected.json"), &facts); err != nil {
		t.Fatal(err)
	}
	expected := make(map[string][]fact)
	for _, f := range facts {
		name := filepath.Base(f.Origin)
		expected[name] = append(expected[name], f)
	}
	files, err := filepath.Glob(filepath.Join(dir, "maildir/bsd/*"))
	if err != nil || len(files) < 600 {
		t.Fatal(len(files), err)
	}
	bounces, right, others, wrong := 0, 0, 0, 0
	for _, file := range append(files, filepath.Join(dir, "maildir/not/is-not-bounce-01.eml"), filepath.Join(dir, "maildir/not/is-not-bounce-02.eml")) {
		name := filepath.Base(file)
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		wanted, known := expected[name]
		report := Parse(raw)
		switch {
		case strings.Contains(string(raw), "\nx-amz-sns-message-id:"):
			// No mail of a mail server, but JSON of Amazon's that was sent as one.
		case strings.HasPrefix(name, "rfc3834-"), strings.HasPrefix(name, "is-not-"), known && wanted[0].class() == "no bounce":
			others++
			if report != nil {
				wrong++
				t.Errorf("%s is none, but becomes %+v", name, report.Results)
			}
		case !known: // Sisimai does not know either
		default:
			bounces++
			if isRight(t, name, report, wanted) {
				right++
			}
		}
	}
	t.Logf("%d of %d bounces are right (%.1f %%), %d of %d other mails are taken for one", right, bounces, 100*float64(right)/float64(bounces), wrong, others)
	if right*10 < bounces*9 {
		t.Error("less than 90 %")
	}
}

func isRight(t *testing.T, name string, report *Report, wanted []fact) bool {
	if report == nil {
		t.Logf("%s is not recognised: %+v", name, wanted)
		return false
	}
	for _, f := range wanted {
		i := slices.IndexFunc(report.Results, func(r Result) bool { return f.is(&r) })
		if i < 0 || classOf(&report.Results[i]) != f.class() {
			t.Logf("%s: wanted %s for %s (%s), got %+v", name, f.class(), f.Recipient, f.Reason, report.Results)
			return false
		}
	}
	return true
}
