package providers

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"logto-email-relay/mail"
	"logto-email-relay/settings"
)

// aliyunEndpoints are those of Alibaba Cloud Direct Mail, by region; domains
// and senders exist in one region only:
//
//	request, answer, errors   https://www.alibabacloud.com/help/en/direct-mail/api-dm-2015-11-23-overview
//	endpoints                 https://www.alibabacloud.com/help/en/direct-mail/api-endpoints
//	account                   https://www.alibabacloud.com/help/en/direct-mail/api-dm-2015-11-23-descaccountsummary
//	signature                 https://www.alibabacloud.com/help/en/sdk/product-overview/v3-request-structure-and-signature
var aliyunEndpoints = map[string]string{
	"cn-hangzhou":    "https://dm.aliyuncs.com",
	"ap-southeast-1": "https://dm.ap-southeast-1.aliyuncs.com",
	"ap-southeast-2": "https://dm.ap-southeast-2.aliyuncs.com",
	"eu-central-1":   "https://dm.eu-central-1.aliyuncs.com",
	"us-east-1":      "https://dm.us-east-1.aliyuncs.com",
}

// aliyunAlias is the longest display name that the service takes, in characters.
const aliyunAlias = 14

// aliyunSettings bear the keys of Logto's Aliyun Direct Mail connector.
type aliyunSettings struct {
	Common
	// AccessKeyID and AccessKeySecret are those of a RAM user.
	AccessKeyID     string          `json:"accessKeyId" validate:"required"`
	AccessKeySecret settings.Secret `json:"accessKeySecret" validate:"required"`
	// RegionID is where the account's sender addresses are: cn-hangzhou when not given.
	RegionID string `json:"regionId"`
	// AccountName is the sender address, as set up in the console.
	AccountName settings.Mailbox `json:"accountName"`
	// FromAlias is the sender's display name, of at most 14 characters.
	FromAlias string `json:"fromAlias"`
	// Templates are HTML.
	Templates []inlineTemplate `json:"templates" validate:"dive"`
}

func newAliyunSettings() *aliyunSettings { return &aliyunSettings{RegionID: "cn-hangzhou"} }

// Check asks for a key that can be one, a region that Direct Mail has, and a short display name.
func (s *aliyunSettings) Check() []settings.Problem {
	problems := slices.Concat(
		checkKey("accessKeyId", settings.NewSecret(s.AccessKeyID)),
		checkKey("accessKeySecret", s.AccessKeySecret),
		s.checkConnection())
	if _, ok := aliyunEndpoints[s.RegionID]; !ok && s.Endpoint == "" {
		problems = append(problems, settings.Problem{Key: "regionId",
			Text: "write one of " + strings.Join(slices.Sorted(maps.Keys(aliyunEndpoints)), ", ")})
	}
	if utf8.RuneCountInString(s.FromAlias) > aliyunAlias {
		problems = append(problems, settings.Problem{Key: "fromAlias", Text: "the service takes at most 14 characters"})
	}
	return problems
}

// Sender returns accountName under the name fromAlias.
func (s *aliyunSettings) Sender() Sender { return Sender{From: named(s.AccountName, s.FromAlias)} }

// Mails returns templates.
func (s *aliyunSettings) Mails() []mail.ConnectorTemplate {
	var list []mail.ConnectorTemplate
	for i, t := range s.Templates {
		list = append(list, t.mail(i, ""))
	}
	return list
}

// Open makes the provider.
func (s *aliyunSettings) Open() (Provider, error) {
	api, err := newAPI(s.Shared(), settings.NewSecret(s.AccessKeyID), s.AccessKeySecret)
	if err != nil {
		return nil, err
	}
	endpoint, err := url.Parse(s.endpointOr(aliyunEndpoints[s.RegionID]))
	if err != nil {
		return nil, err
	}
	return &aliyun{api, endpoint.JoinPath("/"), s}, nil
}

var _ Verifier = (*aliyun)(nil)

type aliyun struct {
	*api
	url      *url.URL
	settings *aliyunSettings
}

// Send posts the message, all of it in the body: addresses have no business in
// a URL, which proxies log. Accepted is a 200 with an EnvId.
func (p *aliyun) Send(ctx context.Context, m *mail.Message) (Receipt, error) {
	if e := checkASCII(m); e != nil {
		return Receipt{}, e
	}
	form, err := aliyunForm(m, p.settings.RegionID)
	if err != nil {
		return Receipt{}, unbuilt(err)
	}
	x, err := p.call(ctx, "SingleSendMail", form)
	if e := x.refusal(m, err, aliyunErrors); e != nil {
		return Receipt{}, e
	}
	var answer struct{ EnvID, Code string }
	x.read(&answer)
	if answer.Code != "" {
		return Receipt{}, x.failure(m, nil, aliyunErrors(x))
	}
	if answer.EnvID == "" {
		return Receipt{}, x.unreadable(m)
	}
	return x.receipt(answer.EnvID), nil
}

