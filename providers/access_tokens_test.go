package providers

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"

	"logto-email-relay/settings"
	"logto-email-relay/smtp"
)

const (
	mailboxUser       = "relay@acme.example"
	testClientSecret  = "cl1ent-secret"
	testRefreshToken  = "1//refresh-t0ken"
	xoauth2Challenge  = `{"status":"401","schemes":"bearer","scope":"https://mail.google.com/"}`
	xoauth2Refusal    = "535 5.7.8 Username and Password not accepted"
	testServiceClient = "relay@project.iam.gserviceaccount.com"
)

// tokenEndpoint issues access tokens, each good until the next one is issued.
type tokenEndpoint struct {
	url string
	// answer replaces the usual one, if it is not nil.
	answer func(w http.ResponseWriter, r *http.Request, request int) bool

	mu       sync.Mutex
	requests []url.Values
	revoked  bool
}

func startTokenEndpoint(t *testing.T) *tokenEndpoint {
	e := &tokenEndpoint{}
	server, _ := startServer(t, func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		e.mu.Lock()
		e.requests = append(e.requests, r.PostForm)
		e.revoked = false
		n := len(e.requests)
		e.mu.Unlock()
		if r.Method != http.MethodPost || r.URL.Path != "/token" {
			http.NotFound(w, r)
			return
		}
		if e.answer != nil && e.answer(w, r, n) {
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"access_token":"acc3ss-%d","token_type":"Bearer","expires_in":3600}`, n)
	})
	e.url = server.URL + "/token"
	return e
}

// current is the token that is good; empty when there is none.
func (e *tokenEndpoint) current() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.requests) == 0 || e.revoked {
		return ""
	}
	return fmt.Sprintf("acc3ss-%d", len(e.requests))
}

func (e *tokenEndpoint) revoke() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.revoked = true
}

func (e *tokenEndpoint) asked() []url.Values {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.requests)
}

// startTokenSMTP starts a server that lets in whoever bears the good token.
func startTokenSMTP(t *testing.T, good func() string) *fakeSMTP {
	fake := &fakeSMTP{extensions: []string{"PIPELINING", "AUTH LOGIN PLAIN XOAUTH2"}}
	fake.converse = func(command string, ask func(string) string) string {
		want := "user=" + mailboxUser + "\x01auth=Bearer " + good() + "\x01\x01"
		if command == "AUTH XOAUTH2 "+base64.StdEncoding.EncodeToString([]byte(want)) && good() != "" {
			return "235 2.7.0 Accepted"
		}
		if answer := ask(base64.StdEncoding.EncodeToString([]byte(xoauth2Challenge))); answer != "" {
			return "501 5.5.2 the challenge wants an empty answer"
		}
		return xoauth2Refusal
	}
	return fake.start(t)
}

func byRefreshToken(endpoint string) func(*SMTPSettings) {
	return func(s *SMTPSettings) {
		s.Auth = &SMTPAuth{Type: "OAuth2", User: mailboxUser, ClientID: "relay-client",
			ClientSecret: settings.NewSecret(testClientSecret), RefreshToken: settings.NewSecret(testRefreshToken), AccessURL: endpoint}
	}
}

func TestSMTPOAuth2(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	inPEM := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	for _, test := range []struct {
		name  string
		auth  SMTPAuth
		asked map[string]string
	}{
		{"refresh token", SMTPAuth{Type: "OAuth2", ClientID: "relay-client", ClientSecret: settings.NewSecret(testClientSecret),
			RefreshToken: settings.NewSecret(testRefreshToken)},
			map[string]string{"grant_type": "refresh_token", "client_id": "relay-client", "client_secret": testClientSecret,
				"refresh_token": testRefreshToken}},
		{"refresh token of a public client", SMTPAuth{ClientID: "relay-client", RefreshToken: settings.NewSecret(testRefreshToken)},
			map[string]string{"grant_type": "refresh_token", "client_id": "relay-client", "refresh_token": testRefreshToken}},
		{"client credentials", SMTPAuth{ClientID: "relay-client", ClientSecret: settings.NewSecret(testClientSecret)},
			map[string]string{"grant_type": "client_credentials", "client_id": "relay-client", "client_secret": testClientSecret,
				"scope": "https://outlook.office365.com/.default"}},
		{"client credentials for another scope", SMTPAuth{ClientID: "relay-client", ClientSecret: settings.NewSecret(testClientSecret),
			Scope: "smtp.send other"},
			map[string]string{"grant_type": "client_credentials", "client_id": "relay-client", "client_secret": testClientSecret,
				"scope": "smtp.send other"}},
		{"service account", SMTPAuth{ServiceClient: testServiceClient, PrivateKey: settings.NewSecret(inPEM)},
			map[string]string{"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			endpoint := startTokenEndpoint(t)
			fake := startTokenSMTP(t, endpoint.current)
			provider := openSMTP(t, fake.Port(), func(s *SMTPSettings) {
				auth := test.auth
				auth.Type, auth.User, auth.AccessURL = "oauth2", mailboxUser, endpoint.url
				s.Auth, s.MaxMessages = &auth, new(1) // a connection a mail
			})
			for range 3 {
				if _, err := provider.Send(shortly(t), smtpMessage()); err != nil {
					t.Fatal(err)
				}
			}
			if connections, _, mails := fake.Seen(); connections != 3 || len(mails) != 3 {
				t.Errorf("%d mails over %d connections", len(mails), connections)
			}
			asked := endpoint.asked()
			if len(asked) != 1 {
				t.Fatalf("%d tokens were asked for, want one for all connections", len(asked))
			}
			if assertion := asked[0].Get("assertion"); assertion != "" {
				checkAssertion(t, assertion, &key.PublicKey, endpoint.url)
				asked[0].Del("assertion")
			}
			for name, want := range test.asked {
				if got := asked[0].Get(name); got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
			if len(asked[0]) != len(test.asked) {
				t.Errorf("asked with %v", asked[0])
			}
		})
	}
}

// checkAssertion verifies the signature and the claims of a service account's
// request (RFC 7523).
func checkAssertion(t *testing.T, assertion string, key *rsa.PublicKey, audience string) {
	t.Helper()
	parts := strings.Split(assertion, ".")
	if len(parts) != 3 {
		t.Fatalf("assertion with %d parts", len(parts))
	}
	signature, _ := base64.RawURLEncoding.DecodeString(parts[2])
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err := rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature); err != nil {
		t.Error(err)
	}
	payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct {
		Iss, Sub, Scope, Aud string
		Exp                  int64
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	if claims.Iss != testServiceClient || claims.Sub != mailboxUser || claims.Scope != "https://mail.google.com/" || claims.Aud != audience {
		t.Errorf("claims %+v", claims)
	}
	if left := time.Until(time.Unix(claims.Exp, 0)); left < 0 || left > time.Hour {
		t.Errorf("the assertion expires in %v", left)
	}
}

// A token that the operator wrote down is used as long as it is good.
func TestSMTPGivenAccessToken(t *testing.T) {
	fake := startTokenSMTP(t, func() string { return "g1ven-token" })
	with := func(token string, expires time.Time) *smtpProvider {
		return openSMTP(t, fake.Port(), func(s *SMTPSettings) {
			s.Auth = &SMTPAuth{Type: "oauth2", User: mailboxUser, AccessToken: settings.NewSecret(token)}
			if !expires.IsZero() {
				s.Auth.Expires = expires.UnixMilli()
			}
		})
	}
	for _, expires := range []time.Time{{}, time.Now().Add(time.Hour)} {
		if _, err := with("g1ven-token", expires).Send(shortly(t), smtpMessage()); err != nil {
			t.Error(err)
		}
	}
	for name, provider := range map[string]*smtpProvider{
		"expired": with("g1ven-token", time.Now().Add(-time.Second)), "wrong": with("wr0ng-token", time.Time{})} {
		for range 2 {
			_, err := provider.Send(shortly(t), smtpMessage())
			if e := asSMTPError(t, err); e.Kind != Configuration || strings.Contains(fmt.Sprintf("%+v", e), "-token") {
				t.Errorf("%s: %v", name, e)
			}
		}
	}
	if _, _, mails := fake.Seen(); len(mails) != 2 {
		t.Errorf("%d mails", len(mails))
	}
}

// A token that the server no longer takes is replaced at once, and once.
func TestSMTPRefusedTokenIsRenewed(t *testing.T) {
	endpoint := startTokenEndpoint(t)
	good := endpoint.current
	fake := startTokenSMTP(t, func() string { return good() })
	provider := openSMTP(t, fake.Port(), byRefreshToken(endpoint.url), func(s *SMTPSettings) { s.MaxMessages = new(1) })
	if _, err := provider.Send(shortly(t), smtpMessage()); err != nil {
		t.Fatal(err)
	}
	endpoint.revoke()
	if _, err := provider.Send(shortly(t), smtpMessage()); err != nil {
		t.Fatal(err)
	}
	if n := len(endpoint.asked()); n != 2 {
		t.Errorf("%d tokens were asked for, want 2", n)
	}
	if connections, _, mails := fake.Seen(); connections != 3 || len(mails) != 2 {
		t.Errorf("%d mails over %d connections", len(mails), connections)
	}

	good = func() string { return "" } // nothing is good any more
	for round := range 2 {
		before := len(endpoint.asked())
		_, err := provider.Send(shortly(t), smtpMessage())
		e := asSMTPError(t, err)
		if e.Kind != Configuration || e.Stage != "AUTH" || e.Code != "535 5.7.8" || !strings.Contains(e.Hint, "access token") {
			t.Error(e)
		}
		if n := len(endpoint.asked()) - before; n != 1 {
			t.Errorf("round %d: %d tokens were asked for, want 1", round, n)
		}
	}
}

func TestSMTPWithoutXOAUTH2(t *testing.T) {
	endpoint := startTokenEndpoint(t)
	fake := (&fakeSMTP{extensions: []string{"AUTH LOGIN PLAIN"}}).start(t)
	_, err := openSMTP(t, fake.Port(), byRefreshToken(endpoint.url)).Send(shortly(t), smtpMessage())
	if e := asSMTPError(t, err); e.Kind != Configuration || !strings.Contains(e.Error(), "XOAUTH2") {
		t.Error(e)
	}
	if n := len(endpoint.asked()); n != 0 {
		t.Errorf("%d tokens were asked for", n)
	}
}

func TestSMTPTokenFailures(t *testing.T) {
	echo := func(status int, code string) func(http.ResponseWriter, *http.Request, int) bool {
		return func(w http.ResponseWriter, r *http.Request, _ int) bool {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(status)
			_ = json.NewEncoder(w).Encode(map[string]string{"error": code, "error_description": "you sent " + r.PostForm.Encode() +
				" " + testClientSecret + " " + testRefreshToken})
			return true
		}
	}
	says := func(status int, body string) func(http.ResponseWriter, *http.Request, int) bool {
		return func(w http.ResponseWriter, _ *http.Request, _ int) bool {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
			return true
		}
	}
	for _, test := range []struct {
		name   string
		answer func(http.ResponseWriter, *http.Request, int) bool
		kind   Kind
		words  string
	}{
		{"refresh token revoked", echo(400, "invalid_grant"), Configuration, "invalid_grant: the refresh token"},
		{"wrong secret", echo(401, "invalid_client"), Configuration, "auth.clientSecret"},
		{"scope not allowed", echo(403, "unauthorized_client"), Configuration, "domain-wide delegation"},
		{"scope unknown", echo(400, "invalid_scope"), Configuration, "auth.scope"},
		{"Microsoft's own code", says(401, `{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret provided."}`),
			Configuration, "AADSTS7000215: check auth.clientId"},
		{"a client that is not there", says(400, `{"error":"unauthorized_client","error_description":"AADSTS700016: Application with identifier 'x' was not found in the directory 'Acme'."}`),
			Configuration, "AADSTS700016: check auth.clientId, and the tenant"},
		{"a tenant that is not there", says(400, `{"error":"invalid_request","error_description":"AADSTS90002: Tenant 'x' not found."}`),
			Configuration, "AADSTS90002: check the tenant in auth.accessUrl"},
		{"a scope of another cloud", says(400, `{"error":"invalid_resource","error_description":"AADSTS500011: The resource principal named https://graph.microsoft.de was not found in the tenant named Acme."}`),
			Configuration, "AADSTS500011: check auth.scope"},
		{"a resource that is not there", says(400, `{"error":"invalid_target"}`), Configuration, "auth.scope"},
		{"Microsoft, of many requests", says(400, `{"error":"invalid_grant","error_description":"AADSTS50196: The server terminated an operation because it encountered a client request loop."}`),
			RateLimited, "AADSTS50196"}, // https://github.com/AzureAD/microsoft-authentication-library-for-js/issues/547
		{"Zoho, of many requests", says(400, `{"error":"Access Denied","error_description":"You have made too many requests continuously. Please try again after some time."}`),
			RateLimited, "OAuth2"}, // https://www.zoho.com/crm/developer/docs/api/v7/token-validity.html
		{"Zoho, of many requests, as it has it", says(200, `{"error":"Access Denied","error_description":"You have made too many requests continuously."}`),
			RateLimited, "OAuth2"}, // https://help.zoho.com/portal/en/community/topic/kaizen-43
		{"Zoho's refusal", says(200, `{"error":"invalid_code"}`), Configuration, "the refresh token is refused"},
		{"Yahoo's refusal", says(400, `{"error":"INVALID_REFRESH_TOKEN"}`), Configuration, "invalid_refresh_token: the refresh token is refused"},
		{"Yahoo's client", says(401, `{"error":"INVALID_CLIENT_SECRET"}`), Configuration, "auth.clientSecret"},
		{"Keycloak's client", says(401, `{"error":"unauthorized_client","error_description":"Invalid client or Invalid client credentials"}`), Configuration, "check auth.clientSecret"},
		{"Microsoft, of a scope", says(400, `{"error":"invalid_request","error_description":"AADSTS1002012: The provided value for scope is not valid."}`), Configuration, "/.default"},
		{"Microsoft, busy", says(429, `{"error":"temporarily_unavailable","error_description":"AADSTS90055"}`), RateLimited, "AADSTS90055"},
		{"asked too often", says(400, `{"error":"slow_down"}`), RateLimited, "slow_down"}, // RFC 8628
		{"Google's own trouble", says(400, `{"error":"internal_failure"}`), Temporary, "internal_failure"},
		{"a client that is deleted", says(401, `{"error":"deleted_client"}`), Configuration, "auth.clientId"},
		{"a server that fails, as a 400", says(400, `{"error":"server_error"}`), Temporary, "server_error"},
		{"echo as code", echo(400, testClientSecret), Configuration, "OAuth2: 400"},
		{"no such page", says(404, "404 page not found"), Configuration, "auth.accessUrl"},
		{"moved", func(w http.ResponseWriter, r *http.Request, _ int) bool {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
			return true
		}, Configuration, "auth.accessUrl"},
		{"no token", says(200, `{"token_type":"Bearer"}`), Configuration, "no access token"},
		{"a token of two lines", says(200, `{"access_token":"a\nb"}`), Configuration, "no access token"},
		{"no token, compressed", func(w http.ResponseWriter, _ *http.Request, _ int) bool {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = io.WriteString(w, zipped(`{"token_type":"Bearer"}`))
			return true
		}, Configuration, "no access token"},
		{"broken off, compressed", func(w http.ResponseWriter, _ *http.Request, _ int) bool {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = io.WriteString(w, zipped(`{"token_type":"Bearer"}`)[:20])
			return true
		}, Temporary, "broke off"},
		{"not JSON", says(200, "<html>"), Configuration, "no access token"},
		{"too many", echo(429, ""), RateLimited, "429"},
		{"busy", echo(400, "temporarily_unavailable"), Temporary, "temporarily_unavailable"},
		{"server error", echo(500, "server_error"), Temporary, "server_error"},
		{"gateway", says(502, proxyPage), Temporary, "502"},
		{"cut", func(http.ResponseWriter, *http.Request, int) bool { panic(http.ErrAbortHandler) }, Temporary, "OAuth2: EOF"},
		{"broken off", func(w http.ResponseWriter, _ *http.Request, _ int) bool {
			w.Header().Set("Content-Length", "500")
			_, _ = io.WriteString(w, `{"access_to`)
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, Temporary, "broke off"},
		{"endless", func(w http.ResponseWriter, r *http.Request, _ int) bool {
			for r.Context().Err() == nil {
				if _, err := io.WriteString(w, strings.Repeat("x", 1<<16)); err != nil {
					break
				}
			}
			return true
		}, Configuration, "no access token"},
		{"silence", func(_ http.ResponseWriter, r *http.Request, _ int) bool { <-r.Context().Done(); return true }, Temporary, "before the deadline"},
	} {
		t.Run(test.name, func(t *testing.T) {
			endpoint := startTokenEndpoint(t)
			endpoint.answer = test.answer
			fake := startTokenSMTP(t, endpoint.current)
			provider := openSMTP(t, fake.Port(), byRefreshToken(endpoint.url))
			limit := 20 * time.Second // against a hang only
			if test.name == "silence" {
				limit = 300 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			_, err := provider.Send(ctx, smtpMessage())
			e := asSMTPError(t, err)
			if e.Kind != test.kind || e.Stage != "OAuth2" || !strings.Contains(e.Error(), test.words) {
				t.Errorf("%v, want %v with %q", e, test.kind, test.words)
			}
			if again := test.kind == Temporary; test.name != "silence" && e.Momentary != again {
				t.Errorf("tried again: %v", e.Momentary)
			}
			if test.kind == RateLimited && e.RetryAfter != 7*time.Second {
				t.Errorf("wait %v", e.RetryAfter)
			}
			printed := fmt.Sprintf("%v %+v %#v %s", e, e, e, e.Code)
			for _, secret := range []string{testClientSecret, testRefreshToken, "acc3ss", mailboxUser} {
				if strings.Contains(printed, secret) {
					t.Errorf("the error tells %q: %s", secret, printed)
				}
			}
		})
	}
	t.Run("no TLS there", func(t *testing.T) {
		endpoint := startTokenEndpoint(t)
		fake := startTokenSMTP(t, endpoint.current)
		_, err := openSMTP(t, fake.Port(), byRefreshToken(strings.Replace(endpoint.url, "http:", "https:", 1))).Send(shortly(t), smtpMessage())
		if e := asSMTPError(t, err); e.Kind != Configuration || e.Stage != "OAuth2" || !strings.Contains(e.Hint, "auth.accessUrl") {
			t.Error(e)
		}
	})
	t.Run("a proxy that refuses", func(t *testing.T) {
		x := &exchange{begun: true}
		x.atProxy.Store(true)
		if e := tokenFailure(x, &smtp.ProxyError{Status: 407}); e.Kind != Configuration || e.Stage != "OAuth2" || !strings.Contains(e.Hint, "proxy") || strings.Contains(e.Hint, "accessUrl") {
			t.Error(e)
		}
	})
	t.Run("nobody there", func(t *testing.T) {
		listener := listen(t)
		_ = listener.Close()
		fake := startTokenSMTP(t, func() string { return "" })
		_, err := openSMTP(t, fake.Port(), byRefreshToken("http://"+listener.Addr().String())).Send(shortly(t), smtpMessage())
		if e := asSMTPError(t, err); e.Kind != Temporary || e.Stage != "OAuth2" {
			t.Error(e)
		}
	})
}

// newTestTokens issues tokens by a function, in the fake time of a test.
func newTestTokens(t *testing.T, issue func(ctx context.Context) (*oauth2.Token, error)) *accessTokens {
	return newAccessTokens(openAPI(t, &Common{}), issue)
}

func TestSMTPTokenIsRenewedAhead(t *testing.T) {
	for _, test := range []struct{ lifetime, renewal time.Duration }{
		{time.Hour, 55 * time.Minute},
		{10 * time.Minute, 8 * time.Minute},
		{time.Minute, 48 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			issued, broken := 0, false
			tokens := newTestTokens(t, func(context.Context) (*oauth2.Token, error) {
				if broken {
					return nil, errors.New("no")
				}
				issued++
				return &oauth2.Token{AccessToken: fmt.Sprint(issued), Expiry: time.Now().Add(test.lifetime)}, nil
			})
			want := func(token string) {
				t.Helper()
				if got, _, failure := tokens.Token(t.Context()); failure != nil || got != token {
					t.Errorf("token %q, %v, want %q", got, failure, token)
				}
			}
			want("1")
			time.Sleep(test.renewal - time.Second)
			want("1")
			time.Sleep(time.Second)
			want("1") // nobody waits while it is good
			synctest.Wait()
			want("2")
			time.Sleep(test.renewal)
			broken = true
			want("2") // it is good until it expires
			synctest.Wait()
			want("2")
			time.Sleep(test.lifetime - test.renewal)
			if got, _, failure := tokens.Token(t.Context()); failure == nil {
				t.Errorf("token %q although it has expired", got)
			}
			broken = false
			want("3")
		})
	}
}

// An endpoint that hangs keeps no mail waiting while there is a good token.
func TestATokenEndpointThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		tokens := newTestTokens(t, func(ctx context.Context) (*oauth2.Token, error) {
			if asked++; asked == 1 {
				return &oauth2.Token{AccessToken: "1", Expiry: time.Now().Add(time.Hour)}, nil
			}
			<-ctx.Done()
			return nil, ctx.Err()
		})
		for start := time.Now(); time.Since(start) < time.Hour; time.Sleep(time.Second) {
			before := time.Now()
			if token, _, err := tokens.Token(t.Context()); err != nil || token != "1" || time.Since(before) != 0 {
				t.Fatalf("%q, %v after %v", token, err, time.Since(before))
			}
		}
		if asked < 10 || asked > 25 {
			t.Errorf("the endpoint was asked %d times", asked)
		}
		time.Sleep(questionTime)
	})
}

func TestSMTPTokenIsRenewedOnceForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issued := 0
		tokens := newTestTokens(t, func(ctx context.Context) (*oauth2.Token, error) {
			issued++
			select {
			case <-time.After(2 * time.Second):
				return &oauth2.Token{AccessToken: fmt.Sprint(issued), Expiry: time.Now().Add(time.Hour)}, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		})
		var group sync.WaitGroup
		group.Go(func() { // the first mail gives up, and leaves the answer to the next
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, _, failure := tokens.Token(ctx); failure == nil || !errors.Is(failure, context.DeadlineExceeded) {
				t.Errorf("%v", failure)
			}
		})
		synctest.Wait()
		group.Go(func() { // this one does not even get its turn
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			defer cancel()
			if _, _, failure := tokens.Token(ctx); AsError(failure).Kind != Temporary {
				t.Errorf("%v", failure)
			}
		})
		for range 20 {
			group.Go(func() {
				if token, _, failure := tokens.Token(t.Context()); failure != nil || token != "1" {
					t.Errorf("token %q, %v", token, failure)
				}
			})
		}
		group.Wait()
		if issued != 1 {
			t.Errorf("%d tokens were asked for, want 1", issued)
		}
	})
}

// Mails that wait for a renewal do not ask again, one after the other, when it fails.
func TestAFailedRenewalIsForAllThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		tokens := newTestTokens(t, func(context.Context) (*oauth2.Token, error) {
			asked++
			time.Sleep(time.Second)
			return nil, errors.New("not now")
		})
		began := time.Now()
		var group sync.WaitGroup
		for range 20 {
			group.Go(func() {
				if _, _, failure := tokens.Token(t.Context()); failure == nil {
					t.Error("there is a token")
				}
			})
		}
		group.Wait()
		if took := time.Since(began); asked != 1 || took != time.Second {
			t.Errorf("asked %d times in %v", asked, took)
		}
		if _, _, failure := tokens.Token(t.Context()); failure == nil || asked != 2 {
			t.Errorf("the next mail: %v, asked %d times", failure, asked)
		}
	})
}

