package providers

import (
	"cmp"
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
	"golang.org/x/oauth2/jwt"
)

// How services want OAuth2 to be used for SMTP:
//
//   - Gmail: https://developers.google.com/workspace/gmail/imap/xoauth2-protocol
//   - Microsoft 365: https://learn.microsoft.com/en-us/exchange/client-developer/legacy-protocols/how-to-authenticate-an-imap-pop-smtp-application-by-using-oauth
const (
	googleTokenURL = "https://oauth2.googleapis.com/token"
	googleScope    = "https://mail.google.com/"
	microsoftScope = "https://outlook.office365.com/.default"
)

// isRSAKey tells whether a text in PEM can sign for a service account.
func isRSAKey(text string) bool {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return false
	}
	if _, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return true
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	_, ok := key.(*rsa.PrivateKey)
	return err == nil && ok
}

// usesOAuth2 tells whether the login is by access token.
func (a *SMTPAuth) usesOAuth2() bool { return a != nil && strings.EqualFold(a.Type, "oauth2") }

// checkOAuth2 asks for one of the ways to get an access token.
func (s *SMTPSettings) checkOAuth2(report func(key, text string)) {
	a := s.Auth
	if a.User == "" {
		report("auth.user", "write the mailbox that the mails go through")
	}
	if a.Pass.Reveal() != "" {
		report("auth.pass", `with "type": "oauth2" there is no password; remove it`)
	}
	if a.Method != "" && !strings.EqualFold(a.Method, "XOAUTH2") {
		report("auth.method", `remove it; "type": "oauth2" always logs in by XOAUTH2`)
	}
	for _, problem := range s.checkURL("auth.accessUrl", a.AccessURL) {
		report(problem.Key, problem.Text)
	}
	key := a.PrivateKey.Reveal()
	switch {
	case a.ServiceClient != "" && key == "":
		report("auth.privateKey", "write the private key of the service account")
	case key != "" && a.ServiceClient == "":
		report("auth.serviceClient", "write the client of the service account, its client_email")
	case key != "" && !isRSAKey(key):
		report("auth.privateKey", "write an RSA private key in PEM, without a passphrase, such as ${file:/run/secrets/service-account.pem}")
	case key != "":
	case a.RefreshToken.Reveal() != "" && a.RefreshTokenFile != "":
		report("auth.refreshTokenFile", "write either this or auth.refreshToken")
	case a.RefreshToken.Reveal() != "" || a.RefreshTokenFile != "":
		if a.ClientID == "" {
			report("auth.clientId", "write the client that the refresh token was issued to")
		}
	case a.ClientID != "" && a.ClientSecret.Reveal() != "":
		if a.AccessURL == "" {
			report("auth.accessUrl", "write where tokens are issued, such as https://login.microsoftonline.com/TENANT/oauth2/v2.0/token")
		}
	case a.AccessToken.Reveal() == "":
		report("auth", "write clientId, clientSecret and refreshToken; clientId, clientSecret and accessUrl; "+
			"serviceClient and privateKey; or accessToken")
	}
}