// call signs and posts a request.
func (p *aliyun) call(ctx context.Context, action string, form url.Values) (*exchange, error) {
	body := []byte(form.Encode())
	header := aliyunHeader(p.url.Host, action, body, time.Now(), rand.Text())
	header.Set("Authorization", aliyunAuthorization(p.url, header, p.settings.AccessKeyID, p.settings.AccessKeySecret))
	return p.request(ctx, http.MethodPost, p.url.String(), header, body)
}

// Verify reads the state of the account.
func (p *aliyun) Verify(ctx context.Context) (string, error) {
	x, err := p.call(ctx, "DescAccountSummary", url.Values{"RegionId": {p.settings.RegionID}})
	e := x.verdict(err, aliyunErrors)
	switch {
	case e != nil && (strings.HasPrefix(e.Code, "Forbidden") || e.Code == "NoPermission"):
		return "the key is good but may not read the account, so that the account's state is not known; " +
			"allow it dm:DescAccountSummary; or " + addressHint, nil
	case e != nil:
		return "", e
	}
	var account struct{ UserStatus *int }
	x.read(&account)
	if account.UserStatus == nil {
		return "", x.foreign()
	}
	if problem := aliyunStatus[*account.UserStatus]; problem != "" {
		return "", x.unfit(problem, "see the Direct Mail console")
	}
	return "", nil
}

// aliyunStatus are the states of an account in which it cannot send.
var aliyunStatus = map[int]string{
	1: "the account is frozen",
	2: "the account has an overdue payment",
	4: "the account may not send",
	8: "the account is deleted",
}

func aliyunForm(m *mail.Message, region string) (url.Values, error) {
	headers := map[string]string{"X-User-Notify-Relay-Id": m.ID} // the one that events bring back
	if m.MessageID != "" {
		headers["Message-ID"] = "<" + m.MessageID + ">"
	}
	for _, header := range m.Headers {
		// The service takes no others, and no more than ten.
		if strings.HasPrefix(strings.ToLower(header.Name), "x-user-") && len(headers) < 10 {
			headers[header.Name] = encodedHeader(header.Value)
		}
	}
	list, err := json.Marshal(headers)
	if err != nil {
		return nil, err
	}
	form := url.Values{
		"RegionId":            {region},
		"AccountName":         {m.From.Address},
		"AddressType":         {"1"}, // the address itself, not a random one
		"ReplyToAddress":      {"false"},
		"ToAddress":           {quotedAddress(m.To)},
		"Subject":             {m.Subject},
		"TextBody":            {m.Text},
		"ClickTrace":          {"0"},
		"UnSubscribeLinkType": {"disabled"},
		"Headers":             {string(list)},
	}
	if !m.HTML.IsEmpty() {
		form.Set("HtmlBody", m.HTML.String())
	}
	// A longer name would be refused, so that the mail goes without one. Names
	// go as they are, not encoded.
	if m.From.Name != "" && utf8.RuneCountInString(m.From.Name) <= aliyunAlias {
		form.Set("FromAlias", m.From.Name)
	}
	if m.ReplyTo.Address != "" {
		form.Set("ReplyAddress", m.ReplyTo.Address)
		if m.ReplyTo.Name != "" && utf8.RuneCountInString(m.ReplyTo.Name) <= aliyunAlias {
			form.Set("ReplyAddressAlias", m.ReplyTo.Name)
		}
	}
	return form, nil
}

// aliyunHeader are the headers of a request, all but the signature.
func aliyunHeader(host, action string, body []byte, now time.Time, nonce string) http.Header {
	return http.Header{
		"Accept":                {"application/json"},
		"Content-Type":          {"application/x-www-form-urlencoded"},
		"Host":                  {host},
		"X-Acs-Action":          {action},
		"X-Acs-Content-Sha256":  {hexSHA256(body)},
		"X-Acs-Date":            {now.UTC().Format("2006-01-02T15:04:05Z")},
		"X-Acs-Signature-Nonce": {nonce},
		"X-Acs-Version":         {"2015-11-23"},
	}
}

// aliyunAuthorization signs a POST without a query by ACS3-HMAC-SHA256.
func aliyunAuthorization(address *url.URL, header http.Header, keyID string, secret settings.Secret) string {
	var canonical strings.Builder
	canonical.WriteString("POST\n" + address.EscapedPath() + "\n\n")
	var signed []string
	for _, name := range slices.Sorted(maps.Keys(header)) {
		if name := strings.ToLower(name); name == "host" || name == "content-type" || strings.HasPrefix(name, "x-acs-") {
			signed = append(signed, name)
			canonical.WriteString(name + ":" + header.Get(name) + "\n")
		}
	}
	names := strings.Join(signed, ";")
	canonical.WriteString("\n" + names + "\n" + header.Get("X-Acs-Content-Sha256"))

	mac := hmac.New(sha256.New, []byte(secret.Reveal()))
	mac.Write([]byte("ACS3-HMAC-SHA256\n" + hexSHA256([]byte(canonical.String()))))
	return "ACS3-HMAC-SHA256 Credential=" + keyID + ",SignedHeaders=" + names + ",Signature=" + hex.EncodeToString(mac.Sum(nil))
}

