package providers

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"logto-email-relay/mail"
	"logto-email-relay/settings"
)

const (
	aliyunKeyID  = "LTAI5tExampleKeyId"
	aliyunSecret = "ExampleSecret0123456789"
)

func aliyunFixture() fixture {
	refusal := func(status int, code, message string) answer {
		body, _ := json.Marshal(map[string]string{"Code": code, "Message": message, "RequestId": "1", "HostId": "dm.aliyuncs.com"})
		return answer{status, nil, string(body)}
	}
	row := func(name string, status int, code string, kind Kind) errorCase {
		return errorCase{name: name, answer: refusal(status, code, "said about ada.lovelace@example.org"), kind: kind, code: code}
	}
	hinted := func(c errorCase, hint string) errorCase { c.hint = hint; return c }
	quota := func(c errorCase) errorCase { c.quota = true; return c }
	suppressed := func(c errorCase) errorCase { c.suppressed = true; return c }
	return fixture{
		settings: func(address string) Settings {
			s := newAliyunSettings()
			s.Endpoint, s.AccessKeyID, s.AccessKeySecret = address, aliyunKeyID, settings.NewSecret(aliyunSecret)
			return s
		},
		mistakes: map[string]func(Settings){
			"accessKeyId":     func(s Settings) { s.(*aliyunSettings).AccessKeyID = "LTAI " },
			"accessKeySecret": func(s Settings) { s.(*aliyunSettings).AccessKeySecret = settings.NewSecret("a b") },
			"regionId":        func(s Settings) { s.Shared().Endpoint, s.(*aliyunSettings).RegionID = "", "eu-west-1" },
			"fromAlias":       func(s Settings) { s.(*aliyunSettings).FromAlias = "fifteen letters" },
			"endpoint":        func(s Settings) { s.Shared().Endpoint = "http://dm.aliyuncs.com" },
		},
		secrets:      []string{aliyunSecret},
		id:           "600000123456789012",
		brokenAnswer: Uncertain,
		http: &httpFixture{
			path:       "/",
			authorized: aliyunAuthorized,
			accepted:   answer{200, nil, `{"EnvId":"600000123456789012","RequestId":"12D086F6-8F31-4658-84C1-006DED011A85"}`},
			text: func(r *http.Request, body []byte) string {
				form, err := url.ParseQuery(string(body))
				if err != nil {
					return err.Error()
				}
				var text strings.Builder
				fmt.Fprintf(&text, "%s %s\nContent-Type: %s\nX-Acs-Action: %s\nX-Acs-Version: %s\n\n", r.Method, r.URL.Path,
					r.Header.Get("Content-Type"), r.Header.Get("X-Acs-Action"), r.Header.Get("X-Acs-Version"))
				for _, name := range slices.Sorted(maps.Keys(form)) {
					fmt.Fprintf(&text, "%s: %q\n", name, form[name])
				}
				return text.String()
			},
			refusal: func(words string) answer {
				return refusal(400, "SignatureDoesNotMatch", "server string to sign is:POST&%2F&"+url.QueryEscape(words)+words)
			},
			verifies: func(r *http.Request, _ []byte) bool { return r.Header.Get("X-Acs-Action") == "DescAccountSummary" },
			verified: always200(`{"UserStatus":0,"DailyQuota":2000,"RequestId":"1"}`),
			verdicts: []verifyCase{
				{name: "frozen", answer: answer{200, nil, `{"UserStatus":1}`}, kind: Configuration, words: "frozen"},
				{name: "overdue", answer: answer{200, nil, `{"UserStatus":2}`}, kind: Configuration, words: "payment"},
				{name: "restricted", answer: answer{200, nil, `{"UserStatus":4}`}, kind: Configuration, words: "may not send"},
				{name: "deleted", answer: answer{200, nil, `{"UserStatus":8}`}, kind: Configuration, words: "deleted"},
				{name: "wrong key", answer: refusal(404, "InvalidAccessKeyId.NotFound", "no"), kind: Configuration, words: "check accessKeyId"},
				{name: "wrong secret", answer: refusal(400, "SignatureDoesNotMatch", "no"), kind: Configuration, words: "check accessKeySecret"},
				{name: "key that may only send", answer: refusal(403, "Forbidden.RAM", "no"), words: "dm:DescAccountSummary"},
				{name: "also", answer: refusal(403, "NoPermission", "no"), words: "dm:DescAccountSummary"},
				{name: "throttled", answer: refusal(400, "Throttling.User", "no"), kind: RateLimited},
			},
			table: aliyunErrors,
			errors: []errorCase{
				{name: "no id", answer: answer{200, nil, `{"RequestId":"1"}`}, kind: Uncertain},
				{name: "not JSON", answer: answer{200, nil, proxyPage}, kind: Uncertain},
				row("refused with 200", 200, "InvalidToAddress", Recipient),
				row("recipient", 400, "InvalidToAddress", Recipient),
				row("form", 400, "EmailFormatError", Recipient),
				row("length", 400, "EmailLengthError", Recipient),
				suppressed(row("invalid address base", 400, "InvalidToAddress.Spam", Recipient)),
				hinted(row("sender", 404, "InvalidMailAddress.NotFound", Configuration), "regionId"),
				row("template", 404, "InvalidTemplate.NotFound", Configuration),
				row("receivers", 404, "InvalidReceiver.NotFound", Configuration),
				row("concurrent", 400, "Throttling.Concurrent", RateLimited),
				row("token of a role", 400, "InvalidSecurityToken.Expired", Configuration),
				row("balance", 400, "InsufficientBalance", Configuration),
				row("receivers 2", 400, "InvalidReceiverName.Malformed", Configuration),
				hinted(row("frozen", 400, "InvalidMailAddressStatus.Malformed", Configuration), "frozen"),
				row("type of sender", 400, "InvalidMailAddressSendType.Malformed", Configuration),
				row("domain", 400, "InvalidMailAddressDomain.Malformed", Configuration),
				row("name of sender", 400, "InvalidMailAddressName.Malformed", Configuration),
				row("alias", 400, "InvalidFromAlias.Malformed", Configuration),
				row("subject", 400, "InvalidSubject.Malformed", Content),
				row("body", 400, "InvalidBody", Content),
				hinted(row("spam", 400, "InvalidSendMail.Spam", Configuration), "spam"),
				hinted(row("forbidden", 400, "Forbidden", Configuration), addressHint),
				hinted(row("forbidden by RAM", 403, "Forbidden.RAM", Configuration), addressHint),
				hinted(row("permission", 403, "NoPermission", Configuration), addressHint),
				hinted(row("key", 404, "InvalidAccessKeyId.NotFound", Configuration), "accessKeyId"),
				row("inactive key", 400, "InvalidAccessKeyId.Inactive", Configuration),
				hinted(row("signature", 400, "SignatureDoesNotMatch", Configuration), "accessKeySecret"),
				row("incomplete", 400, "IncompleteSignature", Configuration),
				hinted(row("clock", 400, "InvalidTimeStamp.Expired", Configuration), "clock"),
				row("time", 400, "InvalidTimeStamp.Format", Configuration),
				row("state of the account", 400, "InvalidAccountStatus", Configuration),
				row("domain", 400, "InvalidDomain.NotVerified", Configuration),
				row("nonce", 400, "SignatureNonceUsed", Uncertain),
				row("missing", 400, "MissingParameter", Content),
				row("missing something", 400, "MissingSubject", Content),
				row("parameter", 400, "InvalidParameter", Content),
				row("throttling", 400, "Throttling", RateLimited),
				row("throttling of user", 400, "Throttling.User", RateLimited),
				row("throttling of API", 503, "Throttling.Api", RateLimited),
				quota(row("quota", 400, "Account.QuotaExceeded", RateLimited)),
				row("internal", 500, "InternalError", Temporary),
				row("internal 2", 500, "InternalServiceError", Temporary),
				row("unavailable", 503, "ServiceUnavailable", Temporary),
			},
		},
	}
}

