package providers

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/smithy-go"

	"logto-email-relay/mail"
	"logto-email-relay/settings"
)

const (
	sesKeyID  = "AKIAIOSFODNN7EXAMPLE"
	sesSecret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
)

const sesAccount = `{"EnforcementStatus":"HEALTHY","ProductionAccessEnabled":true,"SendingEnabled":true,
	"SendQuota":{"Max24HourSend":50000,"MaxSendRate":14,"SentLast24Hours":120}}`

func sesFixture() fixture {
	refusal := func(status int, kind, message string) answer {
		body, _ := json.Marshal(map[string]string{"message": message})
		return answer{status, map[string]string{"X-Amzn-Errortype": kind, "Content-Type": "application/json"}, string(body)}
	}
	return fixture{
		settings: func(address string) Settings {
			s := newSESSettings()
			s.Endpoint, s.Region = address, "eu-west-1"
			s.AccessKeyID, s.AccessKeySecret = sesKeyID, settings.NewSecret(sesSecret)
			s.ConfigurationSetName = "otp"
			s.EmailAddressIdentityARN = "arn:aws:ses:eu-west-1:111122223333:identity/acme.example"
			s.FeedbackForwardingEmailAddress = "bounces@acme.example"
			s.FeedbackForwardingEmailAddressIdentityARN = "arn:aws:ses:eu-west-1:111122223333:identity/acme.example"
			return s
		},
		mistakes: map[string]func(Settings){
			"accessKeyId":     func(s Settings) { s.(*sesSettings).AccessKeyID = "" },
			"accessKeySecret": func(s Settings) { s.(*sesSettings).AccessKeySecret = settings.Secret{} },
			"region":          func(s Settings) { s.(*sesSettings).Region = "Ireland" },
			"endpoint":        func(s Settings) { s.Shared().Endpoint = "http://email.eu-west-1.amazonaws.com" },
		},
		secrets:      []string{sesSecret},
		id:           "0102018f-000000",
		brokenAnswer: Uncertain,
		stored:       true,
		http: &httpFixture{
			path: "/v2/email/outbound-emails",
			authorized: func(r *http.Request) bool {
				value := r.Header.Get("Authorization")
				return strings.HasPrefix(value, "AWS4-HMAC-SHA256 Credential="+sesKeyID+"/") &&
					strings.Contains(value, "/eu-west-1/ses/aws4_request")
			},
			accepted: answer{200, nil, `{"MessageId":"0102018f-000000"}`},
			refusal:  func(words string) answer { return refusal(400, "BadRequestException", "Illegal address: "+words) },
			verifies: func(r *http.Request, _ []byte) bool {
				return r.Method == http.MethodGet && (r.URL.Path == "/v2/email/account" || strings.HasPrefix(r.URL.Path, "/v2/email/identities/"))
			},
			verified: always200(sesAccount),
			verdicts: []verifyCase{
				{name: "sandbox", answer: answer{200, nil, strings.Replace(sesAccount, `"ProductionAccessEnabled":true`, `"ProductionAccessEnabled":false`, 1)},
					kind: Configuration, words: "sandbox"},
				{name: "paused", answer: answer{200, nil, strings.Replace(sesAccount, `"SendingEnabled":true`, `"SendingEnabled":false`, 1)},
					kind: Configuration, words: "may not send"},
				{name: "shut down", answer: answer{200, nil, strings.Replace(sesAccount, "HEALTHY", "SHUTDOWN", 1)}, kind: Configuration, words: "may not send"},
				{name: "on probation", answer: answer{200, nil, strings.Replace(sesAccount, "HEALTHY", "PROBATION", 1)}},
				{name: "quota", answer: answer{200, nil, strings.Replace(sesAccount, `"SentLast24Hours":120`, `"SentLast24Hours":50000`, 1)},
					kind: RateLimited, words: "(quota)"},
				{name: "no quota", answer: answer{200, nil, strings.Replace(sesAccount, `"Max24HourSend":50000`, `"Max24HourSend":-1`, 1)}},
				{name: "wrong key", answer: refusal(403, "UnrecognizedClientException", "The security token included in the request is invalid."),
					kind: Configuration, words: "accessKeyId"},
				{name: "wrong secret", answer: refusal(403, "SignatureDoesNotMatch", "no"), kind: Configuration, words: "accessKeySecret"},
				{name: "key that may only send", answer: refusal(403, "AccessDeniedException",
					"User: arn:aws:iam::111122223333:user/relay is not authorized to perform: ses:GetAccount because no identity-based policy allows the ses:GetAccount action"),
					words: "ses:GetAccount"},
				{name: "address", answer: refusal(403, "AccessDeniedException",
					"User: arn:aws:iam::111122223333:user/relay is not authorized to perform: ses:GetAccount with an explicit deny in an identity-based policy"),
					kind: Configuration, words: addressHint},
			},
			table: func(x *exchange) Error {
				return sesErrors(x, &smithy.GenericAPIError{Code: "BadRequestException", Message: string(x.body)})
			},
			errors: []errorCase{
				{name: "no id", answer: answer{200, nil, `{}`}, kind: Uncertain},
				{name: "not JSON", answer: answer{200, nil, proxyPage}, kind: Uncertain},
				{name: "unverified", answer: refusal(400, "MessageRejected", "Email address is not verified. The following identities failed the check in region EU-WEST-1: ada.lovelace@example.org"),
					kind: Configuration, code: "MessageRejected", hint: "sandbox"},
				{name: "rejected", answer: refusal(400, "MessageRejected", "Message contains a virus"), kind: Content},
				{name: "suppressed", answer: refusal(400, "MessageRejected", "Address blacklisted."), kind: Recipient, suppressed: true},
				{name: "mail from", answer: refusal(400, "MailFromDomainNotVerifiedException", "not verified"), kind: Configuration},
				{name: "suspended", answer: refusal(400, "AccountSuspendedException", "suspended"), kind: Configuration},
				{name: "paused", answer: refusal(400, "SendingPausedException", "paused"), kind: Configuration, hint: "paused"},
				{name: "configuration set", answer: refusal(404, "NotFoundException", "Configuration set <otp> does not exist"), kind: Configuration, hint: "configurationSetName"},
				{name: "invalid address", answer: refusal(400, "BadRequestException", "Invalid email address<ada.lovelace@example.org>."), kind: Recipient},
				{name: "no domain", answer: refusal(400, "BadRequestException", "Missing final '@domain'"), kind: Recipient},
				{name: "no domain 2", answer: refusal(400, "BadRequestException", "Missing domain"), kind: Recipient},
				{name: "domain", answer: refusal(400, "BadRequestException", "Domain contains illegal character"), kind: Recipient},
				{name: "domain with a space", answer: refusal(400, "BadRequestException", "Domain contains control or whitespace"), kind: Recipient},
				{name: "local part", answer: refusal(400, "BadRequestException", "Local address contains control or whitespace"), kind: Recipient},
				{name: "illegal address", answer: refusal(400, "BadRequestException", "Illegal address"), kind: Recipient},
				{name: "bad request", answer: refusal(400, "BadRequestException", "Header value is too long"), kind: Content},
				{name: "configuration set with 400", answer: refusal(400, "BadRequestException", "Configuration set <otp> does not exist."), kind: Configuration},
				{name: "rate", answer: refusal(429, "TooManyRequestsException", "Maximum sending rate exceeded."), kind: RateLimited, code: "TooManyRequestsException"},
				{name: "daily quota", answer: refusal(429, "TooManyRequestsException", "Daily message quota exceeded"), kind: RateLimited, quota: true},
				{name: "limit", answer: refusal(400, "LimitExceededException", "limit exceeded"), kind: RateLimited, quota: true},
				{name: "throttling", answer: refusal(400, "ThrottlingException", "Rate exceeded"), kind: RateLimited},
				{name: "throttling, old", answer: refusal(400, "Throttling", "Rate exceeded"), kind: RateLimited},
				{name: "access denied", answer: refusal(403, "AccessDeniedException", "User: arn:aws:iam::111122223333:user/relay is not authorized to perform: ses:SendRawEmail"),
					kind: Configuration, hint: addressHint},
				{name: "unknown key", answer: refusal(403, "UnrecognizedClientException", "The security token included in the request is invalid."), kind: Configuration, hint: "accessKeyId"},
				{name: "unknown key, old", answer: refusal(403, "InvalidClientTokenId", "invalid"), kind: Configuration, hint: "accessKeyId"},
				{name: "signature", answer: refusal(403, "SignatureDoesNotMatch", "The request signature we calculated does not match"), kind: Configuration, hint: "accessKeySecret"},
				{name: "signature 2", answer: refusal(403, "InvalidSignatureException", "The request signature we calculated does not match"), kind: Configuration, hint: "accessKeySecret"},
				{name: "our clock is late", answer: refusal(403, "InvalidSignatureException", "Signature expired: 20261127T153326Z is now earlier than 20261127T154826Z (20261127T155326Z - 5 min.)"), kind: Temporary, hint: "clock", wait: soonest},
				{name: "our clock is early", answer: refusal(403, "InvalidSignatureException", "Signature not yet current: 20261127T161326Z is still later than 20261127T155826Z (20261127T155326Z + 5 min.)"), kind: Temporary, hint: "clock", wait: soonest},
				{name: "signature 3", answer: refusal(400, "IncompleteSignature", "incomplete"), kind: Configuration},
				{name: "token", answer: refusal(403, "ExpiredTokenException", "expired"), kind: Configuration},
				{name: "clock", answer: refusal(400, "RequestExpired", "expired"), kind: Configuration, hint: "clock"},
				{name: "conflict", answer: refusal(409, "ConflictException", "conflict"), kind: Configuration},
				{name: "modification", answer: refusal(500, "ConcurrentModificationException", "concurrent"), kind: Temporary},
				{name: "internal", answer: refusal(500, "InternalServiceErrorException", "internal"), kind: Temporary},
				{name: "unavailable", answer: refusal(503, "ServiceUnavailable", "unavailable"), kind: Temporary},
				{name: "type in the body", answer: answer{400, nil, `{"__type":"com.amazonaws.sesv2#SendingPausedException","message":"paused"}`},
					kind: Configuration, code: "SendingPausedException"},
				{name: "type with a link", answer: refusal(429, "TooManyRequestsException:http://internal.amazon.com/", "Maximum sending rate exceeded."),
					kind: RateLimited, code: "TooManyRequestsException"},
			},
		},
	}
}