// Some services give a new refresh token with each access token.
func TestSMTPRefreshTokenIsReplaced(t *testing.T) {
	endpoint := startTokenEndpoint(t)
	endpoint.answer = func(w http.ResponseWriter, _ *http.Request, n int) bool {
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"access_token":"acc3ss-%d","refresh_token":"r-%d"}`, n, n)
		return true
	}
	fake := startTokenSMTP(t, endpoint.current)
	provider := openSMTP(t, fake.Port(), byRefreshToken(endpoint.url), func(s *SMTPSettings) { s.MaxMessages = new(1) })
	for range 3 {
		if _, err := provider.Send(shortly(t), smtpMessage()); err != nil {
			t.Fatal(err)
		}
		endpoint.revoke()
	}
	var used []string
	for _, request := range endpoint.asked() {
		used = append(used, request.Get("refresh_token"))
	}
	if want := []string{testRefreshToken, "r-1", "r-2"}; !slices.Equal(used, want) {
		t.Errorf("refresh tokens %q, want %q", used, want)
	}
}

// The newest refresh token is kept in a file where one is named, for a restart and for a change of
// the settings. Where none is, or where it cannot be written, whoever signs in to try is told.
func TestTheNewestRefreshTokenIsKept(t *testing.T) {
	var valid sync.Map
	endpoint := startTokenEndpoint(t)
	endpoint.answer = func(w http.ResponseWriter, r *http.Request, n int) bool {
		if _, ok := valid.LoadAndDelete(r.PostForm.Get("refresh_token")); !ok { // each counts once
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"error":"invalid_grant"}`)
			return true
		}
		next := fmt.Sprintf("r-%d", n)
		valid.Store(next, true)
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"access_token":"acc3ss-%d","refresh_token":%q}`, n, next)
		return true
	}
	fake := startTokenSMTP(t, endpoint.current)
	file := filepath.Join(t.TempDir(), "refresh-token")
	inFile := func(name string) func(*SMTPSettings) {
		return func(s *SMTPSettings) {
			s.Auth.RefreshToken, s.Auth.RefreshTokenFile = settings.Secret{}, name
			s.MaxMessages = new(1)
		}
	}
	open := func(change func(*SMTPSettings)) Verifier {
		return openSMTP(t, fake.Port(), byRefreshToken(endpoint.url), change)
	}
	expect := func(what string, p Verifier, words string) {
		t.Helper()
		note, err := p.Verify(shortly(t))
		if err != nil {
			note = err.Error()
		}
		if words == "" && note != "" || !strings.Contains(note, words) {
			t.Errorf("%s: %q, want %q", what, note, words)
		}
	}
	written := func(text string) {
		t.Helper()
		valid.Store(text, true)
		if err := os.WriteFile(file, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	expect("no file", open(inFile(file)), "no such file or directory: auth.refreshTokenFile has")
	written("first, which is long")
	for range 2 { // as after a restart
		expect("kept", open(inFile(file)), "")
	}
	if content, err := os.ReadFile(file); err != nil || strings.Trim(string(content), "r-0123456789") != "\n" {
		t.Errorf("the file holds %q, %v", content, err)
	}
	p := open(inFile(file))
	expect("a third time", p, "")
	if err := os.WriteFile(file, []byte("\ufeffof a new consent\r\n"), 0o600); err != nil { // while it runs
		t.Fatal(err)
	}
	valid.Store("of a new consent", true)
	endpoint.revoke()
	for range 2 { // the second one logs in
		if _, err := p.Send(shortly(t), smtpMessage()); err != nil {
			t.Error(err)
		}
	}
	if _, isValid := valid.Load("of a new consent"); isValid {
		t.Error("what was written into the file was not used")
	}

	written("in a folder that is taken away")
	p = open(inFile(file))
	expect("before", p, "")
	if err := os.RemoveAll(filepath.Dir(file)); err != nil {
		t.Fatal(err)
	}
	endpoint.revoke()
	for range 2 { // the newest is known all the same
		if _, err := p.Send(shortly(t), smtpMessage()); err != nil {
			t.Error(err)
		}
	}
	expect("not kept", p, "cannot be written")

	valid.Store(testRefreshToken, true)
	expect("in the configuration", open(func(*SMTPSettings) {}), "auth.refreshTokenFile")
}

func TestSMTPOAuth2Settings(t *testing.T) {
	secret := settings.NewSecret
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	pkcs1 := secret(string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})))
	for _, test := range []struct {
		name string
		auth SMTPAuth
		keys string
	}{
		{"nothing", SMTPAuth{}, "auth"},
		{"no user", SMTPAuth{User: "-", AccessToken: secret("x")}, "auth.user"},
		{"password", SMTPAuth{Pass: secret("x"), AccessToken: secret("x")}, "auth.pass"},
		{"method", SMTPAuth{Method: "PLAIN", AccessToken: secret("x")}, "auth.method"},
		{"its own method", SMTPAuth{Method: "xoauth2", AccessToken: secret("x")}, ""},
		{"refresh token without client", SMTPAuth{RefreshToken: secret("x")}, "auth.clientId"},
		{"refresh token", SMTPAuth{RefreshToken: secret("x"), ClientID: "x"}, ""},
		{"refresh token in a file", SMTPAuth{RefreshTokenFile: "x", ClientID: "x"}, ""},
		{"refresh token in a file and here", SMTPAuth{RefreshToken: secret("x"), RefreshTokenFile: "x", ClientID: "x"}, "auth.refreshTokenFile"},
		{"client alone", SMTPAuth{ClientID: "x"}, "auth"},
		{"credentials for nowhere", SMTPAuth{ClientID: "x", ClientSecret: secret("x")}, "auth.accessUrl"},
		{"credentials in clear text", SMTPAuth{ClientID: "x", ClientSecret: secret("x"), AccessURL: "http://login.example.com"}, "auth.accessUrl"},
		{"service account without key", SMTPAuth{ServiceClient: "x"}, "auth.privateKey"},
		{"key without service account", SMTPAuth{PrivateKey: pkcs1}, "auth.serviceClient"},
		{"key that is none", SMTPAuth{ServiceClient: "x", PrivateKey: secret("-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----")}, "auth.privateKey"},
		{"service account", SMTPAuth{ServiceClient: "x", PrivateKey: pkcs1}, ""},
	} {
		s := SMTPSettings{Host: "smtp.example.com", Auth: &test.auth}
		switch s.Auth.Type = "OAuth2"; s.Auth.User {
		case "":
			s.Auth.User = mailboxUser
		case "-":
			s.Auth.User = ""
		}
		var keys []string
		for _, problem := range s.Check() {
			keys = append(keys, problem.Key)
		}
		if got := strings.Join(keys, " "); got != test.keys {
			t.Errorf("%s: problems at %q, want %q", test.name, got, test.keys)
		}
		if s.Auth.User != "" && s.mode() != smtp.TLSRequired {
			t.Errorf("%s: a token may go out in clear text", test.name)
		}
	}
}
