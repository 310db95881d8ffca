package commands

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"logto-email-relay/mail"
	"logto-email-relay/settings"
)

// maxShown bounds what is shown of somebody else's text, in characters.
const maxShown = 300

type callCommand struct {
	URL           string
	Authorization string
	TenantCheck   bool
	To            string
	Timeout       time.Duration
}

func newCall(s *environment) *cobra.Command {
	var cmd callCommand
	c := &cobra.Command{
		Use: "call URL --authorization VALUE", Short: "Call a relay through its public address as Logto does, and tell what is wrong",
		Args: cobra.ExactArgs(1),
		RunE: s.runs(func(args []string) error {
			cmd.URL = args[0]
			return cmd.run(s)
		}),
	}
	flags := c.Flags()
	flags.StringVar(&cmd.Authorization, "authorization", "", "the `VALUE` of the Authorization header, as it stands in Logto's connector; it is never printed")
	flags.BoolVar(&cmd.TenantCheck, "tenant-check", false, "ask that the relay takes the value for that of a tenant, and show which")
	flags.StringVar(&cmd.To, "to", "", "send a test mail to this `ADDRESS`; without it no mail is sent")
	flags.DurationVar(&cmd.Timeout, "timeout", 8*time.Second, "how long to wait for the answer")
	require(c, "authorization")
	c.PreRunE = func(*cobra.Command, []string) error {
		if cmd.To = mail.Copied(cmd.To); flags.Changed("to") && cmd.To == "" { // such as a variable that is not set
			return errors.New("an argument is empty: --to")
		}
		return nil
	}
	return c
}

// run calls a relay through its public address as Logto's console does for a test
// mail. Without --to the request has no recipient: a relay that refuses it for that
// has taken the address, the authorization, the path and the body.
func (cmd callCommand) run(s *environment) error {
	endpoint, err := cmd.check()
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	ctx, cancel := context.WithTimeout(s.ctx, cmd.Timeout)
	defer cancel()
	start := time.Now()
	a, err := cmd.ask(ctx, endpoint)
	if (err != nil || a.word == "" && a.StatusCode == http.StatusBadRequest) && endpoint.Scheme == "http" && speaksTLS(ctx, endpoint) {
		return errors.New("this port speaks TLS, and the URL says http: write https into the endpoint")
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "address: %s\n", a.address)
	if a.TLS != nil {
		fmt.Fprintf(s.out, "certificate: trusted, until %s\n", a.TLS.PeerCertificates[0].NotAfter.UTC().Format(time.DateOnly))
	}
	fmt.Fprintf(s.out, "answer: %s after %v\n", strings.TrimSpace(fmt.Sprint(a.StatusCode, " ", cmd.show(a.word))), time.Since(start).Round(time.Millisecond))
	tenant := cmd.show(a.Header.Get("X-Relay-Tenant"))
	if tenant != "" {
		fmt.Fprintf(s.out, "tenant: %s\n", tenant)
	}
	if a.StatusCode >= 400 {
		fmt.Fprintf(s.out, "sign-in page: %s\n", cmd.wrap(a.body))
	}
	if err := cmd.judge(a); err != nil {
		return err
	}
	if cmd.TenantCheck && tenant == "" {
		return errors.New(`the relay takes this value for no tenant's: name it in server.authorization, such as {"tenant": "eu", "value": "Bearer …"}`)
	}
	told := "address, authorization, path and body are fine. No mail was sent; --to ADDRESS sends one."
	if cmd.To != "" {
		told = "a provider accepted the test mail, whose code is 000000."
	}
	_, err = fmt.Fprintln(s.out, "All is well:", told)
	return err
}

// check reads the command line. Its errors quote nothing.
func (cmd callCommand) check() (*url.URL, error) {
	endpoint, err := url.Parse(cmd.URL)
	switch {
	case err != nil || endpoint.Scheme != "http" && endpoint.Scheme != "https" || endpoint.Hostname() == "":
		return nil, errors.New("write the whole endpoint, such as https://relay.example.com/logto/email")
	case endpoint.User != nil:
		return nil, errors.New("the endpoint has a user in it, which would replace the Authorization Header: take it out")
	case strings.ContainsFunc(cmd.Authorization, unicode.IsControl):
		return nil, errors.New("--authorization: there is a line break or another control character in it")
	case cmd.Timeout <= 0:
		return nil, errors.New("--timeout: write a time above 0, such as 8s")
	case cmd.To == "":
		return endpoint, nil
	}
	if _, err = mail.ParseRecipient(cmd.To); err != nil {
		err = fmt.Errorf("--to: %w", err)
	}
	return endpoint, err
}

