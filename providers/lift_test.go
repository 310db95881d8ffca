package providers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"logto-email-relay/settings"
)

// liftCase is how a service answers when an address is to leave its lists.
type liftCase struct {
	settings func() Settings
	// asked are the requests, and absent the answer for an address that is not on a
	// list.
	asked  []string
	lifted answer
	absent answer
	// denied is the answer to a key that may not, with what the operator reads then.
	denied answer
	hint   string
}

// Whoever is on no list is as good as lifted; a key that may not lift says so.
func TestLift(t *testing.T) {
	const address = "ada+x@example.org"
	cases := map[string]liftCase{
		"sendgrid": {
			settings: func() Settings { return sendGridVerifiedBy("") },
			asked: []string{"DELETE /v3/suppression/bounces/ada+x@example.org", "DELETE /v3/suppression/blocks/ada+x@example.org",
				"DELETE /v3/suppression/invalid_emails/ada+x@example.org", "DELETE /v3/suppression/spam_reports/ada+x@example.org",
				"DELETE /v3/asm/suppressions/global/ada+x@example.org"},
			lifted: answer{status: 204},
			absent: answer{404, nil, `{"errors":[{"message":"resource not found"}]}`},
			denied: answer{403, nil, `{"errors":[{"message":"access forbidden for ada+x@example.org"}]}`}, hint: "permissions Suppressions",
		},
		"mailgun": {
			settings: func() Settings { return mailgunVerifiedBy("") },
			asked: []string{"DELETE /v3/mg.acme.example/bounces/ada+x@example.org", "DELETE /v3/mg.acme.example/complaints/ada+x@example.org",
				"DELETE /v3/mg.acme.example/unsubscribes/ada+x@example.org"},
			lifted: answer{200, nil, `{"message":"Bounced address has been removed","address":"ada+x@example.org"}`},
			absent: answer{404, nil, `{"message":"Address not found in bounces table"}`},
			denied: answer{401, nil, `Forbidden`}, hint: "sending key",
		},
		"ses": {
			settings: func() Settings { return sesOf("") },
			asked:    []string{"DELETE /v2/email/suppression/addresses/ada%2Bx%40example.org"},
			lifted:   answer{200, nil, `{}`},
			absent:   answer{404, map[string]string{"X-Amzn-ErrorType": "NotFoundException"}, `{"message":"Email address ada+x@example.org does not exist on your suppression list."}`},
			denied:   answer{403, map[string]string{"X-Amzn-ErrorType": "AccessDeniedException"}, `{"message":"not authorized to perform: ses:DeleteSuppressedDestination on ada+x@example.org"}`}, hint: "allow this key ses:DeleteSuppressedDestination",
		},
		"postmark": {
			settings: func() Settings { s := newPostmarkSettings(); s.ServerToken = settings.NewSecret("token"); return s },
			asked:    []string{`POST /message-streams/outbound/suppressions/delete {"Suppressions":[{"EmailAddress":"ada+x@example.org"}]}`},
			lifted:   answer{200, nil, `{"Suppressions":[{"EmailAddress":"ada+x@example.org","Status":"Deleted","Message":null}]}`},
			absent:   answer{200, nil, `{"Suppressions":[{"EmailAddress":"ada+x@example.org","Status":"Deleted","Message":null}]}`},
			denied:   answer{200, nil, `{"Suppressions":[{"EmailAddress":"ada+x@example.org","Status":"Failed","Message":"You do not have the required authority to change ada+x@example.org."}]}`}, hint: "required authority",
		},
		"resend": {
			settings: func() Settings { return resendVerifiedBy("") },
			asked:    []string{"DELETE /suppressions/ada+x@example.org"},
			lifted:   answer{200, nil, `{"object":"suppression","id":"e169aa45","deleted":true}`},
			absent:   answer{404, nil, `{"statusCode":404,"name":"not_found","message":"Suppression not found"}`},
			denied:   answer{401, nil, `{"statusCode":401,"name":"restricted_api_key","message":"This API key is restricted to only send emails, not for ada+x@example.org"}`}, hint: "may only send",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			var asked []string
			var say answer
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				defer mu.Unlock()
				body, _ := io.ReadAll(r.Body)
				path := r.URL.EscapedPath()
				asked = append(asked, strings.TrimSpace(fmt.Sprint(r.Method, " ", path, " ", string(body))))
				if r.Header.Get("Authorization") == "" && r.Header.Get("X-Postmark-Server-Token") == "" {
					t.Error("the request bears no key")
				}
				say.write(w)
			}))
			defer server.Close()
			s := c.settings()
			s.Shared().Endpoint = server.URL
			p, err := s.Open()
			if err != nil {
				t.Fatal(err)
			}
			lift := func(a answer) error {
				mu.Lock()
				asked, say = nil, a
				mu.Unlock()
				return p.(Lifter).Lift(t.Context(), address)
			}
			for _, good := range []answer{c.lifted, c.absent} {
				if err := lift(good); err != nil {
					t.Errorf("%d: %v", good.status, err)
				}
				if !slices.Equal(asked, c.asked) {
					t.Errorf("asked for %q", asked)
				}
			}
			for _, bad := range []answer{c.denied, {500, nil, `{}`}, {404, nil, proxyPage}, {200, nil, proxyPage}, {302, map[string]string{"Location": "https://evil.example"}, ""}} {
				err := lift(bad)
				var failure *Error
				if !errors.As(err, &failure) || failure == nil {
					t.Errorf("%d: %v", bad.status, err)
					continue
				}
				if bad.status == c.denied.status && bad.body == c.denied.body && !strings.Contains(err.Error(), c.hint) {
					t.Errorf("%v says nothing of %q", err, c.hint)
				}
				if strings.Contains(fmt.Sprintf("%+v", err), "ada") {
					t.Errorf("quotes the address: %v", err)
				}
			}
		})
	}
}

