package providers

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/endpointcreds"
	"github.com/aws/aws-sdk-go-v2/service/sesv2"
	"github.com/aws/aws-sdk-go-v2/service/sesv2/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"logto-email-relay/mail"
	"logto-email-relay/settings"
)

// sesSettings bear the keys of Logto's AWS SES connector, for Amazon SES, API v2:
//
//	request, answer, errors   https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html
//	account                   https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_GetAccount.html
//	identities                https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_GetEmailIdentity.html
//	allowed addresses         https://docs.aws.amazon.com/ses/latest/dg/control-user-access.html
type sesSettings struct {
	Common
	// AccessKeyID and AccessKeySecret go together. Without them the AWS default
	// chain finds credentials: environment, shared files, container, instance.
	AccessKeyID     string          `json:"accessKeyId"`
	AccessKeySecret settings.Secret `json:"accessKeySecret"`
	// Region is the AWS region, such as "eu-west-1".
	Region string `json:"region" validate:"required"`
	// EmailAddress is the sender of this provider's mails.
	EmailAddress settings.Mailbox `json:"emailAddress"`
	// EmailAddressIdentityARN is the identity whose policy lets us send as
	// EmailAddress, when it belongs to another account.
	EmailAddressIdentityARN string `json:"emailAddressIdentityArn"`
	// FeedbackForwardingEmailAddress receives bounces and complaints as mails;
	// FeedbackForwardingEmailAddressIdentityARN lets us use it when it belongs to another
	// account.
	FeedbackForwardingEmailAddress            string `json:"feedbackForwardingEmailAddress" validate:"omitempty,email"`
	FeedbackForwardingEmailAddressIdentityARN string `json:"feedbackForwardingEmailAddressIdentityArn"`
	// ConfigurationSetName is the configuration set that mails are sent with.
	ConfigurationSetName string `json:"configurationSetName"`
	// Templates are HTML, or names of templates at SES.
	Templates []storableTemplate `json:"templates" validate:"dive"`
	// EventTopicARN is the SNS topic that delivery events are taken from.
	EventTopicARN string `json:"eventTopicArn"`
}

func newSESSettings() *sesSettings { return &sesSettings{} }

var awsRegion = regexp.MustCompile(`^[a-z]{2,4}(-[a-z]+)+-\d+$`)

// Check asks for a region, and for both halves of a key or none.
func (s *sesSettings) Check() []settings.Problem {
	problems := s.checkConnection()
	if s.Region != "" && !awsRegion.MatchString(s.Region) {
		problems = append(problems, settings.Problem{Key: "region", Text: `write an AWS region such as "eu-west-1"`})
	}
	switch secret := s.AccessKeySecret.Reveal(); {
	case s.AccessKeyID == "" && secret != "":
		problems = append(problems, settings.Problem{Key: "accessKeyId",
			Text: "write it beside accessKeySecret, or leave out both"})
	case s.AccessKeyID != "" && secret == "":
		problems = append(problems, settings.Problem{Key: "accessKeySecret",
			Text: "write it beside accessKeyId, or leave out both"})
	case s.AccessKeyID != "":
		problems = append(problems, checkKey("accessKeyId", settings.NewSecret(s.AccessKeyID))...)
		problems = append(problems, checkKey("accessKeySecret", s.AccessKeySecret)...)
	}
	if s.TakesEvents() && !snsTopic.MatchString(s.EventTopicARN) {
		problems = append(problems, settings.Problem{Key: "eventTopicArn",
			Text: `write the ARN of an SNS topic such as "arn:aws:sns:eu-west-1:111122223333:mail-events"`})
	}
	for i, t := range s.Templates {
		problems = append(problems, t.check(i)...)
	}
	return problems
}

// Mails returns templates.
func (s *sesSettings) Mails() []mail.ConnectorTemplate {
	var list []mail.ConnectorTemplate
	for i, t := range s.Templates {
		list = append(list, t.mail(i, ""))
	}
	return list
}