// What is in no key is seen in either half.
func TestSESKeys(t *testing.T) {
	for _, test := range []struct{ id, secret, key string }{
		{"AKIA1", "s", ""}, {"", "", ""}, {"AKIA1 ", "s", "accessKeyId"}, {" AKIA1", "s", "accessKeyId"}, {"AKIA1", "s\n", "accessKeySecret"}, {"AKIA1~", "~s", ""},
	} {
		s := newSESSettings()
		s.Region, s.AccessKeyID, s.AccessKeySecret = "eu-west-1", test.id, settings.NewSecret(test.secret)
		if problems := s.Check(); (len(problems) == 0) != (test.key == "") || len(problems) > 0 && problems[0].Key != test.key {
			t.Errorf("%+v: %v", test, problems)
		}
	}
}

// TestSESHeaders leaves out what SES refuses the whole mail for.
func TestSESHeaders(t *testing.T) {
	got := sesHeaders([]mail.Header{
		{Name: "X-Fine", Value: "yes"},
		{Name: "X-Empty", Value: ""},
		{Name: "X-" + strings.Repeat("n", 125), Value: "name too long"},
		{Name: "X-Long", Value: strings.Repeat("v", 996)},
		{Name: "X-Both", Value: strings.Repeat("v", 991)},
		{Name: "X-Fits", Value: strings.Repeat("v", 990)},
		{Name: "X", Value: strings.Repeat("v", 995)},
		{Name: strings.Repeat("n", 126), Value: "longest name"},
	})
	var names []string
	for _, header := range got {
		names = append(names, *header.Name)
	}
	if strings.Join(names, " ") != "X-Fine X-Fits X "+strings.Repeat("n", 126) {
		t.Errorf("headers %v", names)
	}
}

