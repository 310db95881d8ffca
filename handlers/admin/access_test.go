package admin

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const adminToken = "a-long-admin-token"

// browser asks as browsers do.
func browser(r *http.Request) {
	r.Header.Set("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
}

func postForm(h http.Handler, path string, values url.Values, change ...func(*http.Request)) *http.Response {
	r := httptest.NewRequest("POST", "http://relay.acme.example"+path, strings.NewReader(values.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	browser(r)
	for _, f := range change {
		f(r)
	}
	return serve(h, r)
}

func logIn(t *testing.T, h http.Handler, next string, change ...func(*http.Request)) (*http.Cookie, *http.Response) {
	t.Helper()
	got := postForm(h, "/login", url.Values{"token": {adminToken}, "next": {next}}, change...)
	if got.StatusCode != http.StatusSeeOther || len(got.Cookies()) != 1 {
		t.Fatalf("%d %v", got.StatusCode, got.Header)
	}
	return got.Cookies()[0], got
}

func TestLogin(t *testing.T) {
	h := adminWith(adminToken, testBox(), ready)
	got := get(h, "/inbox?x=1", browser)
	if got.StatusCode != http.StatusSeeOther || got.Header.Get("Location") != "/login?next=%2Finbox%3Fx%3D1" {
		t.Errorf("a stranger: %d to %s", got.StatusCode, got.Header.Get("Location"))
	}
	form := get(h, "/login?next=%2Finbox%3Fx%3D1", browser)
	if body := bodyOf(t, form); form.StatusCode != 200 || !strings.Contains(body, `name="next" value="/inbox?x=1"`) || strings.Contains(body, "Inbox") {
		t.Errorf("%d, the page is\n%s", form.StatusCode, body)
	}
	cookie, in := logIn(t, h, "/inbox?x=1")
	if in.Header.Get("Location") != "/inbox?x=1" || !cookie.HttpOnly || cookie.SameSite != http.SameSiteLaxMode || cookie.Secure || cookie.MaxAge <= 0 || strings.Contains(cookie.Value, adminToken) {
		t.Errorf("to %s with %+v", in.Header.Get("Location"), cookie)
	}
	if secure, _ := logIn(t, h, "/", header("X-Forwarded-Proto", "https")); !secure.Secure {
		t.Error("behind TLS the cookie is not for TLS alone")
	}
	bearing := func(value string) func(*http.Request) {
		return func(r *http.Request) { browser(r); r.AddCookie(&http.Cookie{Name: "relay_login", Value: value}) }
	}
	if got := get(h, "/inbox", bearing(cookie.Value)); got.StatusCode != 200 || !strings.Contains(bodyOf(t, got), `action="/logout"`) {
		t.Errorf("with the cookie: %d", got.StatusCode)
	}
	if got := get(h, "/login?next=/inbox", bearing(cookie.Value)); got.Header.Get("Location") != "/inbox" {
		t.Errorf("who has logged in is asked to: %d", got.StatusCode)
	}
	end, signature, _ := strings.Cut(cookie.Value, ".")
	for name, value := range map[string]string{"none": "", "a text": "x", "a later end": end + "0." + signature, "no signature": end + ".", "the token": adminToken} {
		if got := get(h, "/inbox", bearing(value)); got.StatusCode != http.StatusSeeOther {
			t.Errorf("%s: %d", name, got.StatusCode)
		}
	}
	// A login ends with its token, and does not need this process.
	if got := get(adminWith(adminToken, testBox(), ready), "/inbox", bearing(cookie.Value)); got.StatusCode != 200 {
		t.Errorf("at another replica: %d", got.StatusCode)
	}
	if got := get(adminWith("another-admin-token", testBox(), ready), "/inbox", bearing(cookie.Value)); got.StatusCode != http.StatusSeeOther {
		t.Errorf("after the token has changed: %d", got.StatusCode)
	}
	out := postForm(h, "/logout", nil, bearing(cookie.Value))
	if out.StatusCode != http.StatusSeeOther || len(out.Cookies()) != 1 || out.Cookies()[0].MaxAge >= 0 {
		t.Errorf("logout: %d with %v", out.StatusCode, out.Cookies())
	}
	for _, path := range []string{"/login", "/logout"} {
		if got := get(adminWith("", nil, ready), path); got.StatusCode != 404 {
			t.Errorf("%s without a token to log in with: %d", path, got.StatusCode)
		}
	}
	if got := get(adminWith(adminToken, nil, ready), "/style.css"); got.StatusCode != 200 {
		t.Errorf("the login page has no style: %d", got.StatusCode)
	}
}

func TestALoginEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := adminWith(adminToken, testBox(), ready)
		cookie, _ := logIn(t, h, "/")
		asked := func() int {
			return get(h, "/inbox", browser, func(r *http.Request) { r.AddCookie(cookie) }).StatusCode
		}
		time.Sleep(11 * time.Hour)
		if code := asked(); code != 200 {
			t.Errorf("after 11 hours: %d", code)
		}
		time.Sleep(2 * time.Hour)
		if code := asked(); code != http.StatusSeeOther {
			t.Errorf("after 13 hours: %d", code)
		}
	})
}

// Whoever logs in goes on to a page of this listener, and to no other site.
func TestLoginGoesNowhereElse(t *testing.T) {
	h := adminWith(adminToken, nil, ready)
	for next, want := range map[string]string{
		"/deliveries?to=a%40b": "/deliveries?to=a%40b", "": "/", "//evil.example": "/", "https://evil.example/": "/", `/\evil.example`: "/",
		"/\tx": "/", "javascript:alert(1)": "/", "deliveries": "/", "///evil.example": "/",
	} {
		if _, got := logIn(t, h, next); got.Header.Get("Location") != want {
			t.Errorf("%q: to %q", next, got.Header.Get("Location"))
		}
	}
}

