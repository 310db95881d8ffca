package providers

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"logto-email-relay/mail"
	"logto-email-relay/settings"
)

// now is the time of all calls in these tests that are not genuine ones.
var eventNow = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

const (
	eventMail = "0123456789abcdefghjkmnpqrs"
	// What no event may bring into the record.
	plantedCode    = "482913"
	plantedLink    = "https://acme.example/in?token=VerySecretToken"
	plantedAddress = "ada@example.org"
)

// eventFixture plays a service that reports events.
type eventFixture struct {
	settings func() Settings
	// open makes the provider; Open if nil.
	open func(testing.TB, Settings) Provider
	// sign makes a call of an event in JSON.
	sign func(event string, at time.Time) (http.Header, []byte)
	// refused is the answer to a call by somebody else, and stale to one that is
	// older than retries; 0 where a call has no age.
	refused, stale int
	retries        time.Duration
	cases          []eventCase
	// planted is an event that quotes the mail wherever a service could.
	planted string
}

type eventCase struct {
	name, event string
	want        mail.Report // its zero value for an event of no interest
}

func told(status mail.Status, detail string) mail.Report {
	return mail.Report{ID: eventMail, Event: mail.Event{Time: eventNow.Add(-time.Second), Status: status, Detail: detail}}
}

func (r mailReport) with(providerID, key string) mail.Report {
	r.ProviderID, r.Key = providerID, key
	return mail.Report(r)
}

type mailReport mail.Report

func softly(r mail.Report) mail.Report {
	r.Soft = true
	return r
}

// ours is a bounce that says nothing of the address.
func ours(r mail.Report) mail.Report {
	r.Soft, r.Ours = true, true
	return r
}

// about is a bounce of whom the service names.
func about(r mail.Report, to ...string) mail.Report {
	r.To = to
	return r
}

func ided(r mail.Report, providerID, key string) mail.Report {
	return mailReport(r).with(providerID, key)
}

var eventFixtures = map[string]func(testing.TB) eventFixture{
	"sendgrid": sendGridEvents, "mailgun": mailgunEvents, "ses": sesEvents, "postmark": postmarkEvents, "resend": resendEvents, "smtp2go": smtp2goEvents, "http": httpEvents,
}

// Every service that reports events keeps to the same promises.
func TestEvents(t *testing.T) {
	for _, kind := range Types() {
		s, takes := kind.New().(EventSettings)
		fixture, tested := eventFixtures[kind.Name]
		if takes != tested {
			t.Errorf("%s takes events: %v, and is tested: %v", kind.Name, takes, tested)
		}
		if !takes {
			continue
		}
		t.Run(kind.Name, func(t *testing.T) {
			if s.TakesEvents() {
				t.Error("it takes events without anything to verify them by")
			}
			f := fixture(t)
			s := f.settings()
			if problems := s.(settings.Checker).Check(); len(problems) > 0 || !s.(EventSettings).TakesEvents() {
				t.Fatalf("the fixture takes no events: %v", problems)
			}
			f.test(t, f.opened(t, s))
			f.testWithoutKey(t, s)
		})
	}
}

func (f *eventFixture) opened(t testing.TB, s Settings) EventReceiver {
	t.Helper()
	if f.open != nil {
		return f.open(t, s).(EventReceiver)
	}
	p, err := s.Open()
	if err != nil {
		t.Fatal(err)
	}
	return p.(EventReceiver)
}

func (f *eventFixture) test(t *testing.T, p EventReceiver) {
	at := eventNow.Add(-time.Second)
	for _, c := range f.cases {
		t.Run(c.name, func(t *testing.T) {
			header, body := f.sign(c.event, at)
			got, err := p.Events(t.Context(), header, body, eventNow)
			if err != nil {
				t.Fatal(err)
			}
			if c.want.Status == "" {
				if len(got) > 0 {
					t.Errorf("reports %+v", got)
				}
				return
			}
			if len(got) != 1 {
				t.Fatalf("%d reports", len(got))
			}
			if c.want.Key == "" && got[0].Key != "" { // its form is the service's
				got[0].Key = ""
			}
			if !reflect.DeepEqual(got[0], c.want) {
				t.Errorf("\n got %+v\nwant %+v", got[0], c.want)
			}
			again, err := p.Events(t.Context(), header, body, eventNow)
			if err != nil || len(again) != 1 {
				t.Errorf("a call that comes again: %v", err)
			}
		})
	}

	t.Run("refused", func(t *testing.T) {
		header, body := f.sign(f.cases[0].event, at)
		f.refuses(t, p, http.Header{}, []byte(`{}`), f.refused)
		f.refuses(t, p, http.Header{}, nil, 0)
		if len(header) > 0 {
			f.refuses(t, p, http.Header{}, body, f.refused)
		}
		for name := range header {
			bad := header.Clone()
			bad.Set(name, "x"+bad.Get(name))
			f.refuses(t, p, bad, body, f.refused)
			if name != "Svix-Signature" { // a list, of which one has to be right
				bad.Set(name, header.Get(name)+"zz")
				f.refuses(t, p, bad, body, f.refused)
			}
			bad.Del(name)
			f.refuses(t, p, bad, body, f.refused)
			bad[name] = append([]string{""}, header[name]...)
			f.refuses(t, p, bad, body, f.refused)
			if name == "Authorization" {
				bad[name] = append(header[name], "Basic eDp5")
				f.refuses(t, p, bad, body, f.refused)
			}
		}
		if f.retries == 0 {
			return
		}
		for _, age := range []time.Duration{f.retries + time.Minute, -ahead - time.Minute} {
			header, body := f.sign(f.cases[0].event, eventNow.Add(-age))
			f.refuses(t, p, header, body, f.stale)
		}
		header, body = f.sign(f.cases[0].event, eventNow.Add(-f.retries+time.Minute))
		if _, err := p.Events(t.Context(), header, body, eventNow); err != nil {
			t.Errorf("a late try: %v", err)
		}
	})

	t.Run("quotes nothing", func(t *testing.T) {
		header, body := f.sign(f.planted, at)
		got, err := p.Events(t.Context(), header, body, eventNow)
		if err != nil || len(got) != 1 || got[0].Detail == "" {
			t.Fatalf("%+v, %v", got, err)
		}
		got[0].To = nil // which goes nowhere
		quotesNothing(t, fmt.Sprintf("%+v", got))
	})
}

func (f *eventFixture) refuses(t *testing.T, p EventReceiver, header http.Header, body []byte, status int) {
	t.Helper()
	got, err := p.Events(t.Context(), header, body, eventNow)
	var failure *EventError
	if !errors.As(err, &failure) || len(got) > 0 || status != 0 && failure.Status != status {
		t.Errorf("%v: %v, %v; want %d", header, got, err, status)
	}
	quotesNothing(t, fmt.Sprintf("%+v", err))
}

// testWithoutKey takes away what calls are verified by. Nothing is taken then.
func (f *eventFixture) testWithoutKey(t *testing.T, s Settings) {
	switch s := s.(type) {
	case *sendGridSettings:
		s.EventPublicKey = settings.Secret{}
	case *mailgunSettings:
		s.EventSigningKey = settings.Secret{}
		defer func() {
			f.refuses(t, f.opened(t, s), http.Header{}, mailgunCall("", "", f.cases[0].event, eventNow), f.refused)
		}()
	case *sesSettings:
		s.EventTopicARN = ""
	case *postmarkSettings:
		s.EventCredentials = settings.Secret{}
	case *smtp2goSettings:
		s.EventCredentials = settings.Secret{}
	case *resendSettings:
		s.EventSecret = settings.Secret{}
		defer func() {
			signature := "v1," + base64.StdEncoding.EncodeToString(hmacOf(nil, "msg_1."+seconds(eventNow)+"."+f.cases[0].event))
			header := http.Header{"Svix-Id": {"msg_1"}, "Svix-Timestamp": {seconds(eventNow)}, "Svix-Signature": {signature}}
			f.refuses(t, f.opened(t, s), header, []byte(f.cases[0].event), f.refused)
		}()
	case *httpSettings:
		s.EventCredentials, s.EventSignature = settings.Secret{}, httpEventSignature{}
	}
	if s.(EventSettings).TakesEvents() {
		t.Error("it still takes events")
	}
	p := f.opened(t, s)
	header, body := f.sign(f.cases[0].event, eventNow)
	f.refuses(t, p, header, body, 0)
	header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(":")))
	f.refuses(t, p, header, body, 0)
}

func quotesNothing(t *testing.T, text string) {
	t.Helper()
	for _, secret := range []string{plantedCode, plantedLink, "VerySecretToken", plantedAddress, "example.org"} {
		if strings.Contains(text, secret) {
			t.Errorf("%s stands in %s", secret, text)
		}
	}
}

// quoted is what services say with the mail in it.
const quoted = "550 5.1.1 <" + plantedAddress + ">: no such user; Subject: " + plantedCode + " is your code; see " + plantedLink

func basic(credentials string) http.Header {
	return http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(credentials))}}
}

func hmacOf(key []byte, parts ...string) []byte {
	mac := hmac.New(sha256.New, key)
	for _, part := range parts {
		mac.Write([]byte(part))
	}
	return mac.Sum(nil)
}

func seconds(at time.Time) string { return strconv.FormatInt(at.Unix(), 10) }

// SendGrid.

func sendGridEvents(t testing.TB) eventFixture {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	event := func(rest string) string {
		return `[{"email":"` + plantedAddress + `","timestamp":` + seconds(eventNow.Add(-time.Second)) + `,"sg_event_id":"ev1","relay_id":"` + eventMail + `",` + rest + `}]`
	}
	return eventFixture{
		settings: func() Settings { return sendGridVerifiedBy(base64.StdEncoding.EncodeToString(der)) },
		sign: func(event string, at time.Time) (http.Header, []byte) {
			body := event + "\r\n"
			sum := sha256.Sum256([]byte(seconds(at) + body))
			signature, _ := ecdsa.SignASN1(rand.Reader, key, sum[:])
			return http.Header{sendGridSignature: {base64.StdEncoding.EncodeToString(signature)}, sendGridTimestamp: {seconds(at)}}, []byte(body)
		},
		refused: 401, stale: 403, retries: sendGridRetries,
		planted: event(`"event":"bounce","type":"bounce","reason":"` + quoted + `"`),
		cases: []eventCase{
			{"delivered", event(`"event":"delivered","response":"250 OK"`), ided(told(mail.StatusDelivered, "250 OK"), "", "ev1")},
			{"deferred", event(`"event":"deferred","response":"451 later","attempt":"2"`), ided(told(mail.StatusDeferred, "451 later"), "", "ev1")},
			{"bounce", event(`"event":"bounce","type":"bounce","status":"5.1.1","reason":"550 no such user"`), ided(told(mail.StatusBounced, "5.1.1: 550 no such user"), "", "ev1")},
			{"bounce for the sender", event(`"event":"bounce","type":"bounce","status":"5.7.26","reason":"550 5.7.26 blocked because the sender is unauthenticated"`),
				ours(ided(told(mail.StatusBounced, "5.7.26: 550 5.7.26 blocked because the sender is unauthenticated"), "", "ev1"))},
			{"blocked", event(`"event":"bounce","type":"blocked","status":5.2,"reason":"mailbox full"`), softly(ided(told(mail.StatusBounced, "5.2: mailbox full"), "", "ev1"))},
			{"blocked by the network", event(`"event":"bounce","type":"blocked","reason":"error dialing remote address: dial tcp 192.0.2.9:25: i/o timeout"`),
				ours(ided(told(mail.StatusBounced, "error dialing remote address: dial tcp 192.0.2.9:25: i/o timeout"), "", "ev1"))},
			{"blocked by a name server", event(`"event":"bounce","type":"blocked","reason":"unable to get mx info: failed to get IPs from PTR record"`),
				ours(ided(told(mail.StatusBounced, "unable to get mx info: failed to get IPs from PTR record"), "", "ev1"))},
			{"dropped for the recipient", event(`"event":"dropped","reason":"Bounced Address"`), ided(told(mail.StatusSuppressed, "Bounced Address"), "", "ev1")},
			{"dropped", event(`"event":"dropped","reason":"Spam Content"`), ided(told(mail.StatusFailed, "Spam Content"), "", "ev1")},
			{"dropped for its header", event(`"event":"dropped","reason":"Invalid SMTPAPI header"`), ided(told(mail.StatusFailed, "Invalid SMTPAPI header"), "", "ev1")},
			{"dropped as invalid", event(`"event":"dropped","reason":"Invalid"`), ided(told(mail.StatusSuppressed, "Invalid"), "", "ev1")},
			{"complaint", event(`"event":"spamreport"`), ided(told(mail.StatusComplained, ""), "", "ev1")},
			{"odd types", event(`"event":"delivered","response":{"a":1},"status":null,"tls":[]`), ided(told(mail.StatusDelivered, ""), "", "ev1")},
			{"one that cannot be read beside others", `[1,{"event":"delivered","timestamp":` + seconds(eventNow.Add(-time.Second)) + `,"sg_event_id":"ev1","relay_id":"` + eventMail + `"}]`,
				ided(told(mail.StatusDelivered, ""), "", "ev1")},
			{"processed", event(`"event":"processed"`), mail.Report{}},
			{"opened", event(`"event":"open"`), mail.Report{}},
			{"none", `[]`, mail.Report{}},
		},
	}
}