// TestSESWithoutCredentials finds none in the AWS default chain.
func TestSESWithoutCredentials(t *testing.T) {
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE",
		"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_CONFIG_FILE", t.TempDir()+"/none")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", t.TempDir()+"/none")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")

	f := sesFixture()
	service := f.start(t, accepts)
	s := f.settings(service.address).(*sesSettings)
	s.AccessKeyID, s.AccessKeySecret = "", settings.Secret{}
	if found := s.Check(); len(found) > 0 {
		t.Errorf("the default chain is refused: %v", found)
	}
	e := wantKind(t, t.Context(), f, open(t, s), Configuration)
	if !strings.Contains(e.Hint, "accessKeyId") {
		t.Errorf("hint %q", e.Hint)
	}

	t.Setenv("AWS_ACCESS_KEY_ID", sesKeyID)
	t.Setenv("AWS_SECRET_ACCESS_KEY", sesSecret)
	if _, err := open(t, s).Send(t.Context(), plainMessage()); err != nil {
		t.Errorf("with the environment's credentials: %v", err)
	}
}

// With a sender of the provider's own, the identity has to be verified: the
// address or its domain.
func TestSESVerifySender(t *testing.T) {
	f := sesFixture()
	notFound := answer{404, map[string]string{"X-Amzn-Errortype": "NotFoundException"}, `{"message":"Email identity does not exist"}`}
	denied := answer{403, map[string]string{"X-Amzn-Errortype": "AccessDeniedException"}, `{"message":"not authorized to perform: ses:GetEmailIdentity"}`}
	broken := answer{500, map[string]string{"X-Amzn-Errortype": "InternalServiceErrorException"}, `{"message":"no"}`}
	verified, pending := answer{200, nil, `{"VerifiedForSendingStatus":true}`}, answer{200, nil, `{"VerifiedForSendingStatus":false}`}
	for _, test := range []struct {
		name            string
		address, domain answer
		kind            Kind
		words           string
	}{
		{"address verified", verified, notFound, 0, ""},
		{"domain verified", notFound, verified, 0, ""},
		{"address pending, domain verified", pending, verified, 0, ""},
		{"neither", notFound, notFound, Configuration, "identity: verify"},
		{"pending", notFound, pending, Configuration, "identity: verify"},
		{"not allowed", denied, denied, 0, "ses:GetEmailIdentity"},
		{"broken", broken, verified, Temporary, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			server, _ := startServer(t, func(w http.ResponseWriter, r *http.Request) {
				switch r.URL.Path {
				case "/v2/email/account":
					answer{200, nil, sesAccount}.write(w)
				case "/v2/email/identities/no-reply@acme.example":
					test.address.write(w)
				case "/v2/email/identities/acme.example":
					test.domain.write(w)
				default:
					t.Errorf("asked for %s", r.URL)
				}
			})
			s := f.settings(server.URL).(*sesSettings)
			s.EmailAddressIdentityARN = ""
			if err := s.EmailAddress.UnmarshalText([]byte("Acme <no-reply@acme.example>")); err != nil {
				t.Fatal(err)
			}
			if test.kind != 0 {
				verifyFails(t, t.Context(), f, open(t, s), test.kind, test.words)
				return
			}
			if note, err := open(t, s).(Verifier).Verify(t.Context()); err != nil || !strings.Contains(note, test.words) {
				t.Errorf("note %q, error %v", note, err)
			}
		})
	}
}