// Sender returns emailAddress.
func (s *sesSettings) Sender() Sender { return Sender{From: s.EmailAddress} }

// Open makes the provider. Looking for credentials is left to the first mail.
func (s *sesSettings) Open() (Provider, error) {
	api, err := newAPI(s.Shared(), settings.NewSecret(s.AccessKeyID), s.AccessKeySecret)
	if err != nil {
		return nil, err
	}
	options := sesv2.Options{
		Region:     s.Region,
		HTTPClient: api.client,
		// The SDK would try a mail three times, also after it was handed over.
		Retryer: aws.NopRetryer{},
	}
	if s.AccessKeyID != "" {
		options.Credentials = credentials.NewStaticCredentialsProvider(s.AccessKeyID, s.AccessKeySecret.Reveal(), "")
	} else {
		// All mails wait for one question for credentials, which has no deadline of theirs.
		client := awshttp.NewBuildableClient().WithTimeout(credentialsTime).WithTransportOptions(api.exceptLocal)
		chain, err := config.LoadDefaultConfig(context.Background(), config.WithRegion(s.Region), config.WithHTTPClient(client),
			config.WithCredentialsCacheOptions(func(o *aws.CredentialsCacheOptions) { o.ExpiryWindow = credentialsMargin }),
			config.WithEndpointCredentialOptions(func(o *endpointcreds.Options) { o.HTTPClient = client }),
			config.WithAPIOptions([]func(*middleware.Stack) error{refuseUpgrade}))
		if err != nil {
			return nil, err
		}
		options.Credentials = chain.Credentials
	}
	if s.Endpoint != "" {
		options.BaseEndpoint = aws.String(s.endpointOr(""))
	}
	return &ses{api: api, sdk: sesv2.New(options), settings: s, certificates: newCertificates()}, nil
}

// credentialsTime bounds one question for credentials, and credentialsMargin is how long
// before their end there is another. The SDK's own five minutes are as many in which trouble
// of the endpoint would stop mails that good credentials could sign.
const (
	credentialsTime   = 6 * time.Second
	credentialsMargin = time.Minute
)

// exceptLocal sends requests for credentials through the proxy, but for those to an endpoint
// on this machine or its network, such as 169.254.169.254.
func (a *api) exceptLocal(transport *http.Transport) {
	if a.base.Proxy == nil {
		return
	}
	transport.Proxy = func(request *http.Request) (*url.URL, error) {
		host := strings.ToLower(request.URL.Hostname())
		if ip, err := netip.ParseAddr(host); settings.IsLoopback(host) || err == nil && (ip.IsLinkLocalUnicast() || ip.IsPrivate()) {
			return nil, nil
		}
		return a.base.Proxy(request)
	}
}

// refuseUpgrade keeps the default chain from reading the answer of a server that
// switches protocols, which has no end, whatever the time-out. All mails wait for
// one question for credentials at a time, so that each has to end.
func refuseUpgrade(stack *middleware.Stack) error {
	return stack.Deserialize.Add(middleware.DeserializeMiddlewareFunc("RefuseUpgrade", func(
		ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler,
	) (middleware.DeserializeOutput, middleware.Metadata, error) {
		out, metadata, err := next.HandleDeserialize(ctx, in)
		if response, ok := out.RawResponse.(*smithyhttp.Response); ok && err == nil && response.StatusCode == http.StatusSwitchingProtocols {
			_ = response.Body.Close()
			err = errors.New("the server switches protocols")
		}
		return out, metadata, err
	}), middleware.After)
}

var _ Verifier = (*ses)(nil)

type ses struct {
	*api
	sdk      *sesv2.Client // safe to share
	settings *sesSettings
	// certificates are those that SNS signs with.
	certificates *certificates
}

