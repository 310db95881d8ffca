package providers

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sesv2"

	"logto-email-relay/mail"
)

// Amazon SES publishes events to a topic of Amazon SNS, which calls us:
//
//	events       https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html
//	signature    https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
//	subscribing  https://docs.aws.amazon.com/sns/latest/dg/SendMessageToHttp.prepare.html
//
// An answer of 4xx is final for SNS; it comes again after 5xx only.
const (
	// snsRetries is how long SNS tries to report, and as much again.
	snsRetries = 2 * time.Hour
	// snsFetch bounds the request for a certificate or a confirmation. SNS itself
	// waits 15 s for its answer.
	snsFetch = 5 * time.Second
	// maxCertificates bounds those that are kept. A region has one at a time.
	maxCertificates = 8
)

var (
	snsTopic = regexp.MustCompile(`^arn:(aws[a-z-]*):sns:([a-z0-9-]+):\d{12}:[A-Za-z0-9_-]+$`)
	snsPath  = regexp.MustCompile(`^/SimpleNotificationService-[0-9A-Za-z]+\.pem$`)
)

// snsHost is where SNS is for a topic: in its region. A pattern of regions would not do:
// sns.s3-eu-west-1.amazonaws.com is the bucket of whoever took the name "sns".
func snsHost(topic string) string {
	found := snsTopic.FindStringSubmatch(topic)
	if found == nil {
		return ""
	}
	domain := "amazonaws.com"
	switch found[1] {
	case "aws-cn":
		domain = "amazonaws.com.cn"
	case "aws-eusc": // the European Sovereign Cloud
		domain = "amazonaws.eu"
	}
	return "sns." + found[2] + "." + domain
}

// TakesEvents tells whether there is a topic.
func (s *sesSettings) TakesEvents() bool { return s.EventTopicARN != "" }

var _ EventReceiver = (*ses)(nil)

// snsMessage is what SNS posts. What SES says is in Message, as a text.
type snsMessage struct {
	Type             string
	MessageID        string `json:"MessageId"`
	TopicARN         string `json:"TopicArn"`
	Subject          *string
	Message          string
	Timestamp        string
	SignatureVersion string
	Signature        string
	SigningCertURL   string
	SubscribeURL     string
	Token            string
}

// Events verifies the signature. That proves that it comes from some topic of
// SNS: everybody can have one and subscribe us to it. So the topic counts as well.
func (p *ses) Events(ctx context.Context, header http.Header, body []byte, now time.Time) ([]mail.Report, error) {
	var m snsMessage
	switch err := json.Unmarshal(body, &m); {
	case header.Get("X-Amz-Sns-Rawdelivery") == "true":
		return nil, snsRefusal("raw message delivery is on, which drops the signature: switch it off in the subscription")
	case err != nil || m.Type == "":
		return nil, snsRefusal("the body is not a message of SNS")
	case p.settings.EventTopicARN == "" || m.TopicARN != p.settings.EventTopicARN:
		return nil, snsRefusal("it is another topic than eventTopicArn")
	}
	at, err := time.Parse(time.RFC3339, m.Timestamp)
	if err != nil || !isCurrent(at, now, snsRetries) {
		return nil, snsRefusal(tooOld)
	}
	if err := p.verifySNS(ctx, &m, now); err != nil {
		return nil, err
	}
	switch m.Type {
	case "SubscriptionConfirmation":
		return nil, p.confirm(ctx, &m)
	case "Notification":
		return sesReports(&m, at), nil
	}
	return nil, nil // the end of a subscription
}

func snsRefusal(detail string) *EventError {
	return &EventError{Status: http.StatusForbidden, Detail: detail}
}

// signed is the text that a message's signature is of.
func (m *snsMessage) signed() string {
	var text strings.Builder
	line := func(key, value string) { text.WriteString(key + "\n" + value + "\n") }
	line("Message", m.Message)
	line("MessageId", m.MessageID)
	if m.Type == "Notification" {
		if m.Subject != nil {
			line("Subject", *m.Subject)
		}
	} else {
		line("SubscribeURL", m.SubscribeURL)
	}
	line("Timestamp", m.Timestamp)
	if m.Type != "Notification" {
		line("Token", m.Token)
	}
	line("TopicArn", m.TopicARN)
	line("Type", m.Type)
	return text.String()
}

