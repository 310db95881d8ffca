package providers

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"logto-email-relay/mail"
	"logto-email-relay/settings"
)

const mailgunKey = "3ax6xnjp29jd6fds4gc373sgvjxteol0-4dd50799-8bfe1fa2"

func mailgunFixture() fixture {
	refusal := func(status int, message string) answer {
		body, _ := json.Marshal(map[string]string{"message": message})
		return answer{status, nil, string(body)}
	}
	in20Minutes := time.Now().Add(20 * time.Minute).UTC().Format(time.RFC1123)
	tomorrow := time.Now().Add(24 * time.Hour).UTC().Format(time.RFC1123)
	return fixture{
		settings: func(address string) Settings {
			s := newMailgunSettings()
			s.Endpoint, s.Domain, s.APIKey = address, "mail.acme.example", settings.NewSecret(mailgunKey)
			return s
		},
		mistakes: map[string]func(Settings){
			"apiKey":   func(s Settings) { s.(*mailgunSettings).APIKey = settings.NewSecret("key\n") },
			"endpoint": func(s Settings) { s.Shared().Endpoint = "http://api.mailgun.net" },
			"deliveries.SignIn": func(s Settings) {
				s.(*mailgunSettings).Deliveries = map[string]delivery{"SignIn": {Subject: "Your code"}}
			},
			"deliveries.SignIn.subject": func(s Settings) {
				s.(*mailgunSettings).Deliveries = map[string]delivery{"SignIn": {HTML: "{{code}}"}}
			},
			"deliveries.SignIn.template": func(s Settings) {
				s.(*mailgunSettings).Deliveries = map[string]delivery{"SignIn": {HTML: "{{code}}", Template: "sign-in"}}
			},
		},
		secrets:      []string{mailgunKey},
		id:           "<20261121.1.ABC@mail.acme.example>",
		brokenAnswer: Uncertain,
		stored:       true,
		http: &httpFixture{
			path: "/v3/mail.acme.example/messages",
			authorized: func(r *http.Request) bool {
				user, password, _ := r.BasicAuth()
				return user == "api" && password == mailgunKey
			},
			accepted: answer{200, nil, `{"id":"<20261121.1.ABC@mail.acme.example>","message":"Queued. Thank you."}`},
			text:     formText,
			refusal:  func(words string) answer { return refusal(400, "to parameter is not a valid address: "+words) },
			verifies: isGet("/v4/domains/mail.acme.example"),
			verified: always200(`{"domain":{"name":"mail.acme.example","state":"active","type":"custom","is_disabled":false}}`),
			verdicts: []verifyCase{
				{name: "wrong key", answer: answer{401, nil, "Forbidden"}, kind: Configuration, words: "check apiKey"},
				{name: "forbidden", answer: refusal(403, "no"), kind: Configuration},
				{name: "wrong domain", answer: refusal(404, "Domain not found"), kind: Configuration, words: "check domain"},
				{name: "unverified", answer: answer{200, nil, `{"domain":{"state":"unverified"}}`}, kind: Configuration, words: "DNS"},
				{name: "disabled", answer: answer{200, nil, `{"domain":{"state":"disabled"}}`}, kind: Configuration, words: "disabled"},
				{name: "also disabled", answer: answer{200, nil, `{"domain":{"state":"active","is_disabled":true}}`}, kind: Configuration, words: "disabled"},
				{name: "sandbox", answer: answer{200, nil, `{"domain":{"state":"active","type":"sandbox"}}`}, kind: Configuration, words: "sandbox"},
			},
			table: mailgunErrors,
			errors: []errorCase{
				{name: "no id", answer: answer{200, nil, `{}`}, kind: Uncertain},
				{name: "not JSON", answer: answer{200, nil, proxyPage}, kind: Uncertain},
				{name: "not the API", answer: answer{200, nil, "Mailgun Magnificent API"}, kind: Configuration, hint: "endpoint"},
				{name: "recipient", answer: refusal(400, "to parameter is not a valid address. please check documentation"), kind: Recipient},
				{name: "recipient in quotes", answer: refusal(400, "'to' parameter is not a valid address. please check documentation"), kind: Recipient},
				{name: "sender", answer: refusal(400, "from parameter is not a valid address. please check documentation"), kind: Configuration, hint: "sender"},
				{name: "no sender", answer: refusal(400, "from parameter is missing"), kind: Configuration},
				{name: "unverified", answer: refusal(400, "Domain mail.acme.example is not allowed to send: The domain is unverified"), kind: Configuration, hint: "DNS"},
				{name: "sandbox", answer: refusal(400, "Sandbox subdomains are for test purposes only. Please add your own domain or add the address to authorized recipients in Account Settings."), kind: Configuration, hint: "sandbox"},
				{name: "template", answer: refusal(400, "template 'sign-in' not found"), kind: Configuration, hint: "deliveries"},
				{name: "no body", answer: refusal(400, "Need at least one of 'text', 'html', 'amp-html' or 'template' parameters specified"), kind: Content},
				{name: "two bodies", answer: refusal(400, "Only one parameters 'html' or 'template' should be specified"), kind: Content},
				{name: "options", answer: refusal(400, "Send options (parameters starting with o:, h:, or v:) are limited to 16 kB total"), kind: Content},
				{name: "bad key, region or address", answer: answer{401, nil, "Forbidden"}, kind: Configuration, hint: "api.eu.mailgun.net; or " + addressHint},
				{name: "billing", answer: refusal(402, "payment required"), kind: Configuration, hint: "billing"},
				{name: "sending address", answer: refusal(403, "Rejected: IP 192.0.2.1 can't be used to send the message"), kind: Configuration, hint: addressHint},
				{name: "sandbox with 403", answer: refusal(403, "Domain sandbox1.mailgun.org is not allowed to send: Free accounts are for test purposes only. Please upgrade or add the address to authorized recipients in Account Settings."), kind: Configuration, hint: "sandbox domain"},
				{name: "domain with 403", answer: refusal(403, "Domain mail.acme.example is not allowed to send: The domain is unverified and requires DNS configuration."), kind: Configuration, hint: "DNS records"},
				{name: "limit without a time", answer: refusal(400, "Domain mail.acme.example is not allowed to send: recipient limit exceeded"), kind: RateLimited, quota: true, hint: "limit"},
				{name: "probation", answer: refusal(400, "Domain mail.acme.example is not allowed to send: You are sending too fast. Your account is on probation and the account has been temporarily disabled."), kind: RateLimited},
				{name: "batches", answer: refusal(403, "Domain is not allowed to send large batches yet"), kind: RateLimited},
				{name: "domain", answer: refusal(404, "Domain not found: mail.acme.example"), kind: Configuration, hint: "api.eu.mailgun.net"},
				{name: "size", answer: refusal(413, "request size exceeds 52.4MiB limit"), kind: Content},
				{name: "rate in seconds", answer: refusal(429, "Domain mail.acme.example is not allowed to send: account-requests-per-sec limit exceeded, try again after 120 seconds"), kind: RateLimited, wait: 120 * time.Second},
				{name: "rate until", answer: refusal(429, "Domain mail.acme.example is not allowed to send: request limit exceeded, try again after "+in20Minutes), kind: RateLimited, wait: 20 * time.Minute},
				{name: "rate with 420", answer: refusal(420, "Domain mail.acme.example is not allowed to send: recipient limit exceeded, try again after "+in20Minutes), kind: RateLimited, wait: 20 * time.Minute},
				{name: "rate with 403", answer: refusal(403, "Domain mail.acme.example is not allowed to send: request limit exceeded, try again after 120 seconds"), kind: RateLimited, wait: 120 * time.Second},
				{name: "an hour", answer: refusal(429, "request limit exceeded, try again after 3600 seconds"), kind: RateLimited, wait: time.Hour},
				{name: "quota", answer: refusal(429, "Domain mail.acme.example is not allowed to send: recipient limit exceeded, try again after "+tomorrow), kind: RateLimited, quota: true, wait: time.Hour},
				{name: "server", answer: refusal(500, "Internal Server Error"), kind: Temporary},
				{name: "bad gateway with its own words", answer: refusal(502, "Internal Server Error"), kind: Temporary},
				{name: "unavailable", answer: refusal(503, "Internal Server Error"), kind: Temporary},
				{name: "gateway timeout", answer: refusal(504, "Gateway Timeout"), kind: Uncertain},
			},
		},
	}
}

