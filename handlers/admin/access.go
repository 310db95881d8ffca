package admin

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	. "maragu.dev/gomponents"
	. "maragu.dev/gomponents/html"

	"logto-email-relay/handlers/web"
	"logto-email-relay/mail"
	"logto-email-relay/settings"
)

const (
	loginPath  = "/login"
	logoutPath = "/logout"
	// loginCookie holds a login, which lasts a working day.
	loginCookie   = "relay_login"
	loginLifetime = 12 * time.Hour
	// wrongTokens is how many wrong tokens a caller may present in a minute.
	wrongTokens = 20
	// maxCallers bounds the callers whose wrong tokens are counted.
	maxCallers = 10_000
)

// access decides who may see more than the probes: who presents the token as Bearer
// token or as the password of HTTP Basic authentication, or has logged in with it.
type access struct {
	token settings.Secret
	// key signs logins. It is made of the token, so that a login ends with the token,
	// and holds at every replica and after a restart. Who gets hold of a login would
	// need a minute for a few thousand guesses at the token.
	key func() []byte

	mu    sync.Mutex
	wrong map[string]int // in the minute that began at since, by caller
	since time.Time
}

func newAccess(token settings.Secret) *access {
	return &access{token: token, wrong: make(map[string]int), key: sync.OnceValue(func() []byte {
		key, err := pbkdf2.Key(sha256.New, token.Reveal(), []byte("logto-email-relay login"), 100_000, sha256.Size)
		if err != nil {
			panic(err) // the parameters are ours
		}
		return key
	})}
}

// open are the paths that anybody may ask for.
var open = map[string]bool{web.HealthPath: true, web.ReadyPath: true, stylePath: true, loginPath: true}

// require asks everybody for the token. Browsers are shown where to enter it.
func (a *access) require(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		if open[c.Path()] {
			return next(c)
		}
		refused := a.check(c)
		if refused == nil {
			return next(c)
		}
		if refused.Reason == web.Unauthorized && r.Header.Get("Authorization") == "" && r.Method == http.MethodGet && web.WantsHTML(r.Header) {
			return c.Redirect(http.StatusSeeOther, loginPath+"?"+url.Values{"next": {r.URL.RequestURI()}}.Encode())
		}
		return refused
	}
}

// check tells why a request may see no more than the probes, nil if it may. It is judged
// once, since a wrong token counts: pages ask again for what they show.
func (a *access) check(c echo.Context) *web.Failure {
	refused, isJudged := c.Get(judged).(*web.Failure)
	if !isJudged {
		refused = a.judge(c)
		c.Set(judged, refused)
	}
	return refused
}

// judged is where a request keeps its verdict.
const judged = "admin access"

// judge asks for the token, if there is one. Without a token only this machine can
// connect, and then requests must name it too: a page on the web that points its own
// host name at 127.0.0.1 could read the mails otherwise.
func (a *access) judge(c echo.Context) *web.Failure {
	r := c.Request()
	if a.token.Reveal() == "" {
		if !isLocalName(r.Host) {
			return &web.Failure{Reason: web.Forbidden, Detail: "the Host header does not name this machine, and no admin.token is set"}
		}
		return nil
	}
	if r.Header.Get("Authorization") != "" {
		return a.try(c.RealIP(), presentedToken(r))
	}
	if !a.isLoggedIn(r, time.Now()) {
		return &web.Failure{Reason: web.Unauthorized, Detail: "no admin.token"}
	}
	return nil
}

// try compares a token with the right one, in a time that tells nothing of either. A
// caller with too many wrong ones is not told whether the next is right.
func (a *access) try(caller, token string) *web.Failure {
	caller = web.NetworkOf(caller)
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	if now.Sub(a.since) >= time.Minute || len(a.wrong) > maxCallers {
		clear(a.wrong)
		a.since = now
	}
	if a.wrong[caller] >= wrongTokens {
		return &web.Failure{Reason: mail.RateLimited, RetryAfter: a.since.Add(time.Minute).Sub(now), Detail: "too many wrong tokens from this address"}
	}
	if !isSame(token, a.token.Reveal()) {
		a.wrong[caller]++
		return &web.Failure{Reason: web.Unauthorized, Detail: "not admin.token"}
	}
	return nil
}