func sendGridVerifiedBy(key string) Settings {
	s := newSendGridSettings()
	s.APIKey, s.EventPublicKey = settings.NewSecret("SG.key"), settings.NewSecret(key)
	return s
}

// The example of SendGrid's own libraries (sendgrid-go, sendgrid-nodejs and others):
// https://github.com/sendgrid/sendgrid-nodejs/blob/main/packages/eventwebhook/src/eventwebhook.spec.js
func TestSendGridsOwnEvent(t *testing.T) {
	p, err := sendGridVerifiedBy("MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g==").Open()
	if err != nil {
		t.Fatal(err)
	}
	header := http.Header{
		sendGridSignature: {"MEUCIGHQVtGj+Y3LkG9fLcxf3qfI10QysgDWmMOVmxG0u6ZUAiEAyBiXDWzM+uOe5W0JuG+luQAbPIqHh89M15TluLtEZtM="},
		sendGridTimestamp: {"1600112502"},
	}
	body := `[{"email":"hello@world.com","event":"dropped","reason":"Bounced Address","sg_event_id":"ZHJvcC0xMDk5NDkxOS1MUnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA",` +
		`"sg_message_id":"LRzXl_NHStOGhQ4kofSm_A.filterdrecv-p3mdw1-756b745b58-kmzbl-18-5F5FC76C-9.0",` +
		`"smtp-id":"<LRzXl_NHStOGhQ4kofSm_A@ismtpd0039p1iad1.sendgrid.net>","timestamp":1600112492}]`
	got, err := p.(EventReceiver).Events(t.Context(), header, []byte(body+"\r\n"), time.Unix(1600112510, 0))
	if err != nil || len(got) != 1 || got[0].Status != mail.StatusSuppressed || got[0].Time.Unix() != 1600112492 {
		t.Fatalf("%+v, %v", got, err)
	}
	if _, err := p.(EventReceiver).Events(t.Context(), header, []byte(body), time.Unix(1600112510, 0)); err == nil {
		t.Error("without its line end it is another body")
	}
}

func TestSendGridsKey(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, _ := x509.MarshalPKIXPublicKey(&rsaKey.PublicKey)
	for _, key := range []string{"x", "MFkw", base64.StdEncoding.EncodeToString(der)} {
		s := sendGridVerifiedBy(key)
		if problems := s.(settings.Checker).Check(); len(problems) != 1 || problems[0].Key != "eventPublicKey" {
			t.Errorf("%.10s: %v", key, problems)
		}
		if _, err := s.Open(); err == nil {
			t.Errorf("%.10s: opens", key)
		}
	}
}

func TestTooManyEvents(t *testing.T) {
	f := sendGridEvents(t)
	p := f.opened(t, f.settings())
	header, body := f.sign("["+strings.Repeat("{},", maxEvents)+"{}]", eventNow)
	f.refuses(t, p, header, body, http.StatusRequestEntityTooLarge)
	header, body = f.sign("["+strings.Repeat("{},", maxEvents-1)+"{}]", eventNow)
	if _, err := p.Events(t.Context(), header, body, eventNow); err != nil {
		t.Errorf("as many as may be: %v", err)
	}
	header, body = f.sign("no JSON", eventNow)
	f.refuses(t, p, header, body, http.StatusBadRequest)
	header, body = f.sign("[1, 2]", eventNow)
	f.refuses(t, p, header, body, http.StatusBadRequest)
}

// Mailgun.

const mailgunEventKey = "key-5tGhK2mQxZwVnT7pLrYcB3"

func mailgunEvents(testing.TB) eventFixture {
	event := func(rest string) string {
		return `{"id":"e1","timestamp":` + seconds(eventNow.Add(-time.Second)) + `.5,"recipient":"` + plantedAddress + `",` +
			`"message":{"headers":{"message-id":"20261121.1.ABC@mg.acme.example","subject":"` + plantedCode + `"}},"user-variables":{"relay_id":"` + eventMail + `"},` + rest + `}`
	}
	want := func(r mail.Report) mail.Report {
		r = ided(r, "<20261121.1.ABC@mg.acme.example>", "")
		r.Time = eventNow.Add(-500 * time.Millisecond)
		return r
	}
	return eventFixture{
		settings: func() Settings { return mailgunVerifiedBy(mailgunEventKey) },
		sign: func(event string, at time.Time) (http.Header, []byte) {
			return nil2(mailgunCall(mailgunEventKey, "", event, at))
		},
		refused: 401, stale: 406, retries: mailgunRetries,
		planted: event(`"event":"failed","severity":"permanent","reason":"bounce","delivery-status":{"code":550,"message":"` + quoted + `"}`),
		cases: []eventCase{
			{"delivered", event(`"event":"delivered","delivery-status":{"code":250,"message":"OK","mx-host":"mx1.example.com"}`), want(told(mail.StatusDelivered, "250: OK: mx1.example.com"))},
			{"deferred", event(`"event":"failed","severity":"temporary","reason":"greylisted","delivery-status":{"code":450}`), want(told(mail.StatusDeferred, "450: greylisted"))},
			{"bounce", event(`"event":"failed","severity":"permanent","reason":"bounce","delivery-status":{"code":550,"description":"No such user"}`), want(told(mail.StatusBounced, "550: bounce: No such user"))},
			{"bounce for the sender", event(`"event":"failed","severity":"permanent","reason":"generic","delivery-status":{"code":550,"message":"Sender verify failed"}`),
				ours(want(told(mail.StatusBounced, "550: generic: Sender verify failed")))},
			{"the sender is nobody", event(`"event":"failed","severity":"permanent","reason":"bounce","delivery-status":{"code":550,"message":"5.1.1 <no-reply@acme.example>: user unknown"}`), ours(want(told(mail.StatusBounced, "550: bounce: 5.1.1 <[address]>: user unknown")))},
			{"the sender is nobody, and whom to ask", event(`"event":"failed","severity":"permanent","reason":"bounce","delivery-status":{"code":550,"message":"5.1.1 ask postmaster@example.org: <no-reply@acme.example> is an unknown user"}`),
				ours(want(told(mail.StatusBounced, "550: bounce: 5.1.1 ask [address]: <[address]> is an unknown user")))},
			{"a quota of ours", event(`"event":"failed","severity":"permanent","reason":"bounce","delivery-status":{"code":552,"message":"5.2.2 user relay is over its sending quota"}`),
				ours(want(told(mail.StatusBounced, "552: bounce: 5.2.2 user relay is over its sending quota")))},
			{"the sender's domain", event(`"event":"failed","severity":"permanent","reason":"bounce","delivery-status":{"code":550,"message":"Sender domain has no MX"}`), ours(want(told(mail.StatusBounced, "550: bounce: Sender domain has no MX")))},
			{"our account", event(`"event":"failed","severity":"permanent","reason":"bounce","delivery-status":{"code":550,"message":"Your account is suspended"}`), ours(want(told(mail.StatusBounced, "550: bounce: Your account is suspended")))},
			{"away", event(`"event":"failed","severity":"permanent","reason":"bounce","delivery-status":{"code":450,"message":"Mailbox unavailable"}`), softly(want(told(mail.StatusBounced, "450: bounce: Mailbox unavailable")))},
			{"blocked by the service", event(`"event":"failed","severity":"permanent","reason":"espblock","delivery-status":{"code":550,"message":"No such user"}`), ours(want(told(mail.StatusBounced, "550: espblock: No such user")))},
			{"blocked by the service for now", event(`"event":"failed","severity":"temporary","reason":"espblock","delivery-status":{"code":450}`), want(told(mail.StatusDeferred, "450: espblock"))},
			{"given up, greylisted", event(`"event":"failed","severity":"permanent","reason":"greylisted"`), ours(want(told(mail.StatusBounced, "greylisted")))},
			{"full mailbox", event(`"event":"failed","severity":"permanent","reason":"bounce","delivery-status":{"code":550,"message":"5.2.2 mailbox full"}`), softly(want(told(mail.StatusBounced, "550: bounce: 5.2.2 mailbox full")))},
			{"full mailbox without a code", event(`"event":"failed","severity":"permanent","reason":"bounce","delivery-status":{"code":550,"message":"The mailbox is full"}`), softly(want(told(mail.StatusBounced, "550: bounce: The mailbox is full")))},
			{"full for now, given up", event(`"event":"failed","severity":"permanent","reason":"bounce","delivery-status":{"code":550,"message":"4.2.2 over quota"}`), softly(want(told(mail.StatusBounced, "550: bounce: 4.2.2 over quota")))},
			{"policy", event(`"event":"failed","severity":"permanent","reason":"bounce","delivery-status":{"code":550,"message":"5.7.1 rejected by policy"}`), ours(want(told(mail.StatusBounced, "550: bounce: 5.7.1 rejected by policy")))},
			{"server's trouble", event(`"event":"failed","severity":"permanent","reason":"bounce","delivery-status":{"code":550,"message":"5.3.2 System not accepting messages"}`), ours(want(told(mail.StatusBounced, "550: bounce: 5.3.2 System not accepting messages")))},
			{"given up on the way", event(`"event":"failed","severity":"permanent","reason":"bounce","delivery-status":{"code":550,"message":"5.4.7 Delivery expired"}`), ours(want(told(mail.StatusBounced, "550: bounce: 5.4.7 Delivery expired")))},
			{"too much for its reader", event(`"event":"failed","severity":"permanent","reason":"bounce","delivery-status":{"code":550,"message":"5.2.121 Recipient limit"}`), softly(want(told(mail.StatusBounced, "550: bounce: 5.2.121 Recipient limit")))},
			{"nobody, by policy", event(`"event":"failed","severity":"permanent","reason":"bounce","delivery-status":{"code":550,"message":"5.7.1 No such user"}`), want(told(mail.StatusBounced, "550: bounce: 5.7.1 No such user"))},
			{"nobody, by Sendmail", event(`"event":"failed","severity":"permanent","reason":"bounce","delivery-status":{"code":550,"message":"5.3.0 User unknown"}`), want(told(mail.StatusBounced, "550: bounce: 5.3.0 User unknown"))},
			{"account closed", event(`"event":"failed","severity":"permanent","reason":"bounce","delivery-status":{"code":550,"message":"5.2.1 account disabled"}`), want(told(mail.StatusBounced, "550: bounce: 5.2.1 account disabled"))},
			{"nobody, at an address", event(`"event":"failed","severity":"permanent","reason":"bounce","delivery-status":{"code":550,"message":"[10.4.2.2] no such user"}`), want(told(mail.StatusBounced, "550: bounce: [10.4.2.2] no such user"))},
			{"nobody, behind a filter", event(`"event":"failed","severity":"permanent","reason":"bounce","delivery-status":{"code":550,"message":"No such user here","mx-host":"mx.spamexperts.com"}`), want(told(mail.StatusBounced, "550: bounce: No such user here"))},
			{"no mail server", event(`"event":"failed","severity":"permanent","reason":"generic","delivery-status":{"code":498,"message":"No MX for example.org"}`), want(told(mail.StatusBounced, "498: generic: No MX for example.org"))},
			{"full disk", event(`"event":"failed","severity":"permanent","reason":"bounce","delivery-status":{"code":550,"message":"Disk quota exceeded"}`), softly(want(told(mail.StatusBounced, "550: bounce: Disk quota exceeded")))},
			{"limit of a mailbox", event(`"event":"failed","severity":"permanent","reason":"bounce","delivery-status":{"code":550,"message":"Mailbox size limit exceeded"}`), softly(want(told(mail.StatusBounced, "550: bounce: Mailbox size limit exceeded")))},
			{"silence", event(`"event":"failed","severity":"permanent","reason":"bounce","delivery-status":{"code":550,"message":"connection timed out"}`), ours(want(told(mail.StatusBounced, "550: bounce: connection timed out")))},
			{"blocked", event(`"event":"failed","severity":"permanent","reason":"bounce","delivery-status":{"code":550,"message":"Blocked by the server"}`), ours(want(told(mail.StatusBounced, "550: bounce: Blocked by the server")))},
			{"nobody was reached", event(`"event":"failed","severity":"permanent","reason":"generic","delivery-status":{"code":612,"message":"Unable to connect to MX servers"}`),
				ours(want(told(mail.StatusBounced, "612: generic: Unable to connect to MX servers")))},
			{"given up", event(`"event":"failed","severity":"permanent","reason":"old"`), ours(want(told(mail.StatusBounced, "old")))},
			{"suppressed", event(`"event":"failed","severity":"permanent","reason":"suppress-bounce","delivery-status":{"code":605}`), want(told(mail.StatusSuppressed, "605: suppress-bounce"))},
			{"suppressed by its code", event(`"event":"failed","severity":"permanent","delivery-status":{"code":607}`), want(told(mail.StatusSuppressed, "607"))},
			{"rejected", event(`"event":"rejected","reject":{"reason":"Sandbox subdomains are for test purposes only."}`), want(told(mail.StatusFailed, "Sandbox subdomains are for test purposes only."))},
			{"complaint", event(`"event":"complained"`), want(told(mail.StatusComplained, ""))},
			{"accepted", event(`"event":"accepted"`), mail.Report{}},
			{"clicked", event(`"event":"clicked"`), mail.Report{}},
		},
	}
}