// formText shows a request with a form, its fields in order of name.
func formText(r *http.Request, body []byte) string {
	mediaType, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return err.Error()
	}
	var fields url.Values
	if mediaType == "multipart/form-data" {
		form, err := multipart.NewReader(bytes.NewReader(body), parameters["boundary"]).ReadForm(1 << 20)
		if err != nil {
			return err.Error()
		}
		fields = form.Value
	} else if fields, err = url.ParseQuery(string(body)); err != nil {
		return err.Error()
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%s %s\nContent-Type: %s\n\n", r.Method, r.URL.Path, mediaType)
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		for _, value := range fields[name] {
			fmt.Fprintf(&text, "%s: %q\n", name, value)
		}
	}
	return text.String()
}

func TestMailgunEndpoint(t *testing.T) {
	for _, suffix := range []string{"", "/", "/v3", "/v3/"} {
		f := mailgunFixture()
		service := f.start(t, accepts)
		if _, err := open(t, f.settings(service.address+suffix)).Send(t.Context(), plainMessage()); err != nil {
			t.Errorf("endpoint ending in %q: %v", suffix, err)
		}
	}
}

func TestMailgunRetryAfter(t *testing.T) {
	now := time.Date(2021, 12, 20, 20, 30, 0, 0, time.UTC)
	for message, want := range map[string]time.Duration{
		"limit exceeded, try again after 120 seconds":                   2 * time.Minute,
		"limit exceeded, try again after 1 second":                      time.Second,
		"limit exceeded, try again after Mon, 20 Dec 2021 20:33:21 UTC": 3*time.Minute + 21*time.Second,
		"limit exceeded, try again after Mon, 20 Dec 2021 20:29:21 UTC": soonest,
		"limit exceeded, try again after a while":                       0,
		"limit exceeded": 0,
		"":               0,
	} {
		if got := mailgunRetryAfter(message, now); got != want {
			t.Errorf("%q: %v, want %v", message, got, want)
		}
	}
}