// answer is what came back.
type answer struct {
	*http.Response
	body    string
	word    string // the relay's own for a failure; empty in other answers
	address string
}

// ask posts the console's test mail over HTTP/1.1, without a proxy of this machine's,
// and follows no redirect.
func (cmd callCommand) ask(ctx context.Context, endpoint *url.URL) (*answer, error) {
	var stage, address atomic.Value // how far it came, for a call that takes too long
	stage.Store("nothing took the connection: look at the address, the port and the firewall")
	trace := &httptrace.ClientTrace{
		TLSHandshakeStart: func() {
			stage.Store("the connection was taken and no TLS came: look whether this port speaks TLS")
		},
		GotConn: func(taken httptrace.GotConnInfo) {
			stage.Store("the request was taken and no whole answer came: look at the proxy's way to the relay, and at the relay's log")
			address.Store(taken.Conn.RemoteAddr().String())
		},
	}
	to, _ := json.Marshal(cmd.To) // a text always can be
	body := `{"to":` + string(to) + `,"type":"Generic","payload":{"code":"000000"}}`
	request, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, trace), http.MethodPost, endpoint.String(), strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("User-Agent", "got (https://github.com/sindresorhus/got)")
	request.Header.Set("Content-Type", "application/json")
	if cmd.Authorization != "" {
		request.Header.Set("Authorization", cmd.Authorization)
	}
	transport := &http.Transport{TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{}} // no HTTP/2
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(request)
	var text []byte
	if err == nil {
		defer func() { _ = response.Body.Close() }()
	}
	// What follows a switch of protocols is no answer, and goes on after the deadline.
	if err == nil && response.StatusCode != http.StatusSwitchingProtocols {
		text, err = io.ReadAll(io.LimitReader(response.Body, 64<<10))
	}
	if err != nil {
		return nil, cmd.unreachable(ctx, err, settings.Printable(endpoint.Hostname(), 253), stage.Load().(string))
	}
	return &answer{response, string(text), response.Header.Get("X-Relay-Error"), address.Load().(string)}, nil
}

// speaksTLS tells whether a port that was asked for http wants https. No certificate
// is looked at, and nothing is sent.
func speaksTLS(ctx context.Context, endpoint *url.URL) bool {
	dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, ServerName: endpoint.Hostname()}}
	connection, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(endpoint.Hostname(), cmp.Or(endpoint.Port(), "80")))
	if err != nil {
		return false
	}
	_ = connection.Close()
	return true
}

// unreachable says why there is no answer.
func (cmd callCommand) unreachable(ctx context.Context, err error, host, stage string) error {
	var (
		dns      *net.DNSError
		unknown  x509.UnknownAuthorityError
		wrong    x509.HostnameError
		unusable x509.CertificateInvalidError
		noTLS    tls.RecordHeaderError
		failed   *net.OpError
	)
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return fmt.Errorf("DNS knows no host %s: look for typos in the endpoint, or add the record", host)
	case errors.As(err, &dns):
		return fmt.Errorf("DNS does not say where %s is: look whether the name servers of this machine and of the domain answer", host)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("no answer within %v: %s", cmd.Timeout, stage)
	case errors.As(err, &unusable) && unusable.Reason == x509.Expired:
		return fmt.Errorf("the certificate is valid from %s to %s only: renew it, let the proxy load it, and look at this machine's clock",
			unusable.Cert.NotBefore.UTC().Format(time.DateOnly), unusable.Cert.NotAfter.UTC().Format(time.DateOnly))
	case errors.As(err, &wrong):
		return fmt.Errorf("the certificate is for other hosts (%s) and not for %s: get one for it, or write the other name into the endpoint",
			cmp.Or(settings.Printable(strings.Join(wrong.Certificate.DNSNames, ", "), maxShown), "none"), host)
	case errors.As(err, &unknown):
		return errors.New("no authority that is known here vouches for the certificate: use one of a public authority, and let the proxy send the whole chain")
	case errors.As(err, &noTLS):
		return errors.New("this port speaks no TLS, and the URL says https: write the port of the proxy that does")
	case errors.As(err, &failed) && failed.Op == "dial":
		return fmt.Errorf("no connection (%s): nothing listens at this address and port, or a firewall is in the way, so start the proxy and the relay, or correct the endpoint",
			cmd.show(failed.Err.Error()))
	}
	return fmt.Errorf("the connection broke without a whole answer: %s; look at the log of the proxy", cmd.show(err.Error()))
}