func nil2(body []byte) (http.Header, []byte) { return http.Header{}, body }

// mailgunCall signs an event, with a token that is its own. parent is the key of the
// account above, empty for none.
func mailgunCall(key, parent, event string, at time.Time) []byte {
	token := hex.EncodeToString(hmacOf(nil, event, seconds(at)))
	signature := `"timestamp":"` + seconds(at) + `","token":"` + token + `","signature":"` + hex.EncodeToString(hmacOf([]byte(key), seconds(at), token)) + `"`
	if parent != "" {
		signature += `,"parent-signature":"` + hex.EncodeToString(hmacOf([]byte(parent), seconds(at), token)) + `"`
	}
	return []byte(`{"signature":{` + signature + `},"event-data":` + event + `}`)
}

func mailgunVerifiedBy(key string) Settings {
	s := newMailgunSettings()
	s.Domain, s.APIKey, s.EventSigningKey = "mg.acme.example", settings.NewSecret("key-1"), settings.NewSecret(key)
	return s
}

// Signatures out of real calls, with the key that they were made with:
// https://github.com/symfony/symfony/tree/7.3/src/Symfony/Component/Mailer/Bridge/Mailgun/Tests/Webhook
func TestMailgunsOwnEvents(t *testing.T) {
	p, err := mailgunVerifiedBy("key-0p6mqbf74lb20gzq9f4dhpn9rg3zyk26").Open()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		timestamp, token, signature, event string
		want                               mail.Status
	}{
		{"1661590666", "fff0ebc59c0516f4ce0823212a2f45e5c67814420b99fe558b", "a0cd251821d8fd56a2130b541becc8e441023574e602fe9829a9ab9fbfdea33f",
			`{"event":"failed","severity":"permanent","reason":"bounce","id":"G9Bn5sl1TC6nu79C8C0bwg","timestamp":1521233195.375624,` +
				`"delivery-status":{"attempt-no":1,"message":"No Such User Here","code":550,"enhanced-code":"","description":"","session-seconds":0}}`, mail.StatusBounced},
		{"1661621787", "d1931d9645b65e60f6fddf94448e982ff8db9256144a7fcb15", "1aed11dcc25700d6b75f9a6d568343ea02ecdd3fc89cc3209e2883a19e5cdd50",
			`{"event":"delivered","id":"CPgfbmQMTCKtHW6uIWtuVe","timestamp":1521472262.000002}`, mail.StatusDelivered},
		{"1661621468", "335da63647194414fe8bbb7c67b3b0585e426bcd10b258dcf4", "e3c1ce2c6c7a678823e610537eeef59426df9b1b8ed4a49a91e144e71aa64fa9",
			`{"event":"complained","id":"-Agny091SquKnsrW2NEKUA","timestamp":1521233123.501324}`, mail.StatusComplained},
	} {
		body := `{"signature":{"token":"` + c.token + `","timestamp":"` + c.timestamp + `","signature":"` + c.signature + `"},"event-data":` + c.event + `}`
		at, _ := strconv.ParseInt(c.timestamp, 10, 64)
		got, err := p.(EventReceiver).Events(t.Context(), nil, []byte(body), time.Unix(at, 0).Add(time.Minute))
		if err != nil || len(got) != 1 || got[0].Status != c.want || got[0].Key != c.token {
			t.Errorf("%s: %+v, %v", c.want, got, err)
		}
	}
}

// The signature is not of the body, so that somebody who copied a call could tell
// another story with it.
func TestMailgunReplay(t *testing.T) {
	f := mailgunEvents(t)
	p := f.opened(t, f.settings())
	good := mailgunCall(mailgunEventKey, "", f.cases[0].event, eventNow)
	bad := strings.Replace(string(good), `"event":"delivered"`, `"event":"complained"`, 1)
	for range 2 {
		if got, err := p.Events(t.Context(), nil, good, eventNow); err != nil || len(got) != 1 {
			t.Fatalf("%v, %v", got, err)
		}
		f.refuses(t, p, nil, []byte(bad), http.StatusNotAcceptable)
	}
	// Other tokens push it out of the memory in the end, which is bounded.
	memory := &p.(*mailGun).tokens
	for i := range 3 * maxTokens {
		memory.goesWith(strconv.Itoa(i), nil)
		if last := max(0, i-maxTokens/2); memory.goesWith(strconv.Itoa(last), []byte("another")) {
			t.Fatalf("of %d tokens, number %d is forgotten", i, last)
		}
	}
	if known := len(memory.now) + len(memory.earlier); known > 2*maxTokens {
		t.Errorf("%d tokens are kept", known)
	}
}

func TestMailgunSubaccount(t *testing.T) {
	f := mailgunEvents(t)
	p := f.opened(t, f.settings())
	if got, err := p.Events(t.Context(), nil, mailgunCall("key-of-the-subaccount", mailgunEventKey, f.cases[0].event, eventNow), eventNow); err != nil || len(got) != 1 {
		t.Errorf("by the parent: %v, %v", got, err)
	}
	f.refuses(t, p, nil, mailgunCall("key-of-the-subaccount", "key-of-another", f.cases[1].event, eventNow), http.StatusUnauthorized)
}

// Amazon SES.

const sesTopic = "arn:aws:sns:eu-west-1:111122223333:mail-events"

// snsServer plays the hosts of SNS: those that the provider asks are all it.
type snsServer struct {
	key     *rsa.PrivateKey
	version string
	host    string
	server  *httptest.Server
	asked   atomic.Int32
	mu      sync.Mutex
	paths   []string
	// answers are the bodies by path; the others are 404.
	answers map[string]string
}

func startSNS(t testing.TB) *snsServer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	s := &snsServer{key: key, version: "1", host: "sns.eu-west-1.amazonaws.com", answers: make(map[string]string)}
	s.answers["/"+snsCertificate] = selfSigned(t, key, eventNow.Add(-time.Hour), eventNow.Add(24*time.Hour))
	s.server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.paths = append(s.paths, r.Host+r.URL.RequestURI())
		answer, found := s.answers[r.URL.Path]
		if !found {
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = w.Write([]byte(answer))
	}))
	t.Cleanup(s.server.Close)
	return s
}

const snsCertificate = "SimpleNotificationService-0123456789abcdef.pem"

func selfSigned(t testing.TB, key crypto.Signer, from, until time.Time) string {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "sns.amazonaws.com"}, NotBefore: from, NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func sesOf(topic string) *sesSettings {
	s := newSESSettings()
	s.Region, s.AccessKeyID, s.AccessKeySecret, s.EventTopicARN = "eu-west-1", "AKIA1", settings.NewSecret("secret"), topic
	return s
}

// open makes a provider whose connections all lead to the server.
func (s *snsServer) open(t testing.TB, settings Settings) Provider {
	t.Helper()
	p, err := settings.Open()
	if err != nil {
		t.Fatal(err)
	}
	base := p.(*ses).base
	base.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} // for the hosts whose names it bears
	base.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, s.server.Listener.Addr().String())
	}
	return p
}

func (s *snsServer) sign(m snsMessage) []byte {
	m.SignatureVersion, m.SigningCertURL = s.version, "https://"+s.host+"/"+snsCertificate
	text := m.signed()
	hash, sum := crypto.SHA1, sha1Of(text)
	if s.version == "2" {
		all := sha256.Sum256([]byte(text))
		hash, sum = crypto.SHA256, all[:]
	}
	signature, _ := rsa.SignPKCS1v15(rand.Reader, s.key, hash, sum)
	m.Signature = base64.StdEncoding.EncodeToString(signature)
	body, _ := json.Marshal(m)
	return body
}

func sha1Of(text string) []byte {
	sum := sha1.Sum([]byte(text))
	return sum[:]
}

func notification(event string, at time.Time) snsMessage {
	return snsMessage{Type: "Notification", MessageID: "m1", TopicARN: sesTopic, Message: event, Timestamp: at.Format("2006-01-02T15:04:05.000Z")}
}