// Send posts the message. Accepted is a 200 with a MessageId.
func (p *ses) Send(ctx context.Context, m *mail.Message) (Receipt, error) {
	if e := checkASCII(m); e != nil {
		return Receipt{}, e
	}
	ctx, x := withExchange(ctx)
	input, err := p.input(m)
	if err != nil {
		return Receipt{}, unbuilt(err)
	}
	answer, err := p.sdk.SendEmail(ctx, input)
	if !x.begun && ctx.Err() == nil {
		return Receipt{}, sesUnsigned(err)
	}
	if e := x.refusal(m, err, func(x *exchange) Error { return sesErrors(x, err) }); e != nil {
		return Receipt{}, e
	}
	if answer == nil || aws.ToString(answer.MessageId) == "" {
		return Receipt{}, x.unreadable(m)
	}
	return x.receipt(*answer.MessageId), nil
}

// sesUnsigned judges a mail that could not be signed. Where credentials come from an
// endpoint, as those of a role do, it may be away for a moment.
func sesUnsigned(err error) *Error {
	var (
		answered interface {
			error
			HTTPStatusCode() int
		}
		network net.Error
	)
	isAway := errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
	if errors.As(err, &answered) {
		status := answered.HTTPStatusCode()
		isAway = status >= 500 || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout
	}
	if isAway {
		return &Error{Kind: Temporary, Stage: "credentials", Err: err, Momentary: true, Detail: "the endpoint of the credentials gives none now"}
	}
	return &Error{Kind: Configuration, Stage: "credentials", Err: err,
		Hint: "no request could be signed; check region, and accessKeyId and accessKeySecret or the AWS default chain"}
}

// Verify reads the state of the account in this region and, if the provider has
// a sender of its own, of its identity. A key that may only send is refused both
// by a name that no wrong key gets.
func (p *ses) Verify(ctx context.Context) (string, error) {
	asked, x := withExchange(ctx)
	account, err := p.sdk.GetAccount(asked, &sesv2.GetAccountInput{})
	if e := p.verdict(asked, x, err); e != nil {
		if e.Code == sesDenied && !strings.Contains(e.Detail, "explicit deny") { // a policy by address denies explicitly
			return "the key is good but may not read the account, so that its state is not known; allow it ses:GetAccount; or " +
				addressHint, nil
		}
		return "", e
	}
	quota := account.SendQuota
	switch {
	case quota == nil:
		return "", x.foreign()
	case aws.ToString(account.EnforcementStatus) == "SHUTDOWN", !account.SendingEnabled:
		return "", x.unfit("the account may not send in this region", "see its SES reputation page")
	case !account.ProductionAccessEnabled:
		return "", x.unfit("the account is in the sandbox, which sends to verified addresses only",
			"request production access in this region")
	case quota.Max24HourSend > 0 && quota.SentLast24Hours >= quota.Max24HourSend:
		return "", x.finish(nil, Error{Kind: RateLimited, Quota: true, Detail: "the quota of 24 hours is spent"})
	}
	return p.verifySender(ctx)
}

// verifySender looks for an identity of the sender: the address, else its domain.
func (p *ses) verifySender(ctx context.Context) (string, error) {
	address := p.settings.EmailAddress.Address.Address
	if address == "" || p.settings.EmailAddressIdentityARN != "" {
		return "", nil // not known here, or another account's
	}
	var x *exchange
	for _, identity := range []string{address, mail.Domain(address)} {
		var asked context.Context
		asked, x = withExchange(ctx)
		answer, err := p.sdk.GetEmailIdentity(asked, &sesv2.GetEmailIdentityInput{EmailIdentity: aws.String(identity)})
		e := p.verdict(asked, x, err)
		switch {
		case e == nil && answer.VerifiedForSendingStatus:
			return "", nil
		case e == nil || e.Code == "NotFoundException": // the domain may do
		case e.Code == sesDenied:
			return "the account may send; whether the sender is verified is not known; allow the key ses:GetEmailIdentity", nil
		default:
			return "", e
		}
	}
	return "", x.finish(nil, Error{Kind: Configuration, Detail: "neither the sender (emailAddress) nor its domain is a verified identity",
		Hint: "verify one of them in this region"})
}

