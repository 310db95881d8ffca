package webhooks

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"logto-email-relay/mail"
	"logto-email-relay/settings"
)

// Settings are the "events" section.
type Settings struct {
	// Send are the operator's own endpoints that are told what becomes of mails.
	Send []Endpoint `json:"send" validate:"dive"`
}

// Endpoint is told of what it wants by signed calls (Standard Webhooks).
type Endpoint struct {
	// URL is what is called, with https:// unless its host is private.
	URL settings.Secret `json:"url" validate:"required"`
	// Secret signs the calls: "whsec_" and Base64 of at least 24 bytes, or any text of at
	// least 24 characters.
	Secret settings.Secret `json:"secret" validate:"required"`
	// Statuses are what it is told of: those of mails, "failover" when another provider had
	// to take a mail, and "provider_resting".
	Statuses []string `json:"statuses" validate:"min=1,dive,choice=accepted deferred delivered bounced complained suppressed failed refused uncertain failover provider_resting"`
}

// statuses are what an endpoint can be told of.
var statuses = []string{
	string(mail.StatusAccepted), string(mail.StatusDeferred), string(mail.StatusDelivered), string(mail.StatusBounced),
	string(mail.StatusComplained), string(mail.StatusSuppressed), string(mail.StatusFailed), string(mail.StatusRefused),
	string(mail.StatusUncertain), mail.Failover, mail.ProviderResting,
}

// Wants are the keys of the endpoints by what they want to be told of.
func (s *Settings) Wants() map[string][]string {
	wants := make(map[string][]string)
	for i := range s.Send {
		e := &s.Send[i]
		for _, status := range slices.Compact(slices.Sorted(slices.Values(e.Statuses))) {
			wants[status] = append(wants[status], e.key())
		}
	}
	return wants
}

// Check wants every endpoint to be there once.
func (s *Settings) Check() (problems []settings.Problem) {
	for i := range s.Send {
		same := func(e Endpoint) bool { return e.URL.Reveal() == s.Send[i].URL.Reveal() }
		if earlier := slices.IndexFunc(s.Send, same); earlier < i {
			problems = append(problems, settings.Problem{Key: fmt.Sprintf("send[%d].url", i),
				Text: fmt.Sprintf("send[%d] has the same; put all statuses there", earlier)})
		}
	}
	return problems
}

// Check wants a URL that may be called, a key that cannot be guessed, and statuses
// that there are.
func (e *Endpoint) Check() (problems []settings.Problem) {
	problem := func(key, text string) { problems = append(problems, settings.Problem{Key: key, Text: text}) }
	u, err := settings.ParseURL(e.URL.Reveal())
	switch {
	case e.URL.Reveal() == "": // is told by a rule
	case err != nil || u.Hostname() == "" || u.Fragment != "" || u.Scheme != "https" && u.Scheme != "http":
		problem("url", `write an address such as "https://acme.example/hooks/mail"`)
	case u.Scheme == "http" && !isPrivate(strings.ToLower(u.Hostname())):
		problem("url", `write an address that begins with https://: events tell of people. http:// is for hosts of a private network, such as "http://10.0.0.5/", "http://hooks/" or "http://hooks.internal/"`)
	}
	if e.Secret.Reveal() != "" {
		if _, err := e.signer(); err != nil {
			problem("secret", err.Error())
		}
	}
	for i, status := range e.Statuses {
		if slices.Contains(statuses, status) {
			continue
		}
		text := "there is no such status; write one of: " + strings.Join(statuses, ", ")
		if meant := settings.Nearest(status, statuses); meant != "" {
			text = fmt.Sprintf("there is no such status, did you mean %q?", meant)
		}
		problem(fmt.Sprintf("statuses[%d]", i), text)
	}
	return problems
}

// isPrivate tells whether a host, in lower case, is on this machine or in a network that
// others do not reach: by its address, as a name without a domain or below a domain that
// the Internet does not have.
func isPrivate(host string) bool {
	if ip := net.ParseIP(host); ip != nil {
		return ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast()
	}
	top := host[strings.LastIndexByte(host, '.')+1:]
	return top == host || slices.Contains([]string{"localhost", "internal", "local", "svc"}, top)
}

// leastSecret is the least length of a key, in bytes, as the specification has it.
const leastSecret = 24

// signer signs calls. Its errors are for the operator.
func (e *Endpoint) signer() (*standardwebhooks.Webhook, error) {
	secret := []byte(e.Secret.Reveal())
	if encoded, found := strings.CutPrefix(e.Secret.Reveal(), "whsec_"); found {
		var err error
		// Some who show it leave the padding out.
		if secret, err = base64.RawStdEncoding.DecodeString(strings.TrimRight(encoded, "=")); err != nil {
			return nil, fmt.Errorf(`write Base64 after "whsec_", as "openssl rand -base64 32" makes it`)
		}
	}
	if len(secret) < leastSecret {
		return nil, fmt.Errorf(`write a secret of at least %d bytes: "whsec_" and what "openssl rand -base64 32" makes`, leastSecret)
	}
	return standardwebhooks.NewWebhookRaw(secret)
}

// host is what people call the endpoint.
func (e *Endpoint) host() string {
	u, err := url.Parse(e.URL.Reveal())
	if err != nil {
		return ""
	}
	return u.Host
}

// key stands for the endpoint in the database, where no URL with a password in it is to
// be.
func (e *Endpoint) key() string {
	sum := sha256.Sum256([]byte(e.URL.Reveal()))
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}