// tokenSource returns where access tokens come from.
func (s *SMTPSettings) tokenSource() (*accessTokens, error) {
	a := s.Auth
	// The way to the token endpoint is the provider's own: same proxy, same
	// local address.
	client, err := newAPI(s.Shared())
	if err != nil {
		return nil, err
	}
	tokens := newAccessTokens(client, nil)
	if text := a.AccessToken.Reveal(); text != "" {
		written := &accessToken{text: text}
		if a.Expires > 0 {
			written.expiry = time.UnixMilli(a.Expires)
			written.renewal = written.expiry
		}
		tokens.current.Store(written)
	}
	scopes := func(usual string) []string { return strings.Fields(cmp.Or(a.Scope, usual)) }
	secret := a.ClientSecret.Reveal()
	switch {
	case a.PrivateKey.Reveal() != "":
		account := &jwt.Config{Email: a.ServiceClient, PrivateKey: []byte(a.PrivateKey.Reveal()), Subject: a.User,
			Scopes: scopes(googleScope), TokenURL: cmp.Or(a.AccessURL, googleTokenURL)}
		tokens.issue = func(ctx context.Context) (*oauth2.Token, error) { return account.TokenSource(ctx).Token() }
	case a.RefreshToken.Reveal() != "" || a.RefreshTokenFile != "":
		refresh := &refreshToken{text: a.RefreshToken.Reveal(), file: a.RefreshTokenFile}
		tokens.note = refresh.note
		endpoint := oauth2.Endpoint{TokenURL: cmp.Or(a.AccessURL, googleTokenURL), AuthStyle: oauth2.AuthStyleInParams}
		app := &oauth2.Config{ClientID: a.ClientID, ClientSecret: secret, Endpoint: endpoint}
		tokens.issue = func(ctx context.Context) (*oauth2.Token, error) {
			text, err := refresh.newest()
			if err != nil {
				return nil, err
			}
			token, err := app.TokenSource(ctx, &oauth2.Token{RefreshToken: text}).Token()
			if err == nil && token.RefreshToken != text {
				refresh.replace(token.RefreshToken)
			}
			return token, err
		}
	case a.ClientID != "" && secret != "":
		app := &clientcredentials.Config{ClientID: a.ClientID, ClientSecret: secret, TokenURL: a.AccessURL,
			Scopes: scopes(microsoftScope), AuthStyle: oauth2.AuthStyleInParams}
		tokens.issue = app.Token
	}
	return tokens, nil
}

// accessToken is one, when it ends, and when to look for the next; zero for never.
type accessToken struct {
	text            string
	renewal, expiry time.Time
}

// accessTokens, of smtp and http, keeps an access token and renews it ahead of its expiry, one renewal at a
// time. While there is a good one nobody waits for the next.
type accessTokens struct {
	client *api
	// issue gets a token; nil where there is only the one that was written down.
	issue func(context.Context) (*oauth2.Token, error)
	// note tells what the operator should know of it, empty for nothing; nil for never.
	note func() string

	current atomic.Pointer[accessToken]   // nil for none
	failed  atomic.Pointer[failedRenewal] // the last one; nil for none
	turn    chan struct{}                 // holds a value while somebody asks for one
}

type failedRenewal struct {
	at      time.Time
	failure Error
}

// newAccessTokens makes one whose way to the service is the client's.
func newAccessTokens(client *api, issue func(context.Context) (*oauth2.Token, error)) *accessTokens {
	return &accessTokens{client: client, issue: issue, turn: make(chan struct{}, 1)}
}

// good returns the token if it has not ended, and whether it is time for the next.
func (t *accessTokens) good() (token *accessToken, isDue bool) {
	token, now := t.current.Load(), time.Now()
	if token == nil || !token.expiry.IsZero() && !now.Before(token.expiry) {
		return nil, false
	}
	return token, !token.renewal.IsZero() && !now.Before(token.renewal)
}

// Token returns the access token, and whether it is as new as one can be: issued
// just now, or the only one there is. Its error is an *Error.
func (t *accessTokens) Token(ctx context.Context) (token string, isNew bool, err error) {
	if good, isDue := t.good(); good != nil {
		if isDue && t.issue != nil {
			t.renewAhead(good)
		}
		return good.text, t.issue == nil, nil
	}
	if t.issue == nil {
		return "", false, &Error{Kind: Configuration, Stage: atOAuth2, Detail: "the access token has expired or is refused",
			Hint: "write a new auth.accessToken, or let the relay get tokens: write auth.refreshToken, " +
				"auth.clientSecret or auth.privateKey"}
	}
	late := &Error{Kind: Temporary, Stage: atOAuth2, Detail: "no access token before the deadline of the mail"}
	began := time.Now()
	select {
	case t.turn <- struct{}{}:
	case <-ctx.Done():
		late.Err = ctx.Err()
		return "", false, late
	}
	if good, _ := t.good(); good != nil { // by whoever had the turn before
		<-t.turn
		return good.text, false, nil
	}
	if last := t.failed.Load(); last != nil && last.at.After(began) { // who waited asked with whoever had the turn
		<-t.turn
		failure := last.failure
		return "", false, &failure
	}
	var (
		issued  string
		failure *Error
	)
	asked := make(chan struct{})
	go func() { // the answer is for the mails behind, too, if it is late for this one
		defer close(asked)
		defer func() { <-t.turn }()
		asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), questionTime)
		defer cancel()
		if issued, failure = t.renew(asking); failure != nil {
			t.failed.Store(&failedRenewal{time.Now(), *failure})
		}
	}()
	select {
	case <-asked:
	case <-ctx.Done():
		late.Err = ctx.Err()
		return "", false, late
	}
	if failure != nil {
		return "", false, failure
	}
	return issued, true, nil
}