func sesEvents(t testing.TB) eventFixture {
	server := startSNS(t)
	event := func(rest string) string {
		return `{"mail":{"messageId":"0100-1","destination":["` + plantedAddress + `"],"commonHeaders":{"subject":"` + plantedCode + `"},` +
			`"tags":{"relay_id":["` + eventMail + `"],"ses:source-ip":["192.0.2.10"]}},` + rest + `}`
	}
	want := func(status mail.Status, detail string) mail.Report { return ided(told(status, detail), "0100-1", "m1") }
	const at = `"timestamp":"2026-11-26T11:59:59.000Z"`
	return eventFixture{
		settings: func() Settings { return sesOf(sesTopic) },
		open:     server.open,
		sign: func(event string, at time.Time) (http.Header, []byte) {
			return http.Header{}, server.sign(notification(event, at))
		},
		refused: 403, stale: 403, retries: snsRetries,
		planted: event(`"eventType":"Bounce","bounce":{"bounceType":"Permanent","bounceSubType":"General","bouncedRecipients":[{"emailAddress":"` + plantedAddress + `","diagnosticCode":"` + quoted + `"}],` + at + `}`),
		cases: []eventCase{
			{"delivered", event(`"eventType":"Delivery","delivery":{"smtpResponse":"250 ok",` + at + `}`), want(mail.StatusDelivered, "250 ok")},
			{"deferred", event(`"eventType":"DeliveryDelay","deliveryDelay":{"delayType":"MailboxFull","delayedRecipients":[{"status":"4.2.2","diagnosticCode":"smtp; full"}],` + at + `}`), want(mail.StatusDeferred, "MailboxFull: 4.2.2: smtp; full")},
			{"bounce", event(`"eventType":"Bounce","bounce":{"bounceType":"Permanent","bounceSubType":"General","bouncedRecipients":[{"status":"5.1.1","diagnosticCode":"smtp; 550 5.1.1 user unknown"}],"feedbackId":"f1",` + at + `}`),
				want(mail.StatusBounced, "PermanentGeneral: 5.1.1: smtp; 550 5.1.1 user unknown")},
			{"away", event(`"eventType":"Bounce","bounce":{"bounceType":"Transient","bounceSubType":"General",` + at + `}`), ours(want(mail.StatusBounced, "TransientGeneral"))},
			{"soft bounce", event(`"eventType":"Bounce","bounce":{"bounceType":"Transient","bounceSubType":"MailboxFull",` + at + `}`), softly(want(mail.StatusBounced, "TransientMailboxFull"))},
			{"full with unknown words", event(`"eventType":"Bounce","bounce":{"bounceType":"Transient","bounceSubType":"MailboxFull","bouncedRecipients":[{"emailAddress":"` + plantedAddress + `","status":"5.5.0","diagnosticCode":"smtp; 552 no more room for ada"}],` + at + `}`),
				about(softly(want(mail.StatusBounced, "TransientMailboxFull: 5.5.0: smtp; 552 no more room for ada")), plantedAddress)},
			{"full, by its words", event(`"eventType":"Bounce","bounce":{"bounceType":"Transient","bounceSubType":"General","bouncedRecipients":[{"diagnosticCode":"smtp; 452 4.2.2 mailbox full"}],` + at + `}`),
				softly(want(mail.StatusBounced, "TransientGeneral: smtp; 452 4.2.2 mailbox full"))},
			{"nobody knows", event(`"eventType":"Bounce","bounce":{"bounceType":"Undetermined","bounceSubType":"Undetermined",` + at + `}`), ours(want(mail.StatusBounced, "UndeterminedUndetermined"))},
			{"suppressed", event(`"eventType":"Bounce","bounce":{"bounceType":"Permanent","bounceSubType":"OnAccountSuppressionList",` + at + `}`), want(mail.StatusSuppressed, "PermanentOnAccountSuppressionList")},
			{"complaint", event(`"eventType":"Complaint","complaint":{"complaintFeedbackType":"abuse","complaintSubType":null,` + at + `}`), want(mail.StatusComplained, "abuse")},
			{"no word of the reader", event(`"eventType":"Complaint","complaint":{"complaintFeedbackType":"auth-failure",` + at + `}`), mail.Report{}},
			{"time is over", event(`"eventType":"Bounce","bounce":{"bounceType":"Transient","bounceSubType":"CustomTimeoutExceeded",` + at + `}`), ours(want(mail.StatusBounced, "TransientCustomTimeoutExceeded"))},
			{"greylisted to the end", event(`"eventType":"Bounce","bounce":{"bounceType":"Transient","bounceSubType":"General","bouncedRecipients":[{"emailAddress":"` + plantedAddress + `","diagnosticCode":"smtp; 450 4.7.1 Greylisted, come back later"}],` + at + `}`),
				about(ours(want(mail.StatusBounced, "TransientGeneral: smtp; 450 4.7.1 Greylisted, come back later")), plantedAddress)},
			// The address is the report's, which may be where the reader has mails forwarded to.
			{"forwarded", event(`"eventType":"Bounce","bounce":{"bounceType":"Permanent","bounceSubType":"General","bouncedRecipients":[{"emailAddress":"rfc822; <ada@home.example>","diagnosticCode":"smtp; 550 5.1.1 user unknown"}],` + at + `}`),
				about(want(mail.StatusBounced, "PermanentGeneral: smtp; 550 5.1.1 user unknown"), "ada@home.example")},
			{"deferred, in words", `{"eventType":"DeliveryDelay","mail":{"messageId":"0100-1","destination":["ada.lovelace@example.org"],"tags":{"relay_id":["` + eventMail + `"]}},` +
				`"deliveryDelay":{"delayType":"MailboxFull","delayedRecipients":[{"emailAddress":"ada.home@home.example","diagnosticCode":"smtp; 452 4.2.2 The accounts ada.lovelace and ada.home are over quota"}],` + at + `}}`,
				want(mail.StatusDeferred, "MailboxFull: smtp; 452 4.2.2 The accounts [address] and [address] are over quota")},
			{"no spam after all", event(`"eventType":"Complaint","complaint":{"complaintFeedbackType":"not-spam",` + at + `}`), mail.Report{}},
			{"complaint that was not sent", event(`"eventType":"Complaint","complaint":{"complaintSubType":"OnAccountSuppressionList",` + at + `}`), want(mail.StatusSuppressed, "OnAccountSuppressionList")},
			{"rejected", event(`"eventType":"Reject","reject":{"reason":"Bad content"}`), want(mail.StatusFailed, "Bad content")},
			{"rendering", event(`"eventType":"Rendering Failure","failure":{"errorMessage":"Attribute name is not present"}`), want(mail.StatusFailed, "Attribute name is not present")},
			{"of an identity, without tags", `{"notificationType":"Delivery","mail":{"messageId":"0100-1"},"delivery":{` + at + `}}`,
				mail.Report{ProviderID: "0100-1", Key: "m1", Event: mail.Event{Time: eventNow.Add(-time.Second), Status: mail.StatusDelivered}}},
			{"sent", event(`"eventType":"Send","send":{}`), mail.Report{}},
			{"the first of a topic", "Successfully validated SNS topic for Amazon SES event publishing.", mail.Report{}},
		},
	}
}

// Messages that Amazon SNS signed, and the certificate of that time, out of the tests
// of the AWS SDK for Java:
// https://github.com/aws/aws-sdk-java-v2/tree/master/services-custom/sns-message-manager/src/test/resources
func TestSNSOwnMessages(t *testing.T) {
	const (
		topic       = "arn:aws:sns:us-west-2:131990247566:dongie-standard-topic"
		host        = "https://sns.us-west-2.amazonaws.com/"
		certificate = "SimpleNotificationService-7506a1e35b36ef5a444dd1a8e7cc3ed8.pem"
		token       = "2336412f37fb687f5d51e6e2425929f52e8e353134fe72d55ef8b330217d82da14007cbccefffd35b695feb8f0294d01fd9644f41e1ddfad261519a2c0bac743ff375eeb64530147d2da57f3acc54739da14c8dbd48a9d58ce996eff0d498ea6b4b9f58720d8959b52b99b8de148081720d7da17434e376614a00c992e7823e4"
	)
	text, err := os.ReadFile("testdata/sns/" + certificate)
	if err != nil {
		t.Fatal(err)
	}
	server := startSNS(t)
	server.answers["/"+certificate], server.answers["/"] = string(text), "<ConfirmSubscriptionResponse/>"
	p := server.open(t, sesOf(topic)).(*ses)
	subject := "My message subject"
	for name, m := range map[string]snsMessage{
		"version 1": {Type: "Notification", MessageID: "c0e5a280-53c9-5a98-93bb-c0a560b3d192", Message: "This notification has no subject.",
			Timestamp: "2026-03-06T19:55:38.903Z", SignatureVersion: "1",
			Signature: "h5/2kLNyPKvMH+ipOA1kueaA1GLFlcKbO/9o6GbH7BtKk/8lM8krPFDrV+Lwuq8yZDXTxeSXHR8pG1w9MkKQ3VlsHhMigy+5ejIsb+ZfpkDDO6dOACbkTg1twy9tLeKCyPfU01OokKTR6jlKJGCgXXDQm5Q1Fs4NfUz22xGqteycG1GIioqq2Hvd1PLsDkcoyUAhciugGFcZKIGjUbBtdhMTPFX1ed8iH+Y/p6o/eD0G2i614oRSXYRJyV2iNpl54LCCiCrAafAJAM5NXAJJq9CWyTjxHFC18FnPqSukW1/6Qa502oujhPJ/pyl+6mMBoF6LjnpbIyR8/Gmm+RY6fg=="},
		"version 1 with a subject": {Type: "Notification", MessageID: "26858270-545e-5848-82a2-e05566af3dcf", Subject: &subject, Message: "Hello! This message has a subject.",
			Timestamp: "2026-03-06T19:53:21.424Z", SignatureVersion: "1",
			Signature: "jvNSgHVOF9KUOKI3bmQZhURD0kDN6txhfjiyuvnV95Dw6b2SRa7nq3AhM8agP0KUCIrRgKHqUlN6K2XBA35Lzkx1eI5RT0oXIN00pvvzGxSz0ddnuSGmDJM7bd/b1vl2RlLjz+KvkhzEtspxLnxjLsGl2EpOmztt+um7owb4475sOLdGTx1QiFV/8HqB2J0DyjeWdRZvu7Xpsf1Yd2rgmijFoz8x89Vw8pIksjczr4q16pxdh/XKWjbN2uPoC+3EeYdljL8KUvLYH9ueHSs5E9qq2iLdze4+FtANnE73XRvvSGE0KI+FGOvz1igest6qon3g1/CVy4mq3n19TsCSmA=="},
		"version 2": {Type: "Notification", MessageID: "9d2c5580-b61d-550c-8583-37a582870907", Message: "This message uses signature version 2.",
			Timestamp: "2026-03-06T20:00:26.893Z", SignatureVersion: "2",
			Signature: "kGNJ7FIM5DJxRv9bdoSJBty2WHpADFWrJ0ZQU/A2sALy6tBE5hqfUvPRlklTJ+PACFMguoFOO7W6ac/Bs4gR+JBRFhx4598X8/HWzrmaLrtB2f7nzViHbpzYN+u+OewXhxjj2lNsu0bLKv6fogkACytDIOhjZylbfJoPphDYAB7T3Ila7u+K3m2wLHH4k1cPYKyBf5FI/kAoQAVsY6qFHeb6CWfHsdM98I2gwyEvwJSzW0iyYBfqckmthQwH3Ex53jrhQlZylXFDYmstSJAdvbLeGqIUxKyk+O25wYgBjbbbeR+2qE2UCGEQrk1Bq018wmTxdHZmDhoBjJXiGmFkfg=="},
		"subscription": {Type: "SubscriptionConfirmation", MessageID: "f3f2fc87-c426-4c2f-9044-b55890c0939c", Token: token,
			Message:      "You have chosen to subscribe to the topic " + topic + ".\nTo confirm the subscription, visit the SubscribeURL included in this message.",
			SubscribeURL: host + "?Action=ConfirmSubscription&TopicArn=" + topic + "&Token=" + token,
			Timestamp:    "2026-03-06T19:31:32.895Z", SignatureVersion: "1",
			Signature: "Ce2Ax8UbEq0RrVH7gsjP9WZ9bzif7dUkAY4OH99Pv7FSrvs8cK+uiH3a6ig54rXWUnZRUejk8K6KeK5Q80O9iJp8KbPRKdQ0PkJ3YASdabhfK0e7evC05YR2pFoS6nNaqNzT7HrR1d1Z9iLoFxluo2Dzb7kWVB7e9jp/y+ZBXRzRIaZgscM84kahBc6QgXOFJA1/PFA4cB5qaa6tBcUFtTE63o9vJ4wMmKk93W9MoszC+dNJeVFr8VHmt3toR+3JauBCZnGdgXgsDhni4PduSfWJJxEpuOK41iYf1hW+xFNFFsv46siTFiHdHiYDfI7/VlaY4spMgkq3EndRr7rHzQ=="},
	} {
		m.TopicARN, m.SigningCertURL = topic, host+certificate
		now := time.Date(2026, 3, 6, 20, 10, 0, 0, time.UTC)
		body, _ := json.Marshal(m)
		if _, err := p.Events(t.Context(), nil, body, now); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		m.Message += " "
		body, _ = json.Marshal(m)
		if _, err := p.Events(t.Context(), nil, body, now); err == nil {
			t.Errorf("%s: taken with another message", name)
		}
	}
	confirmed := 0
	for _, path := range server.paths {
		if strings.Contains(path, "ConfirmSubscription") {
			confirmed++
		}
	}
	if fetched := len(server.paths) - confirmed; fetched != 1 || confirmed != 1 {
		t.Errorf("asked for %q", server.paths)
	}
}