// judge returns what is wrong with an answer, nil if nothing is.
func (cmd callCommand) judge(a *answer) error {
	var accepted struct{ ID, Provider string }
	switch {
	case a.StatusCode >= 300 && a.StatusCode < 400:
		return fmt.Errorf("the endpoint redirects to %q, and a relay never does: write the place that answers itself into Logto's connector",
			cmd.show(a.Header.Get("Location")))
	case a.word == "invalid" && cmd.To == "":
		return nil
	case a.word != "":
		return fmt.Errorf("the relay answers %d %s: %s", a.StatusCode, cmd.show(a.word),
			cmp.Or(advice[a.word], "look for the reference in the relay's log; docs/operations.md tells what the word means"))
	case cmd.To != "" && a.StatusCode == http.StatusOK && json.Unmarshal([]byte(a.body), &accepted) == nil && accepted.ID != "" && accepted.Provider != "":
		return nil
	}
	kind := a.Header.Get("Content-Type")
	if strings.HasPrefix(kind, "text/html") {
		kind = "a page of HTML"
	}
	return fmt.Errorf("the answer is not the relay's (%d, %s, from %s): %s", a.StatusCode,
		cmp.Or(cmd.show(kind), "no Content-Type"), cmp.Or(cmd.show(a.Header.Get("Server")), "a server without a name"),
		cmp.Or(foreignAdvice[a.StatusCode], "another server answers, and no mail would be sent; correct host, port and path, or the proxy's rule for the path"))
}

// advice is what to do about a failure that the relay tells, by its word.
var advice = map[string]string{
	"unauthorized": "the value of --authorization is none of server.authorization; the relay's log says how it differs",
	"forbidden":    "this machine's address is not in server.allowedIPs, or the proxy does not pass it on; call from where Logto runs, and look at the relay's log",
	"not_found":    "the endpoint has to end with /logto/email; if it does, the proxy changes the path",
	"rate_limited": "too many mails went to this address, or too many wrong values came from this machine's; correct --authorization if that may be it, or wait",
	"malformed":    "the proxy changes the body; let it pass the request on as it is",
}

// foreignAdvice is what to do about an answer of somebody else's, by its status.
var foreignAdvice = map[int]string{
	http.StatusUnauthorized:       "a proxy wants an authorization of its own; let it ask for none at this path",
	http.StatusForbidden:          "a proxy or firewall refuses the call; let it pass at this path",
	http.StatusBadGateway:         proxyAlone,
	http.StatusServiceUnavailable: proxyAlone,
	http.StatusGatewayTimeout:     proxyAlone,
}

const proxyAlone = "the proxy gets no answer of the relay; look whether it runs and where the proxy sends requests"

// show puts a text of somebody else's on one short line, without the secret, which
// it may quote.
func (cmd callCommand) show(text string) string {
	secret := strings.TrimSpace(cmd.Authorization)
	bare := secret[strings.LastIndexByte(secret, ' ')+1:]
	if bare != "" {
		text = strings.NewReplacer(secret, "[authorization]", bare, "[authorization]", url.QueryEscape(bare), "[authorization]").Replace(text)
	}
	return settings.Printable(strings.Join(strings.Fields(text), " "), maxShown)
}

// wrap frames the body of a failing answer as Logto's sign-in page does in English.
func (cmd callCommand) wrap(body string) string {
	var framed strings.Builder
	encoder := json.NewEncoder(&framed)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(map[string]string{"message": cmd.show(body)}) // a text always can be
	return "Error occurred in connector: " + strings.TrimSpace(framed.String())
}