// What Resend does not do for every account, or has not done, lifts nothing.
func TestResendLiftsNothing(t *testing.T) {
	for hint, said := range map[string]answer{
		"cannot do so through the API": {404, nil, `{"statusCode":404,"name":"not_found","message":"The requested endpoint does not exist."}`},
		"check endpoint":               {200, nil, `{"object":"suppression","deleted":false}`},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { said.write(w) }))
		s := resendVerifiedBy("")
		s.Shared().Endpoint = server.URL
		p, err := s.Open()
		if err != nil {
			t.Fatal(err)
		}
		if err := p.(Lifter).Lift(t.Context(), "ada@example.org"); err == nil || !strings.Contains(err.Error(), hint) {
			t.Errorf("%s: %v", said.body, err)
		}
		server.Close()
	}
}

// FuzzVerifyAndLift lets services say anything when they are asked whether a key is
// good, or to take an address off their lists.
func FuzzVerifyAndLift(f *testing.F) {
	const address = "ada+x@example.org"
	fuzzAnswers(f, func(name string, answers *httpFixture) {
		f.Add(name, 200, `{}`)
		f.Add(name, 403, `{"message":"not for ada+x@example.org"}`)
		for _, verdict := range answers.verdicts {
			f.Add(name, verdict.status, verdict.body)
		}
	}, func(t *testing.T, ctx context.Context, p Provider, status int) {
		check := func(err error) {
			var failure *Error
			if err != nil && (!errors.As(err, &failure) || failure.Kind.String() == "" || len(err.Error()) > 1000 || strings.Contains(err.Error(), address)) {
				t.Errorf("%v", err)
			}
		}
		if verifier, ok := p.(Verifier); ok {
			note, err := verifier.Verify(ctx)
			check(err)
			if len(note) > 1000 {
				t.Errorf("a note of %d bytes", len(note))
			}
		}
		if lifter, ok := p.(Lifter); ok {
			err := lifter.Lift(ctx, address)
			check(err)
			if err == nil && status > 299 && status != http.StatusNotFound {
				t.Errorf("lifted after %d", status)
			}
		}
	})
}