func TestSNSIsRefused(t *testing.T) {
	server := startSNS(t)
	f := sesEvents(t)
	event := f.cases[0].event
	change := func(change func(*snsMessage)) []byte {
		m := notification(event, eventNow)
		change(&m)
		return server.sign(m)
	}
	rewrite := func(old, new string) []byte {
		return []byte(strings.Replace(string(server.sign(notification(event, eventNow))), old, new, 1))
	}
	for name, body := range map[string][]byte{
		"another topic":               change(func(m *snsMessage) { m.TopicARN += "2" }),
		"another topic, signed as it": rewrite(sesTopic, sesTopic+"2"),
		"unknown version":             rewrite(`"SignatureVersion":"1"`, `"SignatureVersion":"3"`),
		"another version":             rewrite(`"SignatureVersion":"1"`, `"SignatureVersion":"2"`),
		"host of somebody":            rewrite("sns.eu-west-1.amazonaws.com", "sns.eu-west-1.amazonaws.com.evil.example"),
		"bucket of somebody":          rewrite("sns.eu-west-1.amazonaws.com", "sns.s3.eu-west-1.amazonaws.com"),
		// https://github.com/nathforge/validatesns/issues/6
		"bucket in a region":       rewrite("sns.eu-west-1.amazonaws.com", "sns.s3-eu-west-1.amazonaws.com"),
		"bucket of everywhere":     rewrite("sns.eu-west-1.amazonaws.com", "sns.s3.amazonaws.com"),
		"another region":           rewrite("sns.eu-west-1.amazonaws.com", "sns.eu-west-2.amazonaws.com"),
		"user before the host":     rewrite("https://sns", "https://me@sns"),
		"port":                     rewrite("amazonaws.com/", "amazonaws.com:8443/"),
		"without TLS":              rewrite("https://sns", "http://sns"),
		"another file":             rewrite(snsCertificate, "latest/meta-data"),
		"a query":                  rewrite(snsCertificate, snsCertificate+"?x=1"),
		"a fragment":               rewrite(snsCertificate, snsCertificate+"#1"),
		"a letter in another form": rewrite("Simple", "%53imple"),
		"changed":                  rewrite(`Delivery`, `Complaint`),
		"certificate nowhere":      rewrite("https://sns", "https://%zz"),
		"no JSON":                  []byte("Hello"),
		"no type":                  rewrite(`"Type":"Notification"`, `"Type":""`),
	} {
		t.Run(name, func(t *testing.T) {
			f.refuses(t, server.open(t, sesOf(sesTopic)).(EventReceiver), nil, body, http.StatusForbidden)
		})
	}
	f.refuses(t, server.open(t, sesOf("")).(EventReceiver), nil, change(func(m *snsMessage) { m.TopicARN = "" }), http.StatusForbidden)
	p := server.open(t, sesOf(sesTopic)).(EventReceiver)
	f.refuses(t, p, http.Header{"X-Amz-Sns-Rawdelivery": {"true"}}, []byte(event), http.StatusForbidden)

	for name, m := range map[string]snsMessage{
		"nowhere":          {SubscribeURL: "https://%zz/?Action=ConfirmSubscription&TopicArn=" + sesTopic},
		"no path":          {SubscribeURL: "https://sns.eu-west-1.amazonaws.com?Action=ConfirmSubscription&TopicArn=" + sesTopic},
		"bucket":           {SubscribeURL: "https://sns.s3-eu-west-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=" + sesTopic},
		"without TLS":      {SubscribeURL: "http://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=" + sesTopic},
		"host of somebody": {SubscribeURL: "https://evil.example/?Action=ConfirmSubscription&TopicArn=" + sesTopic},
		"another topic":    {SubscribeURL: "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=" + sesTopic + "2"},
		"another action":   {SubscribeURL: "https://sns.eu-west-1.amazonaws.com/?Action=Publish&TopicArn=" + sesTopic},
		"another path":     {SubscribeURL: "https://sns.eu-west-1.amazonaws.com/x?Action=ConfirmSubscription&TopicArn=" + sesTopic},
	} {
		t.Run("subscription at "+name, func(t *testing.T) {
			m.Type, m.MessageID, m.TopicARN, m.Token, m.Timestamp = "SubscriptionConfirmation", "m1", sesTopic, "t", eventNow.Format(time.RFC3339)
			asked := server.asked.Load()
			f.refuses(t, p, nil, server.sign(m), http.StatusForbidden)
			if server.asked.Load() > asked+1 { // for the certificate, at most
				t.Errorf("asked for %q", server.paths)
			}
		})
	}
}

func TestSNSCertificate(t *testing.T) {
	f := sesEvents(t)
	t.Run("is fetched once", func(t *testing.T) {
		server := startSNS(t)
		p := server.open(t, sesOf(sesTopic)).(EventReceiver)
		body := server.sign(notification(f.cases[0].event, eventNow))
		var calling sync.WaitGroup
		for range 20 {
			calling.Go(func() {
				if _, err := p.Events(t.Context(), nil, body, eventNow); err != nil {
					t.Error(err)
				}
			})
		}
		calling.Wait()
		if n := server.asked.Load(); n != 1 {
			t.Errorf("asked %d times", n)
		}
	})
	for host, topic := range map[string]string{
		"sns.cn-north-1.amazonaws.com.cn": "arn:aws-cn:sns:cn-north-1:111122223333:mail-events",
		"sns.eusc-de-east-1.amazonaws.eu": "arn:aws-eusc:sns:eusc-de-east-1:111122223333:mail-events",
		"sns.us-gov-west-1.amazonaws.com": "arn:aws-us-gov:sns:us-gov-west-1:111122223333:mail-events",
	} {
		t.Run(host, func(t *testing.T) {
			server := startSNS(t)
			server.host, server.version = host, "2"
			event := notification(f.cases[0].event, eventNow)
			event.TopicARN = topic
			if _, err := server.open(t, sesOf(topic)).(EventReceiver).Events(t.Context(), nil, server.sign(event), eventNow); err != nil {
				t.Error(err)
			}
		})
	}
	for name, c := range map[string]struct {
		certificate func(*snsServer) string
		status      int
	}{
		"is over": {func(s *snsServer) string {
			return selfSigned(t, s.key, eventNow.Add(-48*time.Hour), eventNow.Add(-time.Hour))
		}, 403},
		"is to come": {func(s *snsServer) string {
			return selfSigned(t, s.key, eventNow.Add(time.Hour), eventNow.Add(48*time.Hour))
		}, 403},
		"has a key of another kind": {func(*snsServer) string {
			key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			return selfSigned(t, key, eventNow.Add(-time.Hour), eventNow.Add(time.Hour))
		}, 403},
		"is not one":   {func(*snsServer) string { return "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" }, 503},
		"is not PEM":   {func(*snsServer) string { return "<html>" }, 503},
		"is not there": {nil, 503},
	} {
		t.Run(name, func(t *testing.T) {
			server := startSNS(t)
			delete(server.answers, "/"+snsCertificate)
			if c.certificate != nil {
				server.answers["/"+snsCertificate] = c.certificate(server)
			}
			p := server.open(t, sesOf(sesTopic)).(EventReceiver)
			f.refuses(t, p, nil, server.sign(notification(f.cases[0].event, eventNow)), c.status)
		})
	}
	t.Run("many are not all kept", func(t *testing.T) {
		kept := newCertificates()
		for i := range 3 * maxCertificates {
			kept.keep(strconv.Itoa(i), nil)
			if n := len(kept.known); n > maxCertificates || i < maxCertificates && n != i+1 {
				t.Errorf("%d of %d are kept", n, i+1)
			}
		}
	})
}

// A confirmation that SNS does not take is asked for again.
func TestSNSDoesNotTakeAConfirmation(t *testing.T) {
	server := startSNS(t)
	p := server.open(t, sesOf(sesTopic)).(EventReceiver)
	body := server.sign(snsMessage{Type: "SubscriptionConfirmation", MessageID: "m1", TopicARN: sesTopic, Token: "t", Timestamp: eventNow.Format(time.RFC3339),
		SubscribeURL: "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=" + sesTopic})
	f := sesEvents(t)
	f.refuses(t, p, nil, body, http.StatusServiceUnavailable)
	server.answers["/"] = "<ConfirmSubscriptionResponse/>"
	if _, err := p.Events(t.Context(), nil, body, eventNow); err != nil {
		t.Error(err)
	}
}

// What is fetched leaves as mails do: through the proxy.
func TestSNSIsAskedThroughTheProxy(t *testing.T) {
	tunnels := make(chan string, 10)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tunnels <- r.Method + " " + r.Host
		w.WriteHeader(http.StatusForbidden)
	}))
	defer proxy.Close()
	s := sesOf(sesTopic)
	s.Proxy = settings.NewSecret(proxy.URL)
	p, err := s.Open()
	if err != nil {
		t.Fatal(err)
	}
	f := sesEvents(t)
	_, body := f.sign(f.cases[0].event, eventNow)
	f.refuses(t, p.(EventReceiver), nil, body, http.StatusServiceUnavailable)
	if got := <-tunnels; got != "CONNECT sns.eu-west-1.amazonaws.com:443" {
		t.Errorf("the proxy is asked for %s", got)
	}
}

func TestSESTopic(t *testing.T) {
	for _, topic := range []string{"mail-events", "arn:aws:sqs:eu-west-1:111122223333:q", "arn:aws:sns:eu-west-1:111122223333:a b"} {
		if problems := sesOf(topic).Check(); len(problems) != 1 || problems[0].Key != "eventTopicArn" {
			t.Errorf("%s: %v", topic, problems)
		}
	}
	for _, topic := range []string{"arn:aws-cn:sns:cn-north-1:111122223333:a", "arn:aws-eusc:sns:eusc-de-east-1:111122223333:a_b-C"} {
		if problems := sesOf(topic).Check(); len(problems) != 0 {
			t.Errorf("%s: %v", topic, problems)
		}
	}
}

// Postmark.

const eventCredentials = "relay:a-long-password"