// verifySNS checks the signature by the certificate that the message names.
func (p *ses) verifySNS(ctx context.Context, m *snsMessage, now time.Time) error {
	signature, err := base64.StdEncoding.DecodeString(m.Signature)
	if err != nil {
		return snsRefusal("the signature is missing")
	}
	var hash crypto.Hash
	var sum []byte
	switch m.SignatureVersion {
	case "1":
		all := sha1.Sum([]byte(m.signed())) // what topics sign with unless they are told otherwise
		hash, sum = crypto.SHA1, all[:]
	case "2":
		all := sha256.Sum256([]byte(m.signed()))
		hash, sum = crypto.SHA256, all[:]
	default:
		return snsRefusal("the signature is of a version that is not known")
	}
	key, err := p.certificate(ctx, m.SigningCertURL, now)
	if err != nil {
		return err
	}
	if rsa.VerifyPKCS1v15(key, hash, sum, signature) != nil {
		return snsRefusal("the signature is not by SNS")
	}
	return nil
}

// certificates are those that were fetched, by their addresses.
type certificates struct {
	fetching chan struct{} // holds a value while one is fetched
	mu       sync.Mutex
	known    map[string]*x509.Certificate
}

func newCertificates() *certificates {
	return &certificates{fetching: make(chan struct{}, 1), known: make(map[string]*x509.Certificate)}
}

func (c *certificates) get(address string) *x509.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known[address]
}

func (c *certificates) keep(address string, certificate *x509.Certificate) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.known) >= maxCertificates {
		clear(c.known)
	}
	c.known[address] = certificate
}

// certificate returns the key of the certificate at an address of SNS's own, which is
// fetched once. That the host proves itself by TLS is what makes the certificate
// Amazon's: the names in it differ by region, and it comes without those above it.
func (p *ses) certificate(ctx context.Context, address string, now time.Time) (*rsa.PublicKey, error) {
	// As a text: what stands behind the path would make one certificate many.
	path, isThere := strings.CutPrefix(address, "https://"+snsHost(p.settings.EventTopicARN))
	if !isThere || !snsPath.MatchString(path) {
		return nil, snsRefusal("the certificate is not at the host of SNS")
	}
	found := p.certificates.get(address)
	if found == nil {
		var err error
		if found, err = p.fetchCertificate(ctx, address); err != nil {
			return nil, &EventError{Status: http.StatusServiceUnavailable, Detail: "the certificate of SNS cannot be fetched: " + networkWords(err), Err: err}
		}
	}
	key, ok := found.PublicKey.(*rsa.PublicKey)
	if !ok || now.Before(found.NotBefore) || now.After(found.NotAfter) {
		return nil, snsRefusal("the certificate of SNS is not valid now")
	}
	return key, nil
}

// fetchCertificate fetches one certificate at a time.
func (p *ses) fetchCertificate(ctx context.Context, address string) (*x509.Certificate, error) {
	c := p.certificates
	select {
	case c.fetching <- struct{}{}:
		defer func() { <-c.fetching }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if found := c.get(address); found != nil { // meanwhile
		return found, nil
	}
	body, err := p.fetch(ctx, address)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(body)
	if block == nil {
		return nil, errors.New("it is not PEM")
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, errors.New("it cannot be read")
	}
	c.keep(address, certificate)
	return certificate, nil
}

// fetch gets what is at an address, the way that mails go.
func (p *ses) fetch(ctx context.Context, address string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, snsFetch)
	defer cancel()
	x, err := p.request(ctx, http.MethodGet, address, http.Header{}, nil)
	if err == nil && x.status != http.StatusOK {
		err = errors.New("it answers " + http.StatusText(x.status))
	}
	return x.body, err
}

// confirm accepts a subscription of the topic.
func (p *ses) confirm(ctx context.Context, m *snsMessage) error {
	u, err := url.Parse(m.SubscribeURL)
	if err != nil || u.Scheme != "https" || u.User != nil || u.Host != snsHost(p.settings.EventTopicARN) || u.Path != "/" ||
		u.Query().Get("Action") != "ConfirmSubscription" || u.Query().Get("TopicArn") != p.settings.EventTopicARN {
		return snsRefusal("the confirmation is not at the host of SNS, or of another topic")
	}
	if _, err := p.fetch(ctx, u.String()); err != nil {
		return &EventError{Status: http.StatusServiceUnavailable, Detail: "the subscription cannot be confirmed: " + networkWords(err), Err: err}
	}
	return nil
}

// sesEvent is an event by a configuration set or, with notificationType, by an
// identity, which bears no tags.
type sesEvent struct {
	EventType, NotificationType loose
	Mail                        struct {
		MessageID   loose `json:"messageId"`
		Destination []loose
		Tags        struct {
			RelayID []loose `json:"relay_id"`
		}
	}
	Bounce struct {
		BounceType, BounceSubType, Timestamp loose
		BouncedRecipients                    []sesRecipient
	}
	Complaint struct {
		ComplaintSubType, ComplaintFeedbackType, Timestamp loose
	}
	Delivery struct {
		SMTPResponse, Timestamp loose
	}
	DeliveryDelay struct {
		DelayType, Timestamp loose
		DelayedRecipients    []sesRecipient
	}
	Reject  struct{ Reason loose }
	Failure struct{ ErrorMessage loose }
}

