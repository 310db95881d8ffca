package config

import (
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"time"

	"logto-email-relay/settings"
)

// Server is the "server" section: the public listener that Logto calls.
type Server struct {
	// Address is where to listen, "host:port" or ":port".
	Address string `json:"address" validate:"required,hostname_port|listen"`
	// Authorization are the accepted values of the header of that name, whole and
	// byte for byte. Two of them let a token be changed without an outage. Those of
	// tenants have the tenant's name.
	Authorization []settings.Token `json:"authorization"`
	// AllowedIPs are the callers that may use the webhook; everybody when empty.
	AllowedIPs []settings.Network `json:"allowedIPs"`
	// TrustedProxies are the proxies whose X-Forwarded-For is believed.
	TrustedProxies []settings.Network `json:"trustedProxies"`
	// Timeout bounds everything between a webhook and its answer.
	Timeout settings.Duration `json:"timeout"`
}

// LongestTimeout is what Server.Timeout may be at most: the sign-in page gives up after
// 10 s.
const LongestTimeout = 9 * time.Second

// Tenants returns the names of all tenants.
func (s *Server) Tenants() (names []string) {
	for _, token := range s.Authorization {
		if token.Tenant != "" && !slices.Contains(names, token.Tenant) {
			names = append(names, token.Tenant)
		}
	}
	return names
}

// defaultServer are the public listener's settings before the operator's are
// laid over them.
func defaultServer() Server {
	return Server{Address: ":8080", Timeout: settings.Duration(8 * time.Second)}
}

// Check asks for a way to tell Logto from a stranger, and for a deadline that
// the sign-in page, which gives up after 10 s, can live with.
func (s *Server) Check() []settings.Problem {
	var problems []settings.Problem
	if len(s.Authorization) == 0 {
		problems = append(problems, settings.Problem{Key: "authorization",
			Text: `add the value that Logto sends as Authorization header, such as ["Bearer ${RELAY_TOKEN}"]; without one anybody could send mail`})
	}
	for i, value := range s.Authorization {
		text := value.Reveal()
		p := settings.Problem{Key: fmt.Sprintf("authorization[%d]", i), Text: weakness(text)}
		switch {
		case p.Text != "":
		case strings.Contains(strings.TrimSpace(text), "  "):
			p.Warning, p.Text = true, "has more than one blank in a row, which Logto has to send, too: look for one at the beginning of the token"
		case oddValue.MatchString(text):
			p.Warning, p.Text = true, "has quotes around it, the name of the header or a scheme twice, which Logto has to send, too"
		default:
			continue
		}
		problems = append(problems, p)
	}
	for i, value := range s.Authorization {
		for _, earlier := range s.Authorization[:i] {
			// HTTP drops blanks around a value.
			if strings.TrimSpace(value.Reveal()) == strings.TrimSpace(earlier.Reveal()) && value.Tenant != earlier.Tenant {
				problems = append(problems, settings.Problem{Key: fmt.Sprintf("authorization[%d]", i),
					Text: "another tenant has the same value; give each a value of its own"})
			}
		}
	}
	for i, proxy := range s.TrustedProxies {
		if slices.ContainsFunc(s.AllowedIPs, func(allowed settings.Network) bool { return allowed.Overlaps(proxy.Prefix) }) {
			problems = append(problems, settings.Problem{Key: fmt.Sprintf("trustedProxies[%d]", i), Warning: true,
				Text: "is in allowedIPs as well, so that everybody is let in for whom it writes no X-Forwarded-For; see that it writes one, or keep it out of allowedIPs"})
		}
	}
	if timeout := time.Duration(s.Timeout); timeout < time.Second || timeout > LongestTimeout {
		problems = append(problems, settings.Problem{Key: "timeout",
			Text: `write a time from "1s" to "9s"; Logto's sign-in page waits 10 s, so "8s" suits it`})
	}
	return problems
}

// oddValue is what docker run --env-file and copying make of a value.
var oddValue = regexp.MustCompile(`(?i)^["']|["']$|^authorization:|^\w+ +(bearer|basic) `)

// shortestToken is too long to be tried out.
const shortestToken = 16

// weakness says what is wrong with a value of the Authorization header, if anything
// is. The token in it is all that keeps strangers from sending mail.
func weakness(value string) string {
	const write = `; write "Bearer " and a long random text, made by: openssl rand -hex 32`
	value = strings.TrimSpace(value)
	if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' }) {
		return "this holds a line break or another character that cannot be sent in a header" + write
	}
	_, token, hasScheme := strings.Cut(value, " ")
	if !hasScheme {
		token = value
	}
	if len(token) < shortestToken {
		return fmt.Sprintf("the token is shorter than %d characters%s", shortestToken, write)
	}
	if isGuessable(token) {
		return "this token can be guessed" + write
	}
	return ""
}

// commonWords are what people write in place of a token.
var commonWords = regexp.MustCompile(`secret|token|password|passwort|bearer|authorization|admin|[^a-z0-9]`)

// isGuessable tells whether a token repeats itself, asks to be changed or consists of
// common words.
func isGuessable(token string) bool {
	token = strings.ToLower(token)
	// A text that repeats itself is found in its double before the end of the first.
	repeats := strings.Index((token + token)[1:], token)+1 < len(token)
	different := make(map[rune]bool)
	for _, r := range token {
		different[r] = true
	}
	const fewCharacters, fewLetters = 5, 6
	own := commonWords.ReplaceAllString(token, "")
	return repeats || len(different) < fewCharacters || len(own) < fewLetters || strings.Contains(own, "changeme")
}

// Admin is the "admin" section: the listener for probes, metrics and
// pages, never reachable through the public one.
type Admin struct {
	// Address is where to listen; empty for no admin listener.
	Address string `json:"address" validate:"omitempty,hostname_port|listen"`
	// Token is asked for on every page but the probes, as Bearer token or as the
	// password of HTTP Basic authentication.
	Token settings.Secret `json:"token"`
}

// defaultAdmin listens on the loopback interface only.
func defaultAdmin() Admin { return Admin{Address: "127.0.0.1:9090"} }

// Check wants a token as soon as others than this machine can connect, and warns of one
// that can be guessed: callers may try as often as their addresses suffice.
func (s *Admin) Check() []settings.Problem {
	token := s.Token.Reveal()
	switch {
	case s.Address == "":
	case token == "" && isOpen(s.Address):
		return []settings.Problem{{Key: "token",
			Text: `set a token, or listen on "127.0.0.1:9090": the admin pages show who gets mail`}}
	case token != "" && (len(token) < shortestToken || isGuessable(token)):
		return []settings.Problem{{Key: "token", Warning: true,
			Text: "can be guessed; write a long random text, made by: openssl rand -hex 32"}}
	}
	return nil
}

// isOpen tells whether others than this machine reach an address. One that is malformed is
// told of by itself.
func isOpen(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && !settings.IsLoopback(host)
}
