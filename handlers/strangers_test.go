package handlers

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"logto-email-relay/handlers/web"
	"logto-email-relay/mail"
	"logto-email-relay/providers"
	"logto-email-relay/settings"
)

// What one network may get wrong before it is asked to wait, and what all strangers
// may have in the log.
const wrongValues, strangersLines = 20, 600

// callFrom calls the webhook with a value, through a proxy that tells the address.
func callFrom(h http.Handler, value, address string) *http.Response {
	r := webhookRequest(good)
	r.RemoteAddr = "10.0.0.1:4711"
	r.Header.Set("X-Forwarded-For", address)
	r.Header.Set("Authorization", value)
	return serve(h, r)
}

// loud counts the lines of requests above the level for debugging, and the requests
// that they say are missing.
func (l *logs) loud(t *testing.T) (lines, unlogged int) {
	t.Helper()
	for text := range strings.Lines(l.String()) {
		var line struct {
			Level, Msg string
			Unlogged   int
		}
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatal(err)
		}
		if line.Msg == "request" && line.Level != "DEBUG" {
			lines++
			unlogged += line.Unlogged
		}
	}
	return lines, unlogged
}

func TestWrongValuesAreThrottled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(logs)
		o := testOptions()
		o.TrustedProxies = networks(t, "10.0.0.1")
		mails := 0
		h := publicOver(o, counting(&mails), log)
		for i := range wrongValues {
			checkFailure(t, callFrom(h, fmt.Sprint("guess ", i), fmt.Sprintf("2001:db8:1:2::%x", i)), 401, web.Unauthorized, "en")
		}
		const flood = 1000
		for i := range flood {
			got := callFrom(h, fmt.Sprint("guess ", i), fmt.Sprintf("2001:db8:1:2:%x::1", i))
			if got.StatusCode != 429 || got.Header.Get("Retry-After") != "30" || got.Header.Get("X-Relay-Error") != string(mail.RateLimited) ||
				!strings.HasPrefix(bodyOf(t, got), "A sentence for unauthorized in en. (ref ") {
				t.Fatalf("got %d with %v", got.StatusCode, got.Header)
			}
		}
		if lines, _ := log.loud(t); lines != wrongValues+1 || strings.Count(log.String(), "too many wrong Authorization values") != flood {
			t.Errorf("%d lines", lines)
		}
		for _, other := range []struct {
			value, address string
			code           int
		}{
			{testToken, "2001:db8:1:2::1", 200},  // whoever has it
			{"guess", "2001:db8:1:3::1", 401},    // a neighbour
			{"guess", "203.0.113.9", 401},        // somebody else
			{"guess", "::ffff:203.0.113.9", 401}, // the same
			{"", "2001:db8:1:2::1", 401},         // asks how to authorize
		} {
			if got := callFrom(h, other.value, other.address); got.StatusCode != other.code {
				t.Errorf("%+v: got %d", other, got.StatusCode)
			}
		}
		if mails != 1 {
			t.Errorf("%d mails", mails)
		}
		time.Sleep(30 * time.Second)
		for _, code := range []int{401, 429} {
			if got := callFrom(h, "guess", "2001:db8:1:2::1"); got.StatusCode != code {
				t.Errorf("got %d, want %d, after the wait", got.StatusCode, code)
			}
		}
	})
}

// Refused strangers cannot fill the disk, from however many addresses, and whatever
// they ask for. The next line that is written says how many are missing.
func TestStrangersDoNotFillTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(logs)
		o := testOptions()
		o.TrustedProxies = networks(t, "10.0.0.1")
		mails := 0
		h := publicOver(o, counting(&mails), log)
		const flood = 1500
		for i := range flood {
			callFrom(h, "guess", fmt.Sprintf("2001:db8:1:%x::1", i))
			serve(h, eventRequest("nobody", ""))
		}
		if lines, _ := log.loud(t); lines != strangersLines {
			t.Errorf("%d lines", lines)
		}
		callFrom(h, testToken, "2001:db8:1:2::1") // who may, has a line at any time
		if lines, _ := log.loud(t); lines != strangersLines+1 || mails != 1 {
			t.Errorf("%d lines, %d mails", lines, mails)
		}
		time.Sleep(time.Second)
		callFrom(h, "guess", "203.0.113.9")
		if lines, unlogged := log.loud(t); lines != strangersLines+2 || unlogged != 2*flood-strangersLines {
			t.Errorf("%d lines, %d missing", lines, unlogged)
		}
		if n := strings.Count(log.String(), `"unlogged":`); n != 1 {
			t.Errorf("%d lines say that others are missing", n)
		}
	})
}

// Services that send no credentials before they are asked for them go on.
func TestWrongCredentialsOfEventsAreThrottled(t *testing.T) {
	o := testOptions()
	o.Events = map[string]EventReceiver{"main": fakeReceiver(func(header http.Header, _ []byte) ([]mail.Report, error) {
		if header.Get("Authorization") != "Basic right" {
			return nil, &providers.EventError{Status: 401, Detail: "a reason"}
		}
		return nil, nil
	})}
	h := publicOver(o, nil, new(logs))
	ask := func(credentials string) *http.Response {
		r := eventRequest("main", "{}")
		if credentials != "" {
			r.Header.Set("Authorization", credentials)
		}
		return serve(h, r)
	}
	for i := range 3 * wrongValues {
		want := 401
		if i >= wrongValues {
			want = 429
		}
		if got := ask("Basic wrong"); got.StatusCode != want {
			t.Fatalf("wrong for the %dth time: %d", i+1, got.StatusCode)
		}
		if got := ask(""); got.StatusCode != 401 || !strings.HasPrefix(got.Header.Get("WWW-Authenticate"), "Basic ") {
			t.Fatalf("without: %d", got.StatusCode)
		}
		if got := ask("Basic right"); got.StatusCode != 200 {
			t.Fatalf("right: %d", got.StatusCode)
		}
	}
}

// BenchmarkRefusedStranger is what a wrong value costs, the first and one too many.
func BenchmarkRefusedStranger(b *testing.B) {
	for _, name := range []string{"asked to wait", "refused"} {
		b.Run(name, func(b *testing.B) {
			o := testOptions()
			o.TrustedProxies = []settings.Network{{}}
			if err := o.TrustedProxies[0].UnmarshalText([]byte("10.0.0.1")); err != nil {
				b.Fatal(err)
			}
			h := publicOver(o, nil, new(logs))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				address := "2001:db8::1"
				if name == "refused" {
					address = fmt.Sprintf("2001:db8:%x:%x::1", i>>16, i&0xffff)
				}
				callFrom(h, "guess", address)
			}
		})
	}
}