const sesDenied = "AccessDeniedException"

// verdict is exchange.verdict for what the SDK asked.
func (p *ses) verdict(ctx context.Context, x *exchange, err error) *Error {
	if !x.begun && ctx.Err() == nil {
		return sesUnsigned(err)
	}
	if e := x.verdict(err, func(x *exchange) Error { return sesErrors(x, err) }); e != nil {
		return e
	}
	if err != nil {
		return x.foreign()
	}
	return nil
}

func (p *ses) input(m *mail.Message) (*sesv2.SendEmailInput, error) {
	content, err := sesContent(m)
	if err != nil {
		return nil, err
	}
	tags := []types.MessageTag{{Name: aws.String("relay_id"), Value: aws.String(m.ID)}}
	if tag := tag(m); tag != "" {
		tags = append(tags, types.MessageTag{Name: aws.String("type"), Value: aws.String(tag)})
	}
	input := &sesv2.SendEmailInput{
		FromEmailAddress: aws.String(mailbox(m.From)),
		Destination:      &types.Destination{ToAddresses: []string{quotedAddress(m.To)}},
		Content:          content,
		EmailTags:        tags,
		ConfigurationOverrides: &types.ConfigurationOverrides{Tracking: &types.TrackingConfigurationOverrides{
			ClickTrackingEnabled: types.FeatureStatusDisabled,
			OpenTrackingEnabled:  types.FeatureStatusDisabled,
		}},
		ConfigurationSetName:                      given(p.settings.ConfigurationSetName),
		FromEmailAddressIdentityArn:               given(p.settings.EmailAddressIdentityARN),
		FeedbackForwardingEmailAddress:            given(p.settings.FeedbackForwardingEmailAddress),
		FeedbackForwardingEmailAddressIdentityArn: given(p.settings.FeedbackForwardingEmailAddressIdentityARN),
	}
	if m.ReplyTo.Address != "" {
		input.ReplyToAddresses = []string{mailbox(m.ReplyTo)}
	}
	return input, nil
}

// sesContent is the mail, or the template at SES with its values. One that has a
// placeholder without a value is accepted, and then fails in an event.
func sesContent(m *mail.Message) (*types.EmailContent, error) {
	if m.Stored != nil {
		data, err := json.Marshal(m.Stored.Data)
		return &types.EmailContent{Template: &types.Template{TemplateName: aws.String(m.Stored.Name),
			TemplateData: aws.String(string(data)), Headers: sesHeaders(m.Headers)}}, err
	}
	utf8 := func(text string) *types.Content {
		return &types.Content{Data: aws.String(text), Charset: aws.String("UTF-8")}
	}
	body := &types.Body{Text: utf8(m.Text)}
	if !m.HTML.IsEmpty() {
		body.Html = utf8(m.HTML.String())
	}
	return &types.EmailContent{Simple: &types.Message{
		Subject: utf8(m.Subject), Body: body, Headers: sesHeaders(m.Headers)}}, nil
}

// given returns nil for a key that was not written.
func given(value string) *string {
	if value == "" {
		return nil
	}
	return &value
}

// sesHeaders leaves out what SES would refuse the whole mail for: a name over
// 126 bytes, a value over 995, both together over 996.
// https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_MessageHeader.html
func sesHeaders(headers []mail.Header) []types.MessageHeader {
	var list []types.MessageHeader
	for _, header := range headers {
		value := encodedHeader(header.Value)
		if value == "" || len(header.Name) > 126 || len(value) > 995 || len(header.Name)+len(value) > 996 {
			continue
		}
		list = append(list, types.MessageHeader{Name: aws.String(header.Name), Value: aws.String(value)})
	}
	return list
}

// sesAddress are the words in which SES complains of an address.
var sesAddress = regexp.MustCompile(`(?i)invalid email address|missing final '@domain'|missing domain|illegal address|` +
	`domain contains (illegal character|control or whitespace)|local address contains control or whitespace`)