func postmarkEvents(testing.TB) eventFixture {
	event := func(rest string) string {
		return `{"MessageID":"883953f4-6105","Metadata":{"relay_id":"` + eventMail + `"},"Subject":"` + plantedCode + `","Email":"` + plantedAddress + `",` + rest + `}`
	}
	bounce := func(kind string) string {
		return event(`"RecordType":"Bounce","ID":901542550,"Type":"` + kind + `","BouncedAt":"2026-11-26T07:59:59.0000000-04:00","Details":"smtp;550 no such user"`)
	}
	want := func(status mail.Status, detail string) mail.Report {
		return ided(told(status, detail), "883953f4-6105", "")
	}
	return eventFixture{
		settings: func() Settings {
			s := newPostmarkSettings()
			s.ServerToken, s.EventCredentials = settings.NewSecret("token"), settings.NewSecret(eventCredentials)
			return s
		},
		sign:    func(event string, _ time.Time) (http.Header, []byte) { return basic(eventCredentials), []byte(event) },
		refused: 401, // a 403 would end all later calls
		planted: event(`"RecordType":"Bounce","ID":1,"Type":"HardBounce","BouncedAt":"2026-11-26T11:59:59Z","Details":"` + quoted + `"`),
		cases: []eventCase{
			{"delivered", event(`"RecordType":"Delivery","DeliveredAt":"2026-11-26T11:59:59Z","Details":"smtp;250 OK"`), want(mail.StatusDelivered, "smtp;250 OK")},
			{"hard bounce", bounce("HardBounce"), want(mail.StatusBounced, "HardBounce: smtp;550 no such user")},
			{"hard bounce for the sender", event(`"RecordType":"Bounce","ID":901542550,"Type":"HardBounce","BouncedAt":"2026-11-26T07:59:59.0000000-04:00","Details":"smtp;554 IP=192.0.2.7 - A problem occurred. (Ask your postmaster)","Description":"The server was unable to deliver your message (ex: unknown user, mailbox not found)."`),
				ours(want(mail.StatusBounced, "HardBounce: smtp;554 IP=192.0.2.7 - A problem occurred. (Ask your postmaster)"))},
			{"hard bounce in the service's own words", event(`"RecordType":"Bounce","ID":901542550,"Type":"HardBounce","BouncedAt":"2026-11-26T07:59:59.0000000-04:00","Description":"The server was unable to deliver your message (ex: unknown user, mailbox not found)."`),
				want(mail.StatusBounced, "HardBounce: The server was unable to deliver your message (ex: unknown user, mailbox not found).")},
			{"bad address", bounce("BadEmailAddress"), want(mail.StatusBounced, "BadEmailAddress: smtp;550 no such user")},
			{"soft bounce", bounce("SoftBounce"), softly(want(mail.StatusBounced, "SoftBounce: smtp;550 no such user"))},
			{"blocked", bounce("Blocked"), ours(want(mail.StatusBounced, "Blocked: smtp;550 no such user"))},
			{"transient", bounce("Transient"), want(mail.StatusDeferred, "Transient: smtp;550 no such user")},
			{"taken for spam by a server", bounce("SpamNotification"), ours(want(mail.StatusBounced, "SpamNotification: smtp;550 no such user"))},
			{"refused by a policy", bounce("DMARCPolicy"), ours(want(mail.StatusBounced, "DMARCPolicy: smtp;550 no such user"))},
			{"taken for a virus", bounce("VirusNotification"), ours(want(mail.StatusBounced, "VirusNotification: smtp;550 no such user"))},
			{"nobody knows", bounce("Unknown"), ours(want(mail.StatusBounced, "Unknown: smtp;550 no such user"))},
			{"called spam by its reader", bounce("SpamComplaint"), want(mail.StatusComplained, "SpamComplaint: smtp;550 no such user")},
			{"deactivated", bounce("ManuallyDeactivated"), want(mail.StatusSuppressed, "ManuallyDeactivated: smtp;550 no such user")},
			{"template", bounce("TemplateRenderingFailed"), want(mail.StatusFailed, "TemplateRenderingFailed: smtp;550 no such user")},
			{"complaint", event(`"RecordType":"SpamComplaint","ID":1,"Type":"SpamComplaint","BouncedAt":"2026-11-26T11:59:59Z"`), want(mail.StatusComplained, "SpamComplaint")},
			{"suppressed", event(`"RecordType":"SubscriptionChange","SuppressSending":true,"SuppressionReason":"HardBounce","ChangedAt":"2026-11-26T11:59:59Z"`), want(mail.StatusSuppressed, "HardBounce")},
			{"not any more", event(`"RecordType":"SubscriptionChange","SuppressSending":false,"ChangedAt":"2026-11-26T11:59:59Z"`), mail.Report{}},
			{"away", bounce("AutoResponder"), mail.Report{}},
			{"opened", event(`"RecordType":"Open"`), mail.Report{}},
		},
	}
}

// Resend.

const resendEventSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

func resendEvents(testing.TB) eventFixture {
	event := func(kind, rest string) string {
		return `{"type":"email.` + kind + `","created_at":"2026-11-26T11:59:59.000Z","data":{"email_id":"172c41ce-ba6d","to":["` + plantedAddress + `"],"subject":"` + plantedCode + ` is your code",` +
			`"tags":{"relay_id":"` + eventMail + `"}` + rest + `}}`
	}
	want := func(status mail.Status, detail string) mail.Report {
		return ided(told(status, detail), "172c41ce-ba6d", "msg_1")
	}
	return eventFixture{
		settings: func() Settings { return resendVerifiedBy(resendEventSecret) },
		sign: func(event string, at time.Time) (http.Header, []byte) {
			key, _ := resendVerifiedBy(resendEventSecret).eventKey()
			signature := base64.StdEncoding.EncodeToString(hmacOf(key, "msg_1."+seconds(at)+"."+event))
			return http.Header{"Svix-Id": {"msg_1"}, "Svix-Timestamp": {seconds(at)}, "Svix-Signature": {"v1," + signature + " v1,bm9uZQ=="}}, []byte(event)
		},
		refused: 401, stale: 400, retries: svixTolerance,
		planted: event("bounced", `,"bounce":{"type":"Permanent","message":"`+quoted+`"}`),
		cases: []eventCase{
			{"delivered", event("delivered", ""), want(mail.StatusDelivered, "")},
			{"deferred", event("delivery_delayed", ""), want(mail.StatusDeferred, "")},
			{"bounce", event("bounced", `,"bounce":{"type":"Permanent","subType":"General","message":"no such user"}`), want(mail.StatusBounced, "Permanent: General: no such user")},
			{"bounce in the service's own words", event("bounced", `,"bounce":{"type":"Permanent","subType":"General","message":"The recipient's email provider sent a hard bounce message. Such addresses can have a negative impact on your reputation as a sender."}`),
				want(mail.StatusBounced, "Permanent: General: The recipient's email provider sent a hard bounce message. Such addresses can have a negative impact on your reputation as a sender.")},
			{"bounce with the server's words", event("bounced", `,"bounce":{"type":"Permanent","subType":"General","message":"Your reputation as a sender.","diagnosticCode":["smtp; 550 5.1.1 As requested: user unknown <`+plantedAddress+`>"]}`),
				want(mail.StatusBounced, "Permanent: General: smtp; 550 5.1.1 As requested: user unknown <[address]>")},
			{"bounce for the sender", event("bounced", `,"bounce":{"type":"Permanent","diagnosticCode":"smtp; 550 5.7.1 listed at zen.spamhaus.org"}`), ours(want(mail.StatusBounced, "Permanent: smtp; 550 5.7.1 listed at zen.spamhaus.org"))},
			{"bounce for the sender, by its code", event("bounced", `,"bounce":{"type":"Permanent","diagnosticCode":"smtp; 5.7.1 go away"}`), ours(want(mail.StatusBounced, "Permanent: smtp; 5.7.1 go away"))},
			{"soft bounce", event("bounced", `,"bounce":{"type":"Transient","subType":"MailboxFull"}`), softly(want(mail.StatusBounced, "Transient: MailboxFull"))},
			{"away", event("bounced", `,"bounce":{"type":"Transient","subType":"General"}`), ours(want(mail.StatusBounced, "Transient: General"))},
			{"nobody knows", event("bounced", `,"bounce":{"type":"Undetermined","subType":"Undetermined"}`), ours(want(mail.StatusBounced, "Undetermined: Undetermined"))},
			{"bounce by the list", event("bounced", `,"bounce":{"type":"Permanent","subType":"Suppressed"}`), want(mail.StatusSuppressed, "Permanent: Suppressed")},
			{"complaint", event("complained", ""), want(mail.StatusComplained, "")},
			{"suppressed", event("suppressed", `,"suppressed":{"type":"previous_bounce"}`), want(mail.StatusSuppressed, "previous_bounce")},
			{"failed", event("failed", `,"failed":{"reason":"reached_daily_quota"}`), want(mail.StatusFailed, "reached_daily_quota")},
			{"tags as a list", `{"type":"email.delivered","created_at":"2026-11-26T11:59:59Z","data":{"email_id":"172c41ce-ba6d","tags":[{"name":"relay_id","value":"` + eventMail + `"}]}}`, want(mail.StatusDelivered, "")},
			{"sent", event("sent", ""), mail.Report{}},
			{"opened", event("opened", ""), mail.Report{}},
		},
	}
}

// What nobody can place says nothing of the address, whatever the service calls it:
// https://github.com/zone-eu/zone-mta/blob/master/config/bounces.txt
func TestAServersRefusalIsHardByItsWordsAlone(t *testing.T) {
	f := mailgunEvents(t)
	p := f.opened(t, f.settings())
	for _, said := range []string{
		"554 IP=192.0.2.7 - A problem occurred. (Ask your postmaster for help or to contact tosa@rx.t-online.de to clarify.) (BL)",
		"554 Your access to this mail system has been rejected due to the sending MTA's poor reputation. If you believe that this failure is in error, please contact the intended recipient via alternate means.",
		"554 Rejected by header based Anti-Spoofing policy: user@example.com - https://community.mimecast.com/docs/DOC-1369#550",
		"554 RBL Reject.",
		"554 opmta1mti37nd1 smtp.orange.fr xZBI Service refuse. Service refused. OFR006_103",
		"554 5.5.0 Les emails envoyes vers la messagerie Laposte.net ont ete bloques par nos services. LPN007_102",
		"554 p00-smtpin001.me.com ESMTP not accepting connections",
		"554 Message not allowed - Headers are not RFC compliant[291]",
		"554 Syntax error in parameters or arguments",
		"554 Invalid DNS MX or A/AAAA resource record",
		"554 Too many invalid recipients",
		"571 Delivery not authorized, message refused",
		"571 <ada@example.org>... We do not relay",
		"498 your IP has been blocked",
		"451 Recipient temporarily unavailable",
		"550 recipient rejected: mailbox would exceed maximum allowed storage",
		"550 : User unknown", // KDDI, where the reader's own filter refuses
		"550 Unknown user (in reply to end of DATA command)",
		"552 5.2.3 Message length exceeds limit set by recipient",
		"450 4.1.1 <ada@example.org>: Recipient address rejected: undeliverable address: host mx.example.org[192.0.2.9] said: 554 5.7.1 Service unavailable; Client host [192.0.2.7] blocked using zen.spamhaus.org (in reply to RCPT TO command)",
	} {
		code, words, _ := strings.Cut(said, " ")
		header, body := f.sign(`{"event":"failed","severity":"permanent","reason":"generic","timestamp":1795694399,"delivery-status":{"code":`+code+`,"message":"`+words+`"},"user-variables":{"relay_id":"`+eventMail+`"}}`, eventNow.Add(-time.Second))
		got, err := p.Events(t.Context(), header, body, eventNow)
		if err != nil || len(got) != 1 || !got[0].Soft {
			t.Errorf("%s: %+v, %v", words, got, err)
		}
	}
}