func aliyunAuthorized(r *http.Request) bool {
	date, err := time.Parse(time.RFC3339, r.Header.Get("X-Acs-Date"))
	return err == nil && time.Since(date) < time.Minute && r.Header.Get("X-Acs-Signature-Nonce") != "" &&
		strings.HasPrefix(r.Header.Get("Authorization"), "ACS3-HMAC-SHA256 Credential="+aliyunKeyID+",SignedHeaders=")
}

// TestAliyunSignature compares with signatures that Alibaba Cloud's own library
// made of the same requests (github.com/alibabacloud-go/openapi-util v0.1.1).
func TestAliyunSignature(t *testing.T) {
	body := "AccountName=no-reply%40acme.example&Action=x&Subject=%E3%82%B3%E3%83%BC%E3%83%89+1%2B1%7E%2A&ToAddress=ada%40example.org"
	for host, want := range map[string]string{
		"dm.aliyuncs.com": "d60a561a2bd4aca75f6fca4ee5b130beafa7a16bdd62fb5117c2d59f6be539bb",
		"127.0.0.1:8080":  "8c98adee9db206ae0fb5343b619d351ef1805eb06d6f2cbd65301921e6d2333c",
	} {
		header := aliyunHeader(host, "SingleSendMail", []byte(body), time.Date(2026, 11, 21, 10, 30, 0, 0, time.UTC), "3156853299f313e23d1673dc12e1703d")
		got := aliyunAuthorization(&url.URL{Path: "/"}, header, aliyunKeyID, settings.NewSecret(aliyunSecret))
		want := "ACS3-HMAC-SHA256 Credential=" + aliyunKeyID +
			",SignedHeaders=content-type;host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version" +
			",Signature=" + want
		if got != want {
			t.Errorf("%s:\n%s, want\n%s", host, got, want)
		}
	}
}