func TestWrongTokensAreThrottled(t *testing.T) {
	from := func(address string) func(*http.Request) {
		return func(r *http.Request) { r.RemoteAddr = address }
	}
	synctest.Test(t, func(t *testing.T) {
		h := adminWith(adminToken, testBox(), ready)
		cookie, _ := logIn(t, h, "/")
		guess := func(i int) {
			t.Helper()
			if i%2 == 0 {
				got := postForm(h, "/login", url.Values{"token": {fmt.Sprint("guess ", i)}}, from("192.0.2.7:1"))
				if body := bodyOf(t, got); got.StatusCode != 403 || !strings.Contains(body, "That is not the token.") || strings.Contains(body, "guess") || len(got.Cookies()) > 0 {
					t.Errorf("%d\n%s", got.StatusCode, body)
				}
			} else if got := get(h, "/inbox", browser, from("192.0.2.7:1"), header("Authorization", "Bearer guess")); got.StatusCode != 401 { // counted once, whatever the page asks
				t.Errorf("got %d", got.StatusCode)
			}
		}
		for i := range 20 {
			guess(i)
		}
		// Now even the right one is not told from the others.
		for name, got := range map[string]*http.Response{
			"a form":   postForm(h, "/login", url.Values{"token": {adminToken}}, from("192.0.2.7:1")),
			"a header": get(h, "/inbox", from("192.0.2.7:2"), header("Authorization", "Bearer "+adminToken)),
		} {
			if got.StatusCode != http.StatusTooManyRequests || got.Header.Get("Retry-After") != "60" || len(got.Cookies()) > 0 {
				t.Errorf("%s: %d with %v", name, got.StatusCode, got.Header)
			}
		}
		if body := bodyOf(t, get(h, "/readyz", from("192.0.2.7:2"), header("Authorization", "Bearer "+adminToken))); strings.Contains(body, "details") {
			t.Errorf("the probe tells: %s", body)
		}
		// Others, and who has logged in, are not held up.
		if got := get(h, "/inbox", from("192.0.2.8:1"), header("Authorization", "Bearer "+adminToken)); got.StatusCode != 200 {
			t.Errorf("another caller: %d", got.StatusCode)
		}
		if got := get(h, "/inbox", from("192.0.2.7:1"), func(r *http.Request) { r.AddCookie(cookie) }); got.StatusCode != 200 {
			t.Errorf("who has logged in: %d", got.StatusCode)
		}
		time.Sleep(time.Minute) // as it was told
		if got := get(h, "/inbox", from("192.0.2.7:1"), header("Authorization", "Bearer "+adminToken)); got.StatusCode != 200 {
			t.Errorf("a minute later: %d", got.StatusCode)
		}
		for i := range 20 { // an IPv6 network is one caller
			get(h, "/inbox", from(fmt.Sprintf("[2001:db8::%x]:1", i)), header("Authorization", "Bearer guess"))
		}
		if got := get(h, "/inbox", from("[2001:db8::ffff]:1"), header("Authorization", "Bearer "+adminToken)); got.StatusCode != http.StatusTooManyRequests {
			t.Errorf("the same network: %d", got.StatusCode)
		}
	})
}

// The callers whose wrong tokens are counted are bounded.
func TestTheCallersWithWrongTokensAreBounded(t *testing.T) {
	h := adminWith(adminToken, nil, ready)
	present := func(token string, caller int) int {
		return get(h, "/inbox", header("Authorization", "Bearer "+token), func(r *http.Request) {
			r.RemoteAddr = fmt.Sprintf("10.%d.%d.%d:1", caller>>16, caller>>8&255, caller&255)
		}).StatusCode
	}
	for range wrongTokens {
		present("guess", 0)
	}
	for caller := range maxCallers {
		present("guess", caller)
	}
	if code := present(adminToken, 0); code != http.StatusTooManyRequests {
		t.Errorf("with as many callers as are counted: %d", code)
	}
	present("guess", maxCallers)
	if code := present(adminToken, 0); code != http.StatusNotFound { // there is no inbox
		t.Errorf("with more callers than are counted: %d", code)
	}
}

// A page of another site can change nothing, whatever login the browser adds.
func TestOtherSitesChangeNothing(t *testing.T) {
	f := new(fakeSuppressions)
	h := adminWithSuppressions(f)
	for name, change := range map[string]func(*http.Request){
		"Sec-Fetch-Site": header("Sec-Fetch-Site", "cross-site"), "a neighbour": header("Sec-Fetch-Site", "same-site"), "Origin": header("Origin", "https://evil.example"),
		"no origin": header("Origin", "null"),
	} {
		for _, path := range []string{"/suppressions", "/suppressions/lift", "/login", "/logout"} {
			got := postForm(h, path, url.Values{"to": {"ada@example.com"}, "for": {"24h"}, "token": {"t"}}, header("Authorization", "Bearer t"), change)
			if got.StatusCode != 403 || len(got.Cookies()) > 0 {
				t.Errorf("%s, %s: %d", path, name, got.StatusCode)
			}
		}
	}
	if len(f.asked) > 0 {
		t.Errorf("asked for %v", f.asked)
	}
	own := postForm(h, "/suppressions/lift", url.Values{"to": {"ada@example.com"}}, header("Authorization", "Bearer t"), header("Origin", "http://relay.acme.example"))
	if own.StatusCode != 200 {
		t.Errorf("its own page: %d", own.StatusCode)
	}
}