// Credentials that never come hold a mail up no longer than its time, and the next
// one asks anew.
func TestSESCredentialsThatSwitchProtocols(t *testing.T) {
	for _, place := range []string{"AWS_EC2_METADATA_SERVICE_ENDPOINT", "AWS_CONTAINER_CREDENTIALS_FULL_URI"} {
		t.Run(place, func(t *testing.T) {
			listener := listen(t)
			var asked atomic.Int64
			serveRaw(t, listener, answersRaw(func(int) []string { asked.Add(1); return []string{switching} }))
			t.Setenv(place, "http://"+listener.Addr().String())
			for _, name := range []string{"AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"} {
				t.Setenv(name, filepath.Join(t.TempDir(), "none"))
			}
			s := newSESSettings()
			s.Region, s.Endpoint = "eu-west-1", "http://"+listener.Addr().String()
			provider := open(t, s)
			before, last := runtime.NumGoroutine(), int64(0)
			for range 2 {
				wantKind(t, t.Context(), fixture{}, provider, Configuration)
				if asked.Load() == last {
					t.Error("nobody was asked")
				}
				last = asked.Load()
			}
			eventually(t, "the goroutines have ended", func() bool { return runtime.NumGoroutine() <= before })
		})
	}
}

// openSESOfARole opens a service that takes every mail, with credentials of an endpoint as a
// container has them.
func openSESOfARole(t *testing.T, endpoint *httptest.Server) Provider {
	t.Helper()
	for name, value := range map[string]string{"AWS_CONTAINER_CREDENTIALS_FULL_URI": endpoint.URL + "/credentials", "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_CONFIG_FILE": "/nonexistent", "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent"} {
		t.Setenv(name, value)
	}
	server, _ := startServer(t, always(answer{200, map[string]string{"Content-Type": "application/json"}, `{"MessageId":"1"}`}))
	s := &sesSettings{Region: "eu-west-1"}
	s.Endpoint = server.URL
	return open(t, s)
}

// The credentials of a role come from an endpoint, whose moment of trouble is no mistake of
// the operator's.
func TestSESCredentialsOfARole(t *testing.T) {
	var status atomic.Int64
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if status.Load() == 0 {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(int(status.Load()))
	}))
	t.Cleanup(endpoint.Close)
	for code, kind := range map[int64]Kind{0: Temporary, 500: Temporary, 503: Temporary, 429: Temporary, 403: Configuration} {
		status.Store(code)
		_, err := openSESOfARole(t, endpoint).Send(shortly(t), plainMessage())
		if e := AsError(err); e.Kind != kind || e.Momentary != (kind == Temporary) || e.Stage != "credentials" {
			t.Errorf("%d: %v, tried again: %v", code, e, e.Momentary)
		}
	}
}