// Brevo, MailerSend and others pass on a server's words without its code.
func TestWordsWithoutACode(t *testing.T) {
	f := smtp2goEvents(t)
	p := f.opened(t, f.settings())
	for words, hard := range map[string]bool{
		"": true, "hard bounce": true, "Bounced Address": true, "Invalid": true, "invalid email address": true, "no mail host": true,
		"User unknown": true, "Recipient address rejected: User unknown": true, "No MX for example.org": true, "mailbox inactive": true,
		"General: The recipient's email provider sent a hard bounce message, but didn't specify the reason for the hard bounce.": true,

		"bad_mailbox": true, "Unable to find MX of domain gogle.com": true, "Invalid MX of domain [MX issue]": true, "account has been disabled": true,
		"Sorry, I couldn't find any host named gmial.com.": true, "Domain not found": true, "Address not found": true,

		"your account has been disabled": false, "server is down": false, "Message rejected due to DMARC policy": false, "Sender address rejected: not verified": false, "Invalid sender": false,
		"Sending IP is blocklisted by Spamhaus": false, "Message rejected as spam": false, "Daily sending quota exceeded for this account": false,
		"550 : User unknown": false, "host mx.example.org[192.0.2.9] said: 550 5.1.1 Unknown user (in reply to end of DATA command)": true,
		"Mailbox full": false, "Connection timed out": false, "hard bounce: blocked for its content": false,
		"unable to get mx info: failed to get IPs from PTR record: lookup <nil>: unrecognized address": false,
	} {
		header, body := f.sign(fmt.Sprintf(`{"event":"bounce","bounce":"hard","rcpt":"ada@example.org","message":%q,"X-Relay-Id":"%s"}`, words, eventMail), eventNow)
		got, err := p.Events(t.Context(), header, body, eventNow)
		if err != nil || len(got) != 1 || got[0].Soft == hard || got[0].Ours != (!hard && words != "Mailbox full") {
			t.Errorf("%s: %+v, %v", words, got, err)
		}
	}
}

// Sendmail, Postfix and others name the mailbox without its domain.
func TestWordsThatNameTheRecipient(t *testing.T) {
	brevo := httpExamples(t)["brevo"]
	f, postmark := smtp2goEvents(t), postmarkEvents(t)
	for _, words := range []string{"550 5.1.1 ada.lovelace... User unknown", "No such user: ada.lovelace", `550 5.1.1 unknown user: "ada.lovelace"`,
		"no mailbox ada.lovelace at example.org", `user unknown: EXAMPLE\ada.lovelace`} {
		for _, event := range []struct {
			receiver          EventReceiver
			credentials, body string
		}{
			{f.opened(t, f.settings()), eventCredentials, fmt.Sprintf(`{"event":"bounce","bounce":"hard","rcpt":"ada.lovelace@example.org","message":%q,"X-Relay-Id":"%s"}`, words, eventMail)},
			{open(t, brevo).(EventReceiver), brevo.EventCredentials.Reveal(), fmt.Sprintf(`{"event":"hard_bounce","email":"ada.lovelace@example.org","message-id":"<1@x>","reason":%q}`, words)},
			{postmark.opened(t, postmark.settings()), eventCredentials, fmt.Sprintf(`{"RecordType":"Delivery","MessageID":"1","Recipient":"ada.lovelace@example.org","Details":%q}`, words)},
		} {
			got, err := event.receiver.Events(t.Context(), basic(event.credentials), []byte(event.body), eventNow)
			if err != nil || len(got) != 1 || strings.Contains(got[0].Detail, "lovelace") || !strings.Contains(got[0].Detail, "[address]") || got[0].Soft {
				t.Errorf("%s: %+v, %v", words, got, err)
			}
		}
	}
}

// However many signatures a stranger writes, the body is gone through once: each time
// would make something new.
func TestSignaturesAreCheapToRefuse(t *testing.T) {
	body := strings.Repeat("x", 100)
	allocations := func(signatures int) float64 {
		header := strings.Repeat("v1, ", signatures)
		return testing.AllocsPerRun(1, func() {
			if svixSigned([]byte("key"), header, "id.", body) {
				t.Error("it is taken")
			}
		})
	}
	if one, many := allocations(1), allocations(3900); many > one+10 {
		t.Errorf("%v allocations instead of %v", many, one)
	}
}

func resendVerifiedBy(secret string) *resendSettings {
	s := newResendSettings()
	s.APIKey, s.EventSecret = settings.NewSecret("re_1"), settings.NewSecret(secret)
	return s
}

// A real call, with its secret, out of the tests of Symfony's bridge, and Svix's own
// example:
// https://github.com/symfony/symfony/tree/7.3/src/Symfony/Component/Mailer/Bridge/Resend/Tests/Webhook
// https://docs.svix.com/receiving/verifying-payloads/how-manual
func TestResendsOwnEvents(t *testing.T) {
	sent := strings.ReplaceAll(`{
    "created_at": "2024-04-08T09:43:09.500Z",
    "data": {
        "created_at": "2024-04-08T09:43:09.438Z",
        "email_id": "172c41ce-ba6d-4281-8a7a-541faa725748",
        "from": "test@resend.com",
        "headers": [
            {
                "name": "Sender",
                "value": "test@resend.com"
            }
        ],
        "subject": "Test subject",
        "to": [
            "test@example.com"
        ]
    },
    "type": "email.sent"
}
`, "\n", "\r\n")
	for _, c := range []struct{ secret, id, timestamp, signature, body string }{
		{"whsec_ESwTAuuIe3yfH4DgdgI+ENsiNzPAGdp+", "172c41ce-ba6d-4281-8a7a-541faa725748", "1712569389", "v1,4wjuRp64yC/2itgCQwl2xPePVwSPTdPbXLIY6IxGLTA=", sent},
		{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", `{"test": 2432232314}`},
	} {
		p, err := resendVerifiedBy(c.secret).Open()
		if err != nil {
			t.Fatal(err)
		}
		header := http.Header{"Svix-Id": {c.id}, "Svix-Timestamp": {c.timestamp}, "Svix-Signature": {c.signature}}
		at, _ := strconv.ParseInt(c.timestamp, 10, 64)
		now := time.Unix(at, 0).Add(time.Minute)
		if _, err := p.(EventReceiver).Events(t.Context(), header, []byte(c.body), now); err != nil {
			t.Error(err)
		}
		if _, err := p.(EventReceiver).Events(t.Context(), header, []byte(c.body+" "), now); err == nil {
			t.Error("taken with another body")
		}
	}
	key, err := resendVerifiedBy(resendEventSecret).eventKey()
	if err != nil {
		t.Fatal(err)
	}
	f := resendEvents(t)
	event := f.cases[0].event
	signature := "v1," + base64.StdEncoding.EncodeToString(hmacOf(key, "."+seconds(eventNow)+"."+event))
	header := http.Header{"Svix-Timestamp": {seconds(eventNow)}, "Svix-Signature": {signature}} // an event has an id to be known by
	f.refuses(t, f.opened(t, f.settings()), header, []byte(event), 401)
	if problems := resendVerifiedBy("whsec_" + base64.StdEncoding.EncodeToString([]byte("sixteen letters."))).Check(); len(problems) > 0 {
		t.Errorf("the shortest secret: %v", problems)
	}
	for _, secret := range []string{"whsec_", "whsec_=", "no base64!", "whsec_c2hvcnQ=", "whsec_" + base64.StdEncoding.EncodeToString([]byte("fifteen letters"))} {
		if problems := resendVerifiedBy(secret).Check(); len(problems) != 1 || problems[0].Key != "eventSecret" {
			t.Errorf("%s: %v", secret, problems)
		}
	}
}

// SMTP2GO.

func smtp2goEvents(testing.TB) eventFixture {
	event := func(rest string) string {
		return `{"time":"2026-11-26 11:59:59","rcpt":"` + plantedAddress + `","subject":"` + plantedCode + `","email_id":"1u0SwL-B9zBpi9","id":"webhook-event-id","X-Relay-Id":"` + eventMail + `",` + rest + `}`
	}
	want := func(status mail.Status, detail string) mail.Report {
		return ided(told(status, detail), "1u0SwL-B9zBpi9", "webhook-event-id")
	}
	return eventFixture{
		settings: func() Settings {
			s := newSMTP2GOSettings()
			s.APIKey, s.EventCredentials = settings.NewSecret("api-1"), settings.NewSecret(eventCredentials)
			return s
		},
		sign:    func(event string, _ time.Time) (http.Header, []byte) { return basic(eventCredentials), []byte(event) },
		refused: 401,
		planted: event(`"event":"bounce","bounce":"hard","message":"` + quoted + `"`),
		cases: []eventCase{
			{"delivered", event(`"event":"delivered","message":"250 2.0.0 OK"`), want(mail.StatusDelivered, "250 2.0.0 OK")},
			{"hard bounce", event(`"event":"bounce","bounce":"hard","message":"550 No such user"`), want(mail.StatusBounced, "hard: 550 No such user")},
			{"hard bounce without a reason", event(`"event":"bounce","bounce":"hard","message":"550 Rejected"`), ours(want(mail.StatusBounced, "hard: 550 Rejected"))},
			{"hard bounce for the sender", event(`"event":"bounce","bounce":"hard","message":"550 5.7.1 DMARC policy"`), ours(want(mail.StatusBounced, "hard: 550 5.7.1 DMARC policy"))},
			{"soft bounce", event(`"event":"bounce","bounce":"soft"`), softly(want(mail.StatusBounced, "soft"))},
			{"complaint", event(`"event":"spam"`), want(mail.StatusComplained, "")},
			{"rejected for the list", event(`"event":"reject"`), want(mail.StatusSuppressed, "")},
			{"processed", event(`"event":"processed"`), mail.Report{}},
			{"opened", event(`"event":"open"`), mail.Report{}},
		},
	}
}

// Any service.

func httpEvents(testing.TB) eventFixture {
	event := func(rest string) string {
		return `{"data":{"email_id":"` + eventMail + `","tags":["x"],` + rest + `},"subject":"` + plantedCode + `","id":4711,"ts":` + seconds(eventNow.Add(-time.Second)) + `}`
	}
	want := func(status mail.Status, detail string) mail.Report {
		return ided(told(status, detail), eventMail, "4711")
	}
	return eventFixture{
		settings: func() Settings {
			s := newHTTPSettings()
			s.URL, s.EventCredentials = "https://api.example.com", settings.NewSecret(eventCredentials)
			s.EventSignature = httpEventSignature{"Signature", settings.NewSecret("signing secret")}
			s.EventMapping = httpEventMapping{ID: "data.email_id", Status: settings.Texts{"data.type", "data.kind"}, Time: "ts", Detail: "data.reason", Key: "id",
				Statuses: map[string]string{"done": "delivered", "bounce hard": "bounced", "bounce soft": "softBounced", "bounce true": "bounced", "bounce false": "softBounced", "later": "deferred", "spam": "complained", "listed": "suppressed", "bad": "failed"}}
			return s
		},
		sign: func(event string, _ time.Time) (http.Header, []byte) {
			header := basic(eventCredentials)
			header.Set("Signature", hex.EncodeToString(hmacOf([]byte("signing secret"), event)))
			return header, []byte(event)
		},
		refused: 401,
		planted: event(`"type":"bounce","kind":"hard","reason":"` + quoted + `"`),
		cases: []eventCase{
			{"delivered", event(`"type":"done"`), want(mail.StatusDelivered, "")},
			{"in a list", "[" + event(`"type":"done"`) + "]", want(mail.StatusDelivered, "")},
			{"bounce", event(`"type":"bounce","kind":"hard","reason":"no such user"`), want(mail.StatusBounced, "no such user")},
			{"soft bounce", event(`"type":"bounce","kind":"soft"`), softly(want(mail.StatusBounced, ""))},
			{"bounce by truth", event(`"type":"bounce","kind":true`), want(mail.StatusBounced, "")},
			{"soft bounce by truth", event(`"type":"bounce","kind":false`), softly(want(mail.StatusBounced, ""))},
			{"an empty word", event(`"type":"later","kind":""`), want(mail.StatusDeferred, "")},
			{"deferred", event(`"type":"later"`), want(mail.StatusDeferred, "")},
			{"complaint", event(`"type":"spam"`), want(mail.StatusComplained, "")},
			{"suppressed", event(`"type":"listed"`), want(mail.StatusSuppressed, "")},
			{"failed", event(`"type":"bad"`), want(mail.StatusFailed, "")},
			{"another word", event(`"type":"opened"`), mail.Report{}},
			{"no word", event(`"x":1`), mail.Report{}},
		},
	}
}

// The examples in docs/http-providers.md understand what the services send. The bodies
// are those of the tests of Symfony's bridges, shortened:
// https://github.com/symfony/symfony/tree/7.3/src/Symfony/Component/Mailer/Bridge
func TestHTTPEventExamples(t *testing.T) {
	examples := httpExamples(t)
	for _, c := range []struct {
		name, body string
		want       mail.Report
	}{
		{"brevo", `{"id":814119,"email":"example@gmail.com","message-id":"<202305311437.85220493321@smtp-relay.mailin.fr>","date":"2023-05-31 16:37:07","event":"hard_bounce",` +
			`"subject":"Subject Line","ts_event":1685543827,"ts":1685543827,"reason":"550-5.1.1 The email account that you tried to reach does not exist.","ts_epoch":1685543827372}`,
			mail.Report{ProviderID: "<202305311437.85220493321@smtp-relay.mailin.fr>", Event: mail.Event{Time: time.UnixMilli(1685543827372).UTC(), Status: mail.StatusBounced,
				Detail: "550-5.1.1 The email account that you tried to reach does not exist."}}},
		// https://developers.brevo.com/docs/transactional-webhooks
		{"brevo", `{"message-id":"<1@x>","event":"complaint","ts_epoch":1685543827000}`,
			mail.Report{ProviderID: "<1@x>", Event: mail.Event{Time: time.Unix(1685543827, 0).UTC(), Status: mail.StatusComplained}}},
		{"brevo", `{"message-id":"<1@x>","event":"soft_bounce","ts_epoch":1685543827000}`,
			mail.Report{ProviderID: "<1@x>", Event: mail.Event{Time: time.Unix(1685543827, 0).UTC(), Status: mail.StatusBounced, Soft: true}}},
		{"mailersend", `{"type":"activity.hard_bounced","created_at":"2026-01-01T12:00:00.000000Z","data":{"id":"62f114f8165fe0d8db0288e6","message_id":"67f91abd69f79df391e9d78d",` +
			`"meta":{"bounce_reason":"550 5.1.1 <test@example.com>: user unknown"}}}`,
			mail.Report{ProviderID: "67f91abd69f79df391e9d78d", Key: "62f114f8165fe0d8db0288e6",
				Event: mail.Event{Time: time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC), Status: mail.StatusBounced, Detail: "550 5.1.1 <[address]>: user unknown"}}},
		{"mailersend", `{"type":"activity.hard_bounced","created_at":"2026-01-01T12:00:00.000000Z","data":{"id":"62f114f8165fe0d8db0288e5","domain_id":"dnvo4d93e0ng5r86",` +
			`"message_id":"67f91abd69f79df391e9d78d","email_id":"67f91abe2202f3705540234a","type":"rejected","recipient":"test@example.com",` +
			`"meta":{"bounce_reason":"Host or domain name not found","bounce_code":"550","bounce_type":"hard"}}}`,
			mail.Report{ProviderID: "67f91abd69f79df391e9d78d", Key: "62f114f8165fe0d8db0288e5",
				Event: mail.Event{Time: time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC), Status: mail.StatusBounced, Detail: "Host or domain name not found"}}},
	} {
		s := examples[c.name]
		if problems := s.Check(); len(problems) > 0 {
			t.Errorf("%s: %v", c.name, problems)
		}
		header := basic(s.EventCredentials.Reveal())
		header.Set("Signature", hex.EncodeToString(hmacOf([]byte(s.EventSignature.Secret.Reveal()), c.body)))
		got, err := open(t, s).(EventReceiver).Events(t.Context(), header, []byte(c.body), eventNow)
		if err != nil || len(got) != 1 {
			t.Fatalf("%s: %v, %v", c.name, got, err)
		}
		if c.want.Key == "" {
			got[0].Key = ""
		}
		if !reflect.DeepEqual(got[0], c.want) {
			t.Errorf("%s:\n got %+v\nwant %+v", c.name, got[0], c.want)
		}
	}
}

