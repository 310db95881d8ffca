package providers

import (
	"slices"
	"strings"

	"logto-email-relay/settings"
	"logto-email-relay/smtp"
)

// SMTPAuth is how to log in.
type SMTPAuth struct {
	// Type is "login" or "oauth2"; the former when not given.
	Type string `json:"type" validate:"omitempty,choice=login oauth2 OAuth2"`
	// User and Pass are the login.
	User string          `json:"user"`
	Pass settings.Secret `json:"pass"`
	// Method is PLAIN, LOGIN, SCRAM-SHA-256, SCRAM-SHA-1 or CRAM-MD5; the first of
	// them that the server offers when not given.
	Method string `json:"method" validate:"omitempty,choice=PLAIN LOGIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256 XOAUTH2"`

	// With the type "oauth2" there is no password but an access token, which the
	// relay gets by a RefreshToken, by client credentials (ClientID and
	// ClientSecret alone), by the key of a service account, or is given once as
	// AccessToken.
	ClientID     string          `json:"clientId"`
	ClientSecret settings.Secret `json:"clientSecret"`
	RefreshToken settings.Secret `json:"refreshToken"`
	AccessToken  settings.Secret `json:"accessToken"`
	// RefreshTokenFile is a file that holds the refresh token, where the relay writes the
	// one that the service puts in its place.
	RefreshTokenFile string `json:"refreshTokenFile" file:"path"`
	// Expires is when AccessToken does, in milliseconds since 1970.
	Expires int64 `json:"expires" validate:"gte=0"`
	// AccessURL is where tokens are issued; Google's when not given.
	AccessURL string `json:"accessUrl" validate:"omitempty,http_url"`
	// Scope is what the token is for; that of the service when not given.
	Scope string `json:"scope"`
	// ServiceClient is the client_email of a service account, PrivateKey its RSA
	// key in PEM.
	ServiceClient string          `json:"serviceClient"`
	PrivateKey    settings.Secret `json:"privateKey"`
}

func (s *SMTPSettings) checkAuth(report func(key, text string)) {
	switch strings.ToLower(s.Auth.Type) {
	case "", "login":
	case "oauth2":
		s.checkOAuth2(report)
		return
	default:
		report("auth.type", `write "login" or "oauth2"`)
	}
	user, pass := s.Auth.User, s.Auth.Pass.Reveal()
	switch {
	case user == "" && pass != "":
		report("auth.user", "the password needs a user")
	case user != "" && pass == "":
		report("auth.pass", "the user needs a password; remove auth if the server wants none")
	case strings.ContainsRune(user+pass, 0):
		report("auth", "user and password must not hold NUL")
	}
	methods := smtp.Mechanisms()
	if method := s.method(); method != "" && !slices.Contains(methods, method) {
		key := "authMethod"
		if s.Auth.Method != "" {
			key = "auth.method"
		}
		report(key, "write one of "+strings.Join(methods, ", ")+", or nothing to take the first of them that is offered")
	}
}

// method is the way to log in that was written; empty for none.
func (s *SMTPSettings) method() string {
	if s.Auth.Method != "" {
		return strings.ToUpper(s.Auth.Method)
	}
	return strings.ToUpper(s.AuthMethod)
}

func (s *SMTPSettings) logsIn() bool { return s.Auth != nil && s.Auth.User != "" }

// login is how to log in, by access tokens if there are any; nil for no login.
func (s *SMTPSettings) login(tokens *accessTokens) *smtp.Login {
	switch {
	case !s.logsIn():
		return nil
	case tokens != nil:
		return &smtp.Login{User: s.Auth.User, Tokens: tokens}
	}
	return &smtp.Login{User: s.Auth.User, Password: s.Auth.Pass.Reveal(), Mechanism: s.method()}
}
