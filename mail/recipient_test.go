package mail_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"logto-email-relay/mail"
)

func TestParseRecipient(t *testing.T) {
	long := strings.Repeat("a", 64)
	longest := long + "@" + strings.Repeat(long[:60]+".", 3) + "ab.com" // 254 bytes
	good := map[string]string{
		longest:                                 longest,
		"ada@example.org":                       "ada@example.org",
		"Alice.Smith+Promo@Example.COM":         "Alice.Smith+Promo@example.com",
		"foo.@docomo.ne.jp":                     "foo.@docomo.ne.jp",
		"foo..bar@docomo.ne.jp":                 "foo..bar@docomo.ne.jp",
		`"odd..local"@example.com`:              "odd..local@example.com",
		"ünïcode@exämple.com":                   "ünïcode@xn--exmple-cua.com",
		"用户@例子.广告":                              "用户@xn--fsqu00a.xn--4rr70v",
		"ada@xn--exmple-cua.com":                "ada@xn--exmple-cua.com",
		"o'hara@example.ie":                     "o'hara@example.ie",
		"a!#$%&'*+-/=?^_`{|}~b@x.example":       "a!#$%&'*+-/=?^_`{|}~b@x.example",
		long + "@example.org":                   long + "@example.org",
		"a@1.2.example":                         "a@1.2.example",
		"first.last%20@example.org":             "first.last%20@example.org",
		"wow!first.last@example.org":            "wow!first.last@example.org",
		"a@sub-domain.of.a-long.example.museum": "a@sub-domain.of.a-long.example.museum",
	}
	for give, want := range good {
		if got, err := mail.ParseRecipient(give); err != nil || got != want {
			t.Errorf("%q: got %q, %v; want %q", give, got, err, want)
		}
	}
	bad := []string{
		"", "@", "a", "a@", "@b.c", "a@b", "a@localhost", "a@.com", "a@b..c", "a@b.c.", "a@-b.c", "a@b-.c",
		"a@example.com,b@example.com", "a@example.com;b@example.com", "a@example.com b@example.com",
		"<x@example.com>", "X <x@example.com>", "a@example.com?bcc=v@example.com", "a@exa mple.com", " a@b.c", "a@b.c ",
		"a\x00b@example.com", "a\r\nBcc: b@x.example@example.com", "a\nb@example.com", "a@exam\nple.com", "a@b.c\r\n",
		`"a b"@example.com`, `"a@b"@example.com`, `"a\"b"@example.com`, `""@example.com`, `"a"b@example.com`, `a"b@example.com`, `"ab@example.com`, `ab"@example.com`,
		"(comment)a@example.com", "a@[127.0.0.1]", "a@[IPv6:::1]", "a@b@", "a,b@example.com", "a:b@example.com", "a\\b@example.com",
		longest + "m", "a\u0080b@example.com", "a\u202eb@example.com", "a\u200bb@example.com", "a\u00a0b@example.com", "a\xffb@example.com",
		long + "a@example.org", "a@" + strings.Repeat(long[:60]+".", 5) + "com", "a@" + long + ".com", "a@b_c.example",
		"eve%example.com@acme.example", "example.com!eve@acme.example", "eve%example.com%localhost@acme.example",
		"localhost!example.com!eve@acme.example", "localhost!eve%example.com@acme.example", `"eve%example.com"@acme.example`, "eve%exämple.com@acme.example",
	}
	for _, give := range bad {
		if got, err := mail.ParseRecipient(give); err == nil {
			t.Errorf("%q: accepted as %q", give, got)
		} else if len(give) > 4 && strings.Contains(err.Error(), give) {
			t.Errorf("%q: the error repeats it: %v", give, err)
		}
	}
}

func FuzzParseRecipient(f *testing.F) {
	for _, seed := range []string{"ada@example.org", `"odd..local"@example.com`, "ünïcode@exämple.com", "a@b.c?bcc=d@e.f", "<a@b.c>"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		address, err := mail.ParseRecipient(text)
		if err != nil {
			return
		}
		if strings.ContainsAny(address, "\r\n\x00 ,;<>()[]:\\\"") || strings.Count(address, "@") != 1 || len(address) > 254 {
			t.Errorf("%q became %q", text, address)
		}
		if again, err := mail.ParseRecipient(address); err != nil || again != address {
			t.Errorf("%q is not stable: %q, %v", address, again, err)
		}
	})
}

func TestIsID(t *testing.T) {
	for text, want := range map[string]bool{
		mail.NewID(): true, "09az09az09az09az09az09az09": true,
		"": false, "09az09az09az09az09az09az0": false, "09az09az09az09az09az09az09a": false,
		"/9az09az09az09az09az09az09": false, ":9az09az09az09az09az09az09": false,
		"`9az09az09az09az09az09az09": false, "{9az09az09az09az09az09az09": false, "A9az09az09az09az09az09az09": false,
	} {
		if mail.IsID(text) != want {
			t.Errorf("%q: %v", text, !want)
		}
	}
}

func TestNewID(t *testing.T) {
	seen := make(map[string]bool)
	for range 1000 {
		id := mail.NewID()
		if len(id) != 26 || strings.Trim(id, "0123456789abcdefghjkmnpqrstvwxyz") != "" || seen[id] {
			t.Fatalf("id %q is malformed or not new", id)
		}
		seen[id] = true
		if ref := mail.Reference(id); len(ref) != 8 || !strings.HasPrefix(id, ref) {
			t.Fatalf("reference %q of %q", ref, id)
		}
	}
}

// The ids of a while stand together, in the order of their time, so that a database
// writes few pages of their index.
func TestIDsFollowTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var last string
		for range 100 {
			at := mail.NewID()[:5]
			if at <= last {
				t.Fatalf("%q came after %q", at, last)
			}
			if again := mail.NewID()[:5]; again != at {
				t.Errorf("ids of one moment begin with %q and %q", at, again)
			}
			last = at
			time.Sleep(10 * time.Millisecond)
		}
	})
}

func TestIsYoung(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		id := mail.NewID()
		for _, row := range []struct {
			after time.Duration // the one before
			want  bool
		}{
			{0, true}, {time.Minute, true}, {2*time.Minute + time.Second, false}, {24 * time.Hour, false}, {2 * 24 * time.Hour, false},
		} {
			time.Sleep(row.after)
			if got := mail.IsYoung(id, 3*time.Minute); got != row.want {
				t.Errorf("%v later it is young: %v", row.after, got)
			}
		}
		for _, other := range []string{"", "msg_2a9f", strings.Repeat("-", 26)} {
			if mail.IsYoung(other, time.Minute) {
				t.Errorf("%q is young", other)
			}
		}
	})
	var ofAnotherClock string
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Minute)
		ofAnotherClock = mail.NewID()
	})
	synctest.Test(t, func(t *testing.T) {
		if !mail.IsYoung(ofAnotherClock, 3*time.Minute) {
			t.Error("a clock that is a minute ahead makes old ids")
		}
	})
}