const (
	// questionTime bounds one request for a token. Mails wait for it where there is no good token.
	questionTime = 6 * time.Second
	// renewalPause is how long after a failure the next token is asked for, while the current one
	// is still good.
	renewalPause = 10 * time.Second
)

// renewAhead looks for the next token while the current one is good, unless somebody does.
func (t *accessTokens) renewAhead(current *accessToken) {
	select {
	case t.turn <- struct{}{}:
	default:
		return
	}
	go func() {
		defer func() { <-t.turn }()
		ctx, cancel := context.WithTimeout(context.Background(), questionTime)
		defer cancel()
		if _, failure := t.renew(ctx); failure != nil {
			again := *current
			again.renewal = time.Now().Add(renewalPause)
			t.current.CompareAndSwap(current, &again)
		}
	}()
}

// Drop forgets a token that the server refuses.
func (t *accessTokens) Drop(token string) {
	if current := t.current.Load(); current != nil && current.text == token {
		t.current.CompareAndSwap(current, nil)
	}
}

// tokenMargin is how long before its expiry a token is renewed; of a short-lived
// one it is a fifth of its life.
const tokenMargin = 5 * time.Minute

// renew asks for a token. The turn is the caller's.
func (t *accessTokens) renew(ctx context.Context) (string, *Error) {
	asked := time.Now()
	ctx, x := withExchange(ctx)
	client := *t.client.client
	within := &withinContext{ctx: ctx, next: client.Transport}
	client.Transport = within
	issued, err := t.issue(context.WithValue(ctx, oauth2.HTTPClient, &client))
	if unread := new(unreadToken); errors.As(err, &unread) {
		return "", &Error{Kind: Configuration, Stage: atOAuth2, Detail: unread.Error(), Hint: "auth.refreshTokenFile has to be the name of a file with a refresh token", Err: unread}
	}
	if err != nil {
		if within.err != nil {
			err = within.err
		}
		return "", tokenFailure(x, err)
	}
	if issued.AccessToken == "" || breaksLine(issued.AccessToken) {
		return "", tokenFailure(x, errors.New("no access token"))
	}
	next := &accessToken{text: issued.AccessToken, expiry: issued.Expiry, renewal: issued.Expiry}
	if !issued.Expiry.IsZero() {
		next.renewal = issued.Expiry.Add(-min(tokenMargin, issued.Expiry.Sub(asked)/5))
	}
	t.current.Store(next)
	return next.text, nil
}

// withinContext sends requests under the mail's context and keeps the error that
// one failed with: golang.org/x/oauth2/jwt does neither.
type withinContext struct {
	ctx  context.Context
	next http.RoundTripper
	err  error
}

func (w *withinContext) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := w.next.RoundTrip(request.WithContext(w.ctx))
	w.err = err
	return response, err
}

// atOAuth2 is the stage of getting an access token, before AUTH.
const atOAuth2 = "OAuth2"