// A domain sending key is told from a wrong key by what it answers to a message
// that cannot be sent.
func TestMailgunVerifyWithSendingKey(t *testing.T) {
	f := mailgunFixture()
	for _, row := range []verifyCase{
		{name: "sending key", answer: answer{400, nil, `{"message":"from parameter is missing"}`}, words: "may only send"},
		{name: "another order", answer: answer{400, nil, `{"message":"to parameter is not a valid address. please check documentation"}`}, words: "may only send"},
		{name: "no text", answer: answer{400, nil, `{"message":"Need at least one of 'text', 'html', 'amp-html' or 'template' parameters specified"}`}, words: "may only send"},
		{name: "unverified", answer: answer{400, nil, `{"message":"Domain mail.acme.example is not allowed to send: The domain is unverified"}`},
			kind: Configuration, words: "DNS"},
		{name: "wrong key", answer: answer{401, nil, "Forbidden"}, kind: Configuration, words: addressHint},
	} {
		t.Run(row.name, func(t *testing.T) {
			provider := openTo(t, f, func(w http.ResponseWriter, r *http.Request) {
				switch {
				case !f.http.authorized(r):
					t.Error("a request without the key")
				case r.Method == http.MethodGet:
					answer{401, nil, "Forbidden"}.write(w)
				case r.URL.Path != f.http.path || r.PostFormValue("to")+r.PostFormValue("from") != "" || r.PostFormValue("o:testmode") != "yes":
					t.Errorf("%s %s with %v could send a mail", r.Method, r.URL, r.PostForm)
				default:
					row.answer.write(w)
				}
			})
			if row.kind != 0 {
				verifyFails(t, t.Context(), f, provider, row.kind, row.words)
				return
			}
			if note, err := provider.(Verifier).Verify(t.Context()); err != nil || !strings.Contains(note, row.words) {
				t.Errorf("note %q, error %v", note, err)
			}
		})
	}
}

// What Mailgun would replace in a mail does not come from other people's words.
func TestMailgunReplacesNothing(t *testing.T) {
	const evil = "Eve %recipient.email% %UNSUBSCRIBE_url% %tag_unsubscribe_url%"
	plain, stored := plainMessage(), storedMessage()
	plain.Subject, plain.Text, plain.HTML = evil, evil+" 100% %20", mail.Body{mail.OwnPart("<p>" + evil + "</p>")}
	stored.Stored.Data["name"] = evil
	stored.Subject = evil
	for _, m := range []*mail.Message{plain, stored} {
		provider, arrived := openHonest(t, mailgunFixture())
		if _, err := provider.Send(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		got := strings.ToLower(arrived()[0])
		if strings.Contains(got, "%recipient") || strings.Contains(got, "%unsubscribe") || strings.Contains(got, "%tag_") ||
			!strings.Contains(got, "% recipient.email%") {
			t.Errorf("%s", got)
		}
	}
}