// sesClock are the words of AWS for a signature of another time:
// https://docs.aws.amazon.com/IAM/latest/UserGuide/signature-v4-troubleshooting.html
var sesClock = regexp.MustCompile(`(?i)signature (has )?expired|signature not yet current|request has expired`)

// sesKinds are the error types that need no second look. What is not here is
// judged by the status.
var sesKinds = map[string]Kind{
	"MailFromDomainNotVerifiedException": Configuration,
	"AccountSuspendedException":          Configuration,
	"SendingPausedException":             Configuration,
	"NotFoundException":                  Configuration,
	"AccessDeniedException":              Configuration,
	"UnrecognizedClientException":        Configuration,
	"InvalidClientTokenId":               Configuration,
	"SignatureDoesNotMatch":              Configuration,
	"InvalidSignatureException":          Configuration,
	"ExpiredTokenException":              Configuration,
	"IncompleteSignature":                Configuration,
	"RequestExpired":                     Configuration,
	"ConflictException":                  Configuration,
	"TooManyRequestsException":           RateLimited,
	"LimitExceededException":             RateLimited,
	"ThrottlingException":                RateLimited,
	"Throttling":                         RateLimited,
	"ConcurrentModificationException":    Temporary,
	"InternalServiceErrorException":      Temporary,
	"ServiceUnavailable":                 Temporary,
}

const sesPermission = "allow ses:SendEmail and ses:SendRawEmail to this key; if its policy has aws:SourceIp, " +
	addressHint

var sesHints = map[string]string{
	"MailFromDomainNotVerifiedException": "finish the custom MAIL FROM domain of this identity",
	"AccountSuspendedException":          "the account may not send any more; see its SES reputation page",
	"SendingPausedException":             "sending is paused for the account or the configuration set",
	"NotFoundException":                  "check configurationSetName, region and the templates' names",
	"AccessDeniedException":              sesPermission,
	"UnrecognizedClientException":        "check accessKeyId and accessKeySecret",
	"InvalidClientTokenId":               "check accessKeyId and accessKeySecret",
	"SignatureDoesNotMatch":              "check accessKeySecret and the clock",
	"InvalidSignatureException":          "check accessKeySecret and the clock",
	"ExpiredTokenException":              "the session credentials have expired",
	"RequestExpired":                     "check the clock of this machine",
}

// sesErrors judges by the error's type, and by its words where a type stands
// for more than one thing.
func sesErrors(x *exchange, err error) Error {
	var answer smithy.APIError
	if !errors.As(err, &answer) || answer.ErrorCode() == "UnknownError" {
		return Error{} // the SDK's word for an answer that is not SES's
	}
	// Services behind other AWS front ends write "Type:url" or "namespace#Type".
	name, _, _ := strings.Cut(answer.ErrorCode(), ":")
	name = name[strings.LastIndexByte(name, '#')+1:]
	said := answer.ErrorMessage()
	e := Error{Code: name, Kind: sesKinds[name], Detail: said, Hint: sesHints[name]}
	switch name {
	case "MessageRejected":
		if strings.Contains(said, "not verified") {
			e.Kind = Configuration
			e.Hint = "verify the sender in this region; in the sandbox the recipient has to be verified too"
		} else if said == "Address blacklisted." {
			e.Kind, e.Suppressed = Recipient, true
		}
	case "BadRequestException":
		if sesAddress.MatchString(said) {
			e.Kind = Recipient
		}
	case "TooManyRequestsException", "ThrottlingException", "Throttling":
		e.Quota = strings.Contains(said, "Daily message quota exceeded")
	case "LimitExceededException":
		e.Quota = true
	case "InvalidSignatureException", "RequestExpired":
		if sesClock.MatchString(said) { // the SDK has learnt the time from this answer
			e.Kind, e.RetryAfter, e.Hint = Temporary, soonest, sesHints["RequestExpired"]
		}
	}
	return e
}