// sesRecipient is whom a bounce is about. Where there was a report, it is the one of that,
// who is another than the mail's where that was forwarded.
type sesRecipient struct{ EmailAddress, Status, DiagnosticCode loose }

// emailAddresses are without the type that they have in a report.
func emailAddresses(recipients []sesRecipient) []string {
	var all []loose
	for _, r := range recipients {
		_, address, hasType := strings.Cut(string(r.EmailAddress), ";")
		if !hasType {
			address = string(r.EmailAddress)
		}
		all = append(all, loose(strings.Trim(address, "<> ")))
	}
	return recipientsOf(all...)
}

func wordsOf(recipients []sesRecipient) (words []loose) {
	for _, r := range recipients {
		words = append(words, r.Status, r.DiagnosticCode)
	}
	return words
}

// sesReports reads what SES says. The first message of a topic is a sentence.
func sesReports(m *snsMessage, published time.Time) []mail.Report {
	var e sesEvent
	if json.Unmarshal([]byte(m.Message), &e) != nil {
		return nil
	}
	var status mail.Status
	var soft bool
	var at loose
	var kind loose
	var details []loose
	switch e.EventType + e.NotificationType {
	case "Delivery":
		status, at = mail.StatusDelivered, e.Delivery.Timestamp
		details = []loose{e.Delivery.SMTPResponse}
	case "DeliveryDelay":
		status, at = mail.StatusDeferred, e.DeliveryDelay.Timestamp
		kind, details = e.DeliveryDelay.DelayType, wordsOf(e.DeliveryDelay.DelayedRecipients)
	case "Bounce":
		status, at = mail.StatusBounced, e.Bounce.Timestamp
		switch {
		case strings.Contains(string(e.Bounce.BounceSubType), "Suppress"): // or OnAccountSuppressionList
			status = mail.StatusSuppressed
		case e.Bounce.BounceType != "Permanent":
			soft = true
		}
		kind, details = e.Bounce.BounceType+e.Bounce.BounceSubType, wordsOf(e.Bounce.BouncedRecipients)
	case "Complaint":
		status, at = mail.StatusComplained, e.Complaint.Timestamp
		switch e.Complaint.ComplaintFeedbackType {
		case "", "abuse", "fraud", "opt-out":
		default: // such as not-spam, and auth-failure, which is about the sender
			return nil
		}
		if strings.Contains(string(e.Complaint.ComplaintSubType), "Suppress") {
			status = mail.StatusSuppressed
		}
		kind = e.Complaint.ComplaintSubType + e.Complaint.ComplaintFeedbackType
	case "Reject":
		status = mail.StatusFailed
		details = []loose{e.Reject.Reason}
	case "Rendering Failure":
		status = mail.StatusFailed
		details = []loose{e.Failure.ErrorMessage}
	default:
		return nil
	}
	id := ""
	if len(e.Mail.Tags.RelayID) > 0 {
		id = string(e.Mail.Tags.RelayID[0])
	}
	bounced := emailAddresses(e.Bounce.BouncedRecipients)
	// Words may be about either: the mail's own, and the one that it was forwarded to.
	recipients := slices.Concat(recipientsOf(e.Mail.Destination...), bounced, emailAddresses(e.DeliveryDelay.DelayedRecipients))
	r := report(id, string(e.Mail.MessageID), m.MessageID, moment(string(at), published), status, soft, recipients, kind, details...)
	r.To = bounced
	switch e.Bounce.BounceSubType {
	case "MailboxFull":
		r.Ours = false
	case "MessageTooLarge", "ContentRejected", "AttachmentRejected":
		r.Ours = r.Soft
	default: // without words mostly an automatic answer of somebody who is away, or a time that is over
		r.Ours = r.Soft && (r.Ours || joined(details) == "")
	}
	return []mail.Report{r}
}

var _ Lifter = (*ses)(nil)

// Lift takes an address off the list of the account in this region:
// https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_DeleteSuppressedDestination.html
func (p *ses) Lift(ctx context.Context, address string) error {
	asked, x := withExchange(ctx)
	_, err := p.sdk.DeleteSuppressedDestination(asked, &sesv2.DeleteSuppressedDestinationInput{EmailAddress: aws.String(address)})
	e := p.verdict(asked, x, err)
	switch {
	case e == nil || e.Code == "NotFoundException": // not on it
		return nil
	case e.Code == sesDenied:
		e.Hint = "allow this key ses:DeleteSuppressedDestination"
	}
	return e
}