// TestAliyunNonce is about a nonce that is used twice being refused.
func TestAliyunNonce(t *testing.T) {
	f := aliyunFixture()
	f.http.text = func(r *http.Request, _ []byte) string { return r.Header.Get("X-Acs-Signature-Nonce") }
	provider, arrived := openHonest(t, f)
	for range 2 {
		if _, err := provider.Send(t.Context(), plainMessage()); err != nil {
			t.Fatal(err)
		}
	}
	if nonces := arrived(); nonces[0] == nonces[1] {
		t.Errorf("the nonce %s was used twice", nonces[0])
	}
}

func TestAliyunLimits(t *testing.T) {
	m := plainMessage()
	m.From.Name = "Acme Corporation, Ltd."
	for i := range 20 {
		m.Headers = append(m.Headers, mail.Header{Name: fmt.Sprintf("X-User-%d", i), Value: "x"})
	}
	form, err := aliyunForm(m, "cn-hangzhou")
	if err != nil {
		t.Fatal(err)
	}
	if form.Has("FromAlias") {
		t.Errorf("name %q is longer than the service takes", form.Get("FromAlias"))
	}
	for name, taken := range map[string]bool{"fourteen lett.": true, "fifteen letters": false} {
		m.From.Name, m.ReplyTo = name, mail.Address{Name: name, Address: "help@acme.example"}
		form, err := aliyunForm(m, "cn-hangzhou")
		if err != nil || form.Has("FromAlias") != taken || form.Has("ReplyAddressAlias") != taken {
			t.Errorf("%s: %v, %v", name, form, err)
		}
		s := newAliyunSettings()
		s.FromAlias = name
		if problems := s.Check(); (len(problems) == 0) != taken {
			t.Errorf("%s: %v", name, problems)
		}
	}
	var headers map[string]string
	if err := json.Unmarshal([]byte(form.Get("Headers")), &headers); err != nil || len(headers) != 10 {
		t.Errorf("%d headers, want 10; %v", len(headers), err)
	}
}

func TestAliyunRegions(t *testing.T) {
	for region := range aliyunEndpoints {
		s := newAliyunSettings()
		s.RegionID, s.AccessKeyID, s.AccessKeySecret = region, aliyunKeyID, settings.NewSecret(aliyunSecret)
		if found := s.Check(); len(found) > 0 {
			t.Errorf("%s: %v", region, found)
		}
		if got := open(t, s).(*aliyun).url.String(); got != aliyunEndpoints[region]+"/" {
			t.Errorf("%s: %s", region, got)
		}
	}
}

// TestAliyunWordsStayOut lets the service quote a mail without anything in it
// that Redact would know.
func TestAliyunWordsStayOut(t *testing.T) {
	for _, code := range []string{"SignatureDoesNotMatch", "InvalidBody", "SomethingNew", "with the mail in it"} {
		body, _ := json.Marshal(map[string]string{"Code": code, "Message": "server string: dear reader"})
		provider := openTo(t, aliyunFixture(), always(answer{400, nil, string(body)}))
		_, err := provider.Send(t.Context(), plainMessage())
		if e := wantError(t, err); e != nil && (strings.Contains(e.Error(), "reader") || strings.Contains(e.Error(), "in it")) {
			t.Errorf("the error tells the service's words: %v", e)
		}
	}
}