// The service that makes credentials of a role is asked through the proxy, as SES is; an
// endpoint of the machine itself is not.
func TestSESCredentialsThroughAProxy(t *testing.T) {
	var hosts sync.Map
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hosts.Store(r.Host, true)
		if r.Host == "sts.example.com" {
			_, _ = fmt.Fprintf(w, `<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>%s</AccessKeyId>`+
				`<SecretAccessKey>%s</SecretAccessKey><SessionToken>t</SessionToken><Expiration>%s</Expiration></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`,
				sesKeyID, sesSecret, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"MessageId":"1"}`)
	}))
	t.Cleanup(proxy.Close)
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("t"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"AWS_ROLE_ARN": "arn:aws:iam::111122223333:role/mails", "AWS_WEB_IDENTITY_TOKEN_FILE": token,
		"AWS_ENDPOINT_URL_STS": "http://sts.example.com", "AWS_CONFIG_FILE": "/nonexistent", "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent"} {
		t.Setenv(name, value)
	}
	s := &sesSettings{Region: "eu-west-1"}
	s.Endpoint, s.Proxy = "http://ses.example.com", settings.NewSecret(proxy.URL)
	if _, err := open(t, s).Send(shortly(t), plainMessage()); err != nil {
		t.Error(err)
	}
	for _, host := range []string{"sts.example.com", "ses.example.com"} {
		if _, asked := hosts.Load(host); !asked {
			t.Errorf("%s was not asked through the proxy", host)
		}
	}
	t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "")
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]string{"AccessKeyId": sesKeyID, "SecretAccessKey": sesSecret, "Token": "t"})
	}))
	t.Cleanup(endpoint.Close)
	for _, url := range []string{endpoint.URL, strings.Replace(endpoint.URL, "127.0.0.1", "Localhost", 1)} {
		t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url)
		if _, err := open(t, s).Send(shortly(t), plainMessage()); err != nil {
			t.Errorf("%s: %v", url, err)
		}
		if _, asked := hosts.Load(strings.TrimPrefix(url, "http://")); asked {
			t.Errorf("%s was asked through the proxy", url)
		}
	}
}

// While credentials are good, their endpoint is of no interest.
func TestSESCredentialsThatAreGoodStill(t *testing.T) {
	var asked atomic.Int64
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) > 1 {
			w.WriteHeader(500)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"AccessKeyId": sesKeyID, "SecretAccessKey": sesSecret, "Token": "t",
			"Expiration": time.Now().Add(2 * time.Minute).UTC().Format(time.RFC3339)})
	}))
	t.Cleanup(endpoint.Close)
	provider := openSESOfARole(t, endpoint)
	for range 3 {
		if _, err := provider.Send(shortly(t), plainMessage()); err != nil {
			t.Error(err)
		}
	}
	if asked.Load() != 1 {
		t.Errorf("asked %d times", asked.Load())
	}
}

// One question for credentials that gets no answer does not keep all mails waiting for good.
func TestSESCredentialsThatNeverCome(t *testing.T) {
	var asked atomic.Int64
	stop := make(chan struct{})
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			<-stop
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"AccessKeyId": sesKeyID, "SecretAccessKey": sesSecret, "Token": "t",
			"Expiration": time.Now().Add(time.Hour).UTC().Format(time.RFC3339)})
	}))
	t.Cleanup(endpoint.Close)
	t.Cleanup(func() { close(stop) })
	provider := openSESOfARole(t, endpoint)
	ctx, cancel := context.WithTimeout(t.Context(), 5*credentialsTime) // against a hang only
	defer cancel()
	if _, err := provider.Send(ctx, plainMessage()); err != nil {
		t.Error(err)
	}
}

// https://docs.aws.amazon.com/general/latest/gr/ses.html
func TestAWSRegions(t *testing.T) {
	for region, isOne := range map[string]bool{
		"eu-west-1": true, "us-gov-west-1": true, "cn-northwest-1": true, "mx-central-1": true, "ap-southeast-5": true, "eusc-de-east-1": true,
		"eu-west": false, "Ireland": false, "eu-west-1a": false, "s3": false,
	} {
		s := sesOf("")
		s.Region = region
		if problems := s.Check(); (len(problems) == 0) != isOne {
			t.Errorf("%s: %v", region, problems)
		}
	}
}
