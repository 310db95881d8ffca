package handlers

import (
	"context"
	"net/http"
	"net/netip"
	"testing"

	"logto-email-relay/handlers/web"
	"logto-email-relay/mail"
	"logto-email-relay/relay"
	"logto-email-relay/settings"
)

func counting(calls *int) deliver {
	return func(ctx context.Context, r relay.Request) *mail.Delivery {
		*calls++
		return accept(ctx, r)
	}
}

func secrets(texts ...string) []settings.Token {
	var list []settings.Token
	for _, text := range texts {
		list = append(list, settings.Token{Secret: settings.NewSecret(text)})
	}
	return list
}

func networks(t *testing.T, texts ...string) []settings.Network {
	t.Helper()
	list := make([]settings.Network, len(texts))
	for i, text := range texts {
		if err := list[i].UnmarshalText([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	return list
}

func TestAuthorization(t *testing.T) {
	tests := []struct {
		name     string
		accepted []settings.Token
		given    []string
		detail   string // empty: let in
	}{
		{"the only one", secrets("Bearer first-token"), []string{"Bearer first-token"}, ""},
		{"the first of two", secrets("Bearer first-token", "Bearer second-token"), []string{"Bearer first-token"}, ""},
		{"the second of two", secrets("Bearer first-token", "Bearer second-token"), []string{"Bearer second-token"}, ""},
		{"the same twice", secrets("Bearer first-token", "Bearer first-token"), []string{"Bearer first-token"}, ""},
		{"bare text", secrets("first-token"), []string{"first-token"}, ""},
		{"basic", secrets("Basic dXNlcjpwYXNz"), []string{"Basic dXNlcjpwYXNz"}, ""},
		{"a configured line end", secrets("Bearer first-token\n"), []string{"Bearer first-token"}, ""},

		{"none", secrets("Bearer first-token"), nil, headerMissing},
		{"two headers", secrets("Bearer first-token"), []string{"Bearer first-token", "Bearer first-token"}, headerRepeated},
		{"empty", secrets("Bearer first-token"), []string{""}, headerWrong},
		{"without its scheme", secrets("Bearer first-token"), []string{"first-token"}, schemeMissing},
		{"with a scheme too many", secrets("first-token"), []string{"Bearer first-token"}, schemeUnexpected},
		{"blanks within", secrets("Bearer first-token"), []string{"Bearer  first-token"}, blanksDiffer},
		{"another case", secrets("Bearer first-token"), []string{"bearer first-token"}, headerWrong},
		{"a beginning", secrets("Bearer first-token"), []string{"Bearer first-toke"}, headerWrong},
		{"more than it", secrets("Bearer first-token"), []string{"Bearer first-token2"}, headerWrong},
		{"the scheme alone", secrets("Bearer first-token"), []string{"Bearer"}, headerWrong},
		{"nobody is accepted", nil, []string{"Bearer first-token"}, headerWrong},
		{"nobody is accepted, nothing is given", nil, []string{""}, headerWrong},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := testOptions()
			s.Authorization = test.accepted
			log := new(logs)
			calls := 0
			r := webhookRequest(good)
			r.Header["Authorization"] = test.given
			got := serve(publicOver(s, counting(&calls), log), r)
			if test.detail == "" {
				if got.StatusCode != 200 || calls != 1 {
					t.Errorf("got %d after %d calls", got.StatusCode, calls)
				}
				return
			}
			checkFailure(t, got, 401, web.Unauthorized, "en")
			if got.Header.Get("WWW-Authenticate") != "Bearer" || calls != 0 {
				t.Errorf("headers %v after %d calls", got.Header, calls)
			}
			if line := log.line(t, "request"); line["detail"] != test.detail {
				t.Errorf("the log says %q, want %q", line["detail"], test.detail)
			}
		})
	}
}

func TestCallersAddress(t *testing.T) {
	tests := []struct {
		name      string
		trusted   []string
		remote    string
		forwarded []string
		want      string
	}{
		{"no proxy", nil, "198.51.100.1:4711", nil, "198.51.100.1"},
		{"IPv6", nil, "[2001:db8::1]:4711", nil, "2001:db8::1"},
		{"IPv4 in IPv6", nil, "[::ffff:198.51.100.1]:4711", nil, "198.51.100.1"},
		{"a zone", nil, "[fe80::1%eth0]:4711", nil, "fe80::1"},
		{"no socket address", nil, "@", nil, ""},
		{"a header that nobody asked for", nil, "127.0.0.1:4711", []string{"203.0.113.9"}, "127.0.0.1"},
		{"a header from a stranger", []string{"10.0.0.0/8"}, "198.51.100.1:4711", []string{"203.0.113.9"}, "198.51.100.1"},
		{"loopback is a stranger too", []string{"10.0.0.0/8"}, "127.0.0.1:4711", []string{"203.0.113.9"}, "127.0.0.1"},
		{"private networks are strangers too", []string{"10.0.0.0/8"}, "192.168.1.1:4711", []string{"203.0.113.9"}, "192.168.1.1"},
		{"link-local addresses are strangers too", []string{"10.0.0.0/8"}, "169.254.1.1:4711", []string{"203.0.113.9"}, "169.254.1.1"},
		{"a trusted proxy", []string{"10.0.0.0/8"}, "10.1.1.1:4711", []string{"203.0.113.9"}, "203.0.113.9"},
		{"a trusted address", []string{"10.1.1.1"}, "10.1.1.1:4711", []string{"203.0.113.9"}, "203.0.113.9"},
		{"a trusted proxy in IPv6 form", []string{"10.0.0.0/8"}, "[::ffff:10.1.1.1]:4711", []string{"203.0.113.9"}, "203.0.113.9"},
		{"a trusted IPv6 proxy", []string{"2001:db8::/32"}, "[2001:db8::1]:4711", []string{"203.0.113.9"}, "203.0.113.9"},
		{"without a header", []string{"10.0.0.0/8"}, "10.1.1.1:4711", nil, "10.1.1.1"},
		{"what the client put first is not believed", []string{"10.0.0.0/8"}, "10.1.1.1:4711", []string{"1.2.3.4, 203.0.113.9"}, "203.0.113.9"},
		{"nor in a header of its own", []string{"10.0.0.0/8"}, "10.1.1.1:4711", []string{"1.2.3.4", "203.0.113.9"}, "203.0.113.9"},
		{"two trusted proxies", []string{"10.0.0.0/8"}, "10.1.1.1:4711", []string{"203.0.113.9, 10.2.2.2"}, "203.0.113.9"},
		{"a private address before a trusted one", []string{"10.0.0.0/8"}, "10.1.1.1:4711", []string{"203.0.113.9, 192.168.1.1"}, "192.168.1.1"},
		{"only trusted ones", []string{"10.0.0.0/8"}, "10.1.1.1:4711", []string{"10.3.3.3, 10.2.2.2"}, "10.3.3.3"},
		{"no address", []string{"10.0.0.0/8"}, "10.1.1.1:4711", []string{"<script>"}, ""},
		{"with a port", []string{"10.0.0.0/8"}, "10.1.1.1:4711", []string{"203.0.113.9:80"}, "203.0.113.9"},
		{"IPv6 with a port", []string{"10.0.0.0/8"}, "10.1.1.1:4711", []string{"[2001:db8::9]:443"}, "2001:db8::9"},
		{"IPv6 in brackets", []string{"10.0.0.0/8"}, "10.1.1.1:4711", []string{"[2001:db8::9]"}, "2001:db8::9"},
		{"with a zone", []string{"10.0.0.0/8"}, "10.1.1.1:4711", []string{"fe80::1%eth0"}, "fe80::1"},
		{"with a zone and a port", []string{"10.0.0.0/8"}, "10.1.1.1:4711", []string{"[fe80::1%eth0]:80"}, "fe80::1"},
		{"a trusted one with a port", []string{"10.0.0.0/8"}, "10.1.1.1:4711", []string{"203.0.113.9:80, 10.2.2.2:90"}, "203.0.113.9"},
		{"unknown", []string{"10.0.0.0/8"}, "10.1.1.1:4711", []string{"203.0.113.9, unknown"}, ""},
		{"unknown further away", []string{"10.0.0.0/8"}, "10.1.1.1:4711", []string{"unknown, 203.0.113.9"}, "203.0.113.9"},
		{"a host name", []string{"10.0.0.0/8"}, "10.1.1.1:4711", []string{"logto.example"}, ""},
		{"a network", []string{"10.0.0.0/8"}, "10.1.1.1:4711", []string{"203.0.113.0/24"}, ""},
		{"blanks and empty ones", []string{"10.0.0.0/8"}, "10.1.1.1:4711", []string{"203.0.113.9 , ,", " "}, "203.0.113.9"},
		{"empty", []string{"10.0.0.0/8"}, "10.1.1.1:4711", []string{""}, "10.1.1.1"},
		{"forwarded IPv6", []string{"10.0.0.0/8"}, "10.1.1.1:4711", []string{"2001:db8::9"}, "2001:db8::9"},
		{"forwarded IPv4 in IPv6", []string{"10.0.0.0/8"}, "10.1.1.1:4711", []string{"::ffff:203.0.113.9"}, "203.0.113.9"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := testOptions()
			s.TrustedProxies = networks(t, test.trusted...)
			log := new(logs)
			r := webhookRequest(good)
			r.RemoteAddr = test.remote
			if test.forwarded != nil {
				r.Header["X-Forwarded-For"] = test.forwarded
			}
			r.Header.Set("X-Real-Ip", "1.1.1.1")
			serve(publicOver(s, deliver(accept), log), r)
			if got := log.line(t, "request")["caller"]; got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestAllowedIPs(t *testing.T) {
	tests := []struct {
		name, remote, forwarded string
		code                    int
	}{
		{"inside", "192.0.2.7:1", "", 200},
		{"outside", "198.51.100.7:1", "", 403},
		{"inside, IPv6", "[2001:db8::7]:1", "", 200},
		{"inside, in IPv6 form", "[::ffff:192.0.2.7]:1", "", 200},
		{"outside, claiming to be inside", "198.51.100.7:1", "192.0.2.7", 403},
		{"inside behind a proxy", "10.0.0.1:1", "192.0.2.7", 200},
		{"outside behind a proxy", "10.0.0.1:1", "198.51.100.7", 403},
		{"the proxy itself", "10.0.0.1:1", "", 403},
		{"nobody", "@", "", 403},
		{"nobody behind a proxy", "10.0.0.1:1", "unknown", 403},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := testOptions()
			s.AllowedIPs = networks(t, "192.0.2.0/24", "2001:db8::/32")
			s.TrustedProxies = networks(t, "10.0.0.1")
			r := webhookRequest(good)
			r.RemoteAddr = test.remote
			if test.forwarded != "" {
				r.Header.Set("X-Forwarded-For", test.forwarded)
			}
			r.Header.Del("Authorization")
			if test.code == 200 {
				r.Header.Set("Authorization", testToken)
			}
			got := serve(publicOver(s, deliver(accept), new(logs)), r)
			if test.code == 403 {
				checkFailure(t, got, 403, web.Forbidden, "en")
			} else if got.StatusCode != test.code {
				t.Error(got.Status)
			}
		})
	}
	t.Run("the probe is for everybody", func(t *testing.T) {
		s := testOptions()
		s.AllowedIPs = networks(t, "192.0.2.0/24")
		r := webhookRequest("")
		r.Method, r.URL.Path, r.RemoteAddr = http.MethodGet, "/healthz", "198.51.100.7:1"
		if got := serve(publicOver(s, deliver(accept), new(logs)), r); got.StatusCode != 200 {
			t.Error(got.Status)
		}
	})
}

// Whatever stands in the headers, the webhook is for those who have the token and an
// allowed address, and everybody has a proper answer.
func FuzzHeaders(f *testing.F) {
	f.Add(testToken, "application/json", "", "192.0.2.7")
	f.Add("Bearer  "+testToken, "application/json; charset=utf-8", "application/json;q=0.5, */*", "192.0.2.7, 10.0.0.1")
	f.Add(testToken, "text/plain", "application/problem+json", "[2001:db8::7]:443")
	f.Add("", "application/json;q", "text/*;q=2", "unknown, ::ffff:192.0.2.7%eth0")
	o := testOptions()
	for list, text := range map[*[]settings.Network]string{&o.AllowedIPs: "192.0.2.0/24", &o.TrustedProxies: "10.0.0.1"} {
		*list = make([]settings.Network, 1)
		if err := (*list)[0].UnmarshalText([]byte(text)); err != nil {
			f.Fatal(err)
		}
	}
	address := callerAddress(o.TrustedProxies)
	f.Fuzz(func(t *testing.T, authorization, contentType, accept, forwarded string) {
		r := webhookRequest(good)
		r.RemoteAddr = "10.0.0.1:1"
		for name, value := range map[string]string{"Authorization": authorization, "Content-Type": contentType, "Accept": accept, "X-Forwarded-For": forwarded} {
			r.Header.Set(name, value)
		}
		caller, err := netip.ParseAddr(address(r))
		calls := 0
		got := serve(publicOver(o, counting(&calls), new(logs)), r)
		mayCall := err == nil && contains(o.AllowedIPs, caller) && authorization == testToken
		if served := got.StatusCode == 200; served != (calls == 1) || served && !mayCall {
			t.Errorf("%d after %d calls for %v", got.StatusCode, calls, caller)
		}
		switch got.StatusCode {
		case 200, 401, 403, 415:
		default:
			t.Errorf("got %d", got.StatusCode)
		}
		if len(bodyOf(t, got)) == 0 {
			t.Errorf("%d without a word", got.StatusCode)
		}
	})
}