func TestHTTPEventSettings(t *testing.T) {
	f := httpEvents(t)
	for key, change := range map[string]func(*httpSettings){
		"eventMapping":               func(s *httpSettings) { s.EventMapping.ID = "" },
		"eventMapping.statuses.done": func(s *httpSettings) { s.EventMapping.Statuses = map[string]string{"done": "Delivered"} },
		"eventCredentials":           func(s *httpSettings) { s.EventCredentials = settings.NewSecret("relay:short") },
		"eventSignature":             func(s *httpSettings) { s.EventSignature.Header = "" },
	} {
		s := f.settings().(*httpSettings)
		change(s)
		if problems := s.Check(); len(problems) != 1 || problems[0].Key != key {
			t.Errorf("%s: %v", key, problems)
		}
	}
	for _, lacking := range []func(*httpSettings){
		func(s *httpSettings) { s.EventMapping.Status = nil }, func(s *httpSettings) { s.EventMapping.Statuses = nil },
	} {
		s := f.settings().(*httpSettings)
		lacking(s)
		if problems := s.Check(); len(problems) != 1 || problems[0].Key != "eventMapping" {
			t.Errorf("half a mapping: %v", problems)
		}
	}
	s := f.settings().(*httpSettings)
	s.EventCredentials, s.EventSignature = settings.Secret{}, httpEventSignature{}
	if problems := s.Check(); len(problems) != 1 || problems[0].Key != "eventCredentials" {
		t.Errorf("nothing to verify by: %v", problems)
	}
}

func TestWordsAboutAnother(t *testing.T) {
	for _, c := range []struct {
		words, to string
		another   bool
	}{
		{"no such user", "ada@example.org", false}, {"<ADA@example.org> unknown", "ada@example.org", false},
		{"<no-reply@acme.example> unknown", "ada@example.org", true}, {"ask postmaster@example.org", "ada@example.org", false},
		{"<bob@example.org> unknown", "", true}, {"no such user", "", false},
	} {
		if got := namesAnother(c.words, c.to); got != c.another {
			t.Errorf("%q to %q: %v", c.words, c.to, got)
		}
	}
}

func TestWhatIsCurrent(t *testing.T) {
	for age, want := range map[time.Duration]bool{0: true, time.Hour: true, time.Hour + 1: false, -ahead: true, -ahead - 1: false} {
		if isCurrent(eventNow.Add(-age), eventNow, time.Hour) != want {
			t.Errorf("%v: %v", age, !want)
		}
	}
}

func TestCredentialsThatCannotBeGuessed(t *testing.T) {
	for text, taken := range map[string]bool{
		"": true, "relay:twelve-chars": true, "relay:eleven-char": false, ":twelve-chars": false, "twelve-chars-and-more": false, "relay:twelve-chars\n": false,
	} {
		if problems := checkCredentials("x", settings.NewSecret(text)); (len(problems) == 0) != taken {
			t.Errorf("%q: %v", text, problems)
		}
	}
}

func TestMoment(t *testing.T) {
	for text, want := range map[string]time.Time{
		"1764000000": time.Unix(1764000000, 0), "1764000000123": time.UnixMilli(1764000000123), "1764000000.25": time.UnixMilli(1764000000250),
		"2026-11-21T08:00:00Z": time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC), "2026-11-21T08:00:00.5+02:00": time.Date(2026, 11, 21, 6, 0, 0, 5e8, time.UTC),
		"2026-11-21 08:00:00": time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC), "": eventNow, "soon": eventNow, "-1": eventNow, "0": eventNow, "1e11": eventNow, "NaN": eventNow, "1e300": eventNow, "Inf": eventNow,
	} {
		if got := moment(text, eventNow); !got.Equal(want) {
			t.Errorf("%q is %v, want %v", text, got, want)
		}
	}
}

// Nothing that a service could send after a good signature does harm.
func FuzzEvents(f *testing.F) {
	receivers := make(map[string]EventReceiver)
	fixtures := make(map[string]eventFixture)
	for name, fixture := range eventFixtures {
		fixtures[name] = fixture(f)
		of := fixtures[name]
		receivers[name] = of.opened(f, of.settings())
		for _, c := range of.cases {
			f.Add(name, c.event)
		}
		f.Add(name, of.planted)
	}
	f.Fuzz(func(t *testing.T, name, event string) {
		fixture, known := fixtures[name]
		if !known {
			t.Skip()
		}
		header, body := fixture.sign(event, eventNow)
		got, err := receivers[name].Events(t.Context(), header, body, eventNow)
		var failure *EventError
		if err != nil && (!errors.As(err, &failure) || failure.Status < 400) {
			t.Errorf("%v", err)
		}
		for _, r := range got {
			if !r.Status.Known() || len(r.Detail) > maxDetail+4 || len(r.ProviderID) > 4*maxID+2 || r.ID != "" && !mail.IsID(r.ID) || r.Key == "" {
				t.Errorf("%+v", r)
			}
		}
	})
}

var signatureInBody = regexp.MustCompile(`("[Ss]ignature":")[^"]*"`)

// Nothing that somebody without the key sends is taken, whatever reads it before the
// signature is known to be wrong.
func FuzzEventsOfStrangers(f *testing.F) {
	type call struct {
		receiver EventReceiver
		header   http.Header
	}
	calls := make(map[string]call)
	for name, fixture := range eventFixtures {
		of := fixture(f)
		header, body := of.sign(of.cases[0].event, eventNow)
		calls[name] = call{of.opened(f, of.settings()), header}
		for _, value := range []string{"", "Basic Og==", "v1,bm9uZQ==", seconds(eventNow), "bm9uZQ=="} {
			f.Add(name, value, signatureInBody.ReplaceAllString(string(body), `${1}bm9uZQ=="`))
		}
	}
	f.Fuzz(func(t *testing.T, name, value, body string) {
		to, known := calls[name]
		if !known {
			t.Skip()
		}
		header := make(http.Header)
		for key := range to.header {
			header.Set(key, value)
		}
		got, err := to.receiver.Events(t.Context(), header, []byte(body), eventNow)
		var failure *EventError
		if len(got) > 0 || !errors.As(err, &failure) || failure.Status < 400 || failure.Detail == "" {
			t.Errorf("%s took %+v, %v", name, got, err)
		}
	})
}

// Whatever comes in place of SNS's certificate, a message counts only if it is signed by
// the key of one that is valid now.
func FuzzSNSCertificate(f *testing.F) {
	server := startSNS(f)
	good := server.answers["/"+snsCertificate]
	p := server.open(f, sesOf(sesTopic)).(*ses)
	body := server.sign(notification(sesEvents(f).cases[0].event, eventNow))
	f.Add(good)
	f.Add(good + good)
	f.Add(good[:len(good)/2])
	f.Add(strings.Replace(good, "M", "N", 1))
	f.Add(selfSigned(f, server.key, eventNow.Add(time.Hour), eventNow.Add(48*time.Hour)))
	f.Add("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
	f.Fuzz(func(t *testing.T, certificate string) {
		server.mu.Lock()
		server.answers["/"+snsCertificate], server.paths = certificate, nil
		server.mu.Unlock()
		clear(p.certificates.known)
		got, err := p.Events(t.Context(), nil, body, eventNow)
		var failure *EventError
		if err != nil && (!errors.As(err, &failure) || failure.Status < 400 || len(got) > 0) {
			t.Errorf("%+v, %v", got, err)
		}
		if err != nil {
			return
		}
		block, _ := pem.Decode([]byte(certificate))
		if block == nil {
			t.Fatal("taken by no certificate")
		}
		read, err := x509.ParseCertificate(block.Bytes)
		if err != nil || !server.key.PublicKey.Equal(read.PublicKey) || eventNow.Before(read.NotBefore) || eventNow.After(read.NotAfter) {
			t.Errorf("taken by %v, %v", read, err)
		}
	})
}