// tokenFailure judges an answer of the token endpoint (RFC 6749, 5.2). What it
// says beyond its code is not for a log: services quote what they were sent.
func tokenFailure(x *exchange, err error) *Error {
	const usual = "check auth.accessUrl and the keys beside it"
	if x.status == 0 {
		e := x.networkError(err)
		if e.Kind == Uncertain { // of the token, which may be asked for again
			e.Kind, e.Momentary = Temporary, true
		}
		if e.Kind == Configuration && e.Stage != "proxy" {
			e.Hint = usual
		}
		e.Stage = atOAuth2
		return e
	}
	var answer struct {
		Error       string
		Description string `json:"error_description"`
	}
	x.read(&answer)
	answer.Error = strings.ToLower(answer.Error) // Yahoo's is INVALID_REFRESH_TOKEN
	if !tokenCode.MatchString(answer.Error) {
		answer.Error = ""
	}
	e := Error{Kind: x.kindOfStatus(), Code: answer.Error, Err: err}
	if code := microsoftCode.FindString(answer.Description); code != "" {
		e.Code = code
	}
	if e.Code == "AADSTS50196" || answer.Error == "slow_down" || strings.Contains(strings.ToLower(answer.Description), "too many requests") {
		e.Kind = RateLimited
	}
	switch {
	case x.is2xx() && x.broken:
		e.Kind, e.Detail = Temporary, "the answer broke off"
	case x.is2xx() && e.Kind != RateLimited: // Zoho's errors come so, too
		e.Kind, e.Detail, e.Hint = Configuration, "the answer holds no access token", cmp.Or(tokenHints[answer.Error], usual)
	case e.Kind == RateLimited:
	case x.status >= 500, e.Kind == Temporary, passingErrors[answer.Error]:
		e.Kind = Temporary
	default:
		e.Kind, e.Hint = Configuration, cmp.Or(microsoftHints[e.Code], tokenHints[answer.Error], usual)
		e.Unplaced = x.isPage()
	}
	failure := x.finish(nil, e)
	failure.Stage = atOAuth2
	failure.Momentary = failure.Kind == Temporary // nothing of the mail has left
	return failure
}

var (
	tokenCode     = regexp.MustCompile(`^[a-z_]{1,32}$`)
	microsoftCode = regexp.MustCompile(`\bAADSTS\d{1,8}\b`)
)

// passingErrors are those of RFC 6749, and Google's, that come under any status.
var passingErrors = map[string]bool{"temporarily_unavailable": true, "server_error": true, "internal_failure": true}

const clientRefused = "check auth.clientId and auth.clientSecret; the secret may have expired"

const tokenRefused = "the refresh token is refused: it has expired, was revoked or belongs to another client"

var tokenHints = map[string]string{
	"invalid_grant": "the refresh token or the service account is refused: it has expired, was revoked or belongs to another client; " +
		"for a service account check auth.user, its domain-wide delegation and the clock",
	"invalid_refresh_token": tokenRefused,
	"invalid_code":          tokenRefused,
	"disabled_client":       "the client of auth.clientId is disabled: enable it, or make another",
	"deleted_client":        "the client of auth.clientId is deleted: make another",
	"invalid_client":        clientRefused,
	"invalid_client_secret": clientRefused,
	"unauthorized_client": "check auth.clientSecret, and allow this client the scope for sending mail; " +
		"for a service account this is domain-wide delegation",
	"invalid_scope":    "check auth.scope",
	"invalid_resource": "check auth.scope",
	"invalid_target":   "check auth.scope", // RFC 8707
	"access_denied":    "allow this client the scope for sending mail",
}

// microsoftHints are for codes that say more than the error they come with:
// https://learn.microsoft.com/en-us/entra/identity-platform/reference-error-codes
var microsoftHints = map[string]string{
	"AADSTS500011":  "check auth.scope: the tenant does not know what it is for",
	"AADSTS90014":   "check auth.scope",
	"AADSTS1002012": "check auth.scope: it has to end in /.default",
	"AADSTS700016":  "check auth.clientId, and the tenant in auth.accessUrl",
	"AADSTS90002":   "check the tenant in auth.accessUrl",
	"AADSTS900023":  "check the tenant in auth.accessUrl",
	"AADSTS65001":   "grant the client its permissions in the tenant (admin consent)",
	"AADSTS7000112": "the client is disabled in the tenant: enable it",
	"AADSTS53003":   "a Conditional Access policy keeps this login out: leave the client or this machine's address out of it",
}