func isSame(one, other string) bool {
	a, b := sha256.Sum256([]byte(one)), sha256.Sum256([]byte(other))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// presentedToken returns the Bearer token of a request, or the password of its
// HTTP Basic authentication, which browsers can ask people for.
func presentedToken(r *http.Request) string {
	if len(r.Header.Values("Authorization")) > 1 {
		return ""
	}
	if _, password, isBasic := r.BasicAuth(); isBasic {
		return password
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return token
}

func isLocalName(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return settings.IsLoopback(strings.ToLower(strings.Trim(host, "[]")))
}

// login is the value of the cookie: until when it holds, signed.
func (a *access) login(until time.Time) string {
	end := strconv.FormatInt(until.Unix(), 10)
	mac := hmac.New(sha256.New, a.key())
	mac.Write([]byte(end))
	return end + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// isLoggedIn tells whether a request bears a login that holds.
func (a *access) isLoggedIn(r *http.Request, now time.Time) bool {
	cookie, err := r.Cookie(loginCookie)
	if err != nil {
		return false
	}
	end, _, _ := strings.Cut(cookie.Value, ".")
	seconds, err := strconv.ParseInt(end, 10, 64)
	until := time.Unix(seconds, 0)
	return err == nil && now.Before(until) && isSame(cookie.Value, a.login(until))
}

// setCookie keeps a login in the browser, or takes it away if it is empty.
func setCookie(c echo.Context, login string) {
	// A caller who sends a false X-Forwarded-Proto only gets a cookie that his own browser does
	// not send back over http.
	secure := c.Request().TLS != nil || c.Request().Header.Get("X-Forwarded-Proto") == "https"
	// A link in an alert or a chat leads to its page. What changes something has to come from
	// a page of ours in any case.
	cookie := &http.Cookie{Name: loginCookie, Value: login, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode,
		MaxAge: int(loginLifetime.Seconds()), Secure: secure}
	if login == "" {
		cookie.MaxAge = -1
	}
	c.SetCookie(cookie)
}

// loginPages are the form for the token, and the way out.
type loginPages struct {
	pages  *pages
	access *access
}

func (p loginPages) form(c echo.Context) error {
	next := ownPath(c.QueryParam("next"))
	if p.access.check(c) == nil {
		return c.Redirect(http.StatusSeeOther, next)
	}
	return p.show(c, http.StatusOK, next, "")
}

// show is the form, with what is wrong with the last token, if anything is.
func (p loginPages) show(c echo.Context, code int, next, problem string) error {
	return p.pages.show(c, code, page{title: "Log in"}, Form(Class("card login"), Method("post"), Action(loginPath),
		H1(Text("Log in")),
		If(problem != "", P(Class("problem"), Role("alert"), ID("problem"), Text(problem))),
		Input(Type("hidden"), Name("next"), Value(next)),
		Label(For("token"), Text("Token")),
		Input(ID("token"), Name("token"), Type("password"), AutoComplete("current-password"), Required(), AutoFocus(),
			If(problem != "", Group{Aria("invalid", "true"), Aria("describedby", "problem")})),
		Button(Type("submit"), Text("Log in")),
		P(Class("note"), Text("The token is "), Code(Text("admin.token")),
			Text(" of the configuration. A login lasts twelve hours, or until the token changes.")),
	))
}

func (p loginPages) login(c echo.Context) error {
	values, err := readForm(c.Request())
	if err != nil {
		return err
	}
	next := ownPath(values.Get("next"))
	switch refused := p.access.try(c.RealIP(), strings.TrimSpace(values.Get("token"))); {
	case refused == nil:
		setCookie(c, p.access.login(time.Now().Add(loginLifetime)))
		return c.Redirect(http.StatusSeeOther, next)
	case refused.Reason == mail.RateLimited:
		c.Response().Header().Set("Retry-After", web.Seconds(refused.RetryAfter))
		return p.show(c, http.StatusTooManyRequests, next, advice(mail.RateLimited))
	}
	return p.show(c, http.StatusForbidden, next, "That is not the token.")
}

func (p loginPages) logout(c echo.Context) error {
	setCookie(c, "")
	return c.Redirect(http.StatusSeeOther, loginPath)
}

// ownPath is a path of this listener; the first page for anything else.
func ownPath(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.Scheme != "" || u.Host != "" || !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || strings.ContainsAny(next, "\\\r\n\t") {
		return "/"
	}
	return next
}

// readForm reads what a form of a page sends.
func readForm(r *http.Request) (url.Values, error) {
	if !isForm(r) {
		return nil, &web.Failure{Reason: web.UnsupportedMediaType, Detail: "Content-Type is not that of a form"}
	}
	body, err := web.ReadBody(r, web.MaxJSON)
	if err != nil {
		return nil, err
	}
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, &web.Failure{Reason: web.Malformed, Detail: "the form cannot be read", Err: err}
	}
	return values, nil
}

func isForm(r *http.Request) bool {
	mediaType, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	return strings.EqualFold(strings.TrimSpace(mediaType), "application/x-www-form-urlencoded")
}