func hexSHA256(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// aliyunKinds are the meanings of a Code. The statuses are of little use:
// throttling and missing permissions are 400 as well.
var aliyunKinds = map[string]Error{
	"InvalidToAddress":                   {Kind: Recipient},
	"EmailFormatError":                   {Kind: Recipient},
	"EmailLengthError":                   {Kind: Recipient},
	"InvalidToAddress.Spam":              {Kind: Recipient, Suppressed: true},
	"InvalidMailAddress.NotFound":        {Kind: Configuration, Hint: "the sender (accountName) is not set up in this region; check regionId"},
	"InvalidMailAddressStatus.Malformed": {Kind: Configuration, Hint: "the sender is frozen; see the Direct Mail console"},
	"InvalidMailAddressSendType.Malformed": {Kind: Configuration,
		Hint: "the sender is of the wrong type; use one for triggered emails"},
	"InvalidMailAddressDomain.Malformed": {Kind: Configuration, Hint: "verify the sender's domain"},
	"InvalidMailAddressName.Malformed":   {Kind: Configuration, Hint: "check accountName"},
	"InvalidUserStatus":                  {Kind: Configuration, Hint: "the account is suspended; see the Direct Mail console"},
	"InvalidUserStatus.Malformed":        {Kind: Configuration, Hint: "the account is suspended; see the Direct Mail console"},
	"InvalidTemplate.NotFound":           {Kind: Configuration},
	"InvalidReceiver.NotFound":           {Kind: Configuration},
	"InvalidReceiverName.Malformed":      {Kind: Configuration},
	"InvalidFromAlias.Malformed":         {Kind: Configuration, Hint: "the sender's name has to be shorter than 15 characters"},
	// Its limits are 100 characters and 80 KB: https://help.aliyun.com/document_detail/29444.html
	"InvalidSubject.Malformed": {Kind: Content, Filtered: true},
	"InvalidBody":              {Kind: Content, Filtered: true},
	// The service's page names account state, frequency and quota as causes, so
	// the next provider may do better.
	"InvalidSendMail.Spam":        {Kind: Configuration, Hint: "refused as spam; check the account's state, its quota and the text of the mail"},
	"Forbidden":                   {Kind: Configuration, Hint: aliyunPermission},
	"Forbidden.RAM":               {Kind: Configuration, Hint: aliyunPermission},
	"NoPermission":                {Kind: Configuration, Hint: aliyunPermission},
	"InvalidAccessKeyId.NotFound": {Kind: Configuration, Hint: "check accessKeyId"},
	"InvalidAccessKeyId.Inactive": {Kind: Configuration, Hint: "the access key is disabled"},
	"SignatureDoesNotMatch":       {Kind: Configuration, Hint: "check accessKeySecret"},
	"IncompleteSignature":         {Kind: Configuration, Hint: "check accessKeyId and accessKeySecret"},
	"InvalidTimeStamp.Expired":    {Kind: Configuration, Hint: "check the clock of this machine"},
	"InvalidTimeStamp.Format":     {Kind: Configuration},
	"SignatureNonceUsed":          {Kind: Uncertain}, // an earlier copy of this request arrived
	"MissingParameter":            {Kind: Content},
	"InvalidParameter":            {Kind: Content},
	"InternalError":               {Kind: Temporary},
	"InternalServiceError":        {Kind: Temporary},
	"ServiceUnavailable":          {Kind: Temporary},
}

const aliyunPermission = "allow dm:SingleSendMail to this key; if it is, " + addressHint +
	" (IP Protection, or a network policy of the key)"

// aliyunErrors looks at the Code alone. The Message is not for any log: that of
// SignatureDoesNotMatch quotes the whole mail.
func aliyunErrors(x *exchange) Error {
	var answer struct{ Code string }
	x.read(&answer)
	e := aliyunKinds[answer.Code]
	switch {
	case e.Kind != 0:
	case strings.Contains(answer.Code, "Quota"):
		e.Kind, e.Quota = RateLimited, true
	case strings.HasPrefix(answer.Code, "Throttling"): // .User, .Api and others
		e.Kind = RateLimited
	case aliyunOperator.MatchString(answer.Code):
		e.Kind = Configuration
	}
	e.Code = answer.Code
	return e
}

// aliyunOperator are the parts of a Code that no mail can be at fault for.
var aliyunOperator = regexp.MustCompile(`Account|Domain|MailAddress|Region|AccessKey|Permission|SecurityToken|Balance`)
