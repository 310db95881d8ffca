package handlers

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"logto-email-relay/handlers/web"
	"logto-email-relay/mail"
	"logto-email-relay/relay"
)

// webhook turns one call of Logto's into one mail. A caller who hangs up does not
// end its context: a mail under way is finished.
func (p *public) webhook(c echo.Context) error {
	ctx, cancel := context.WithTimeout(context.Background(), p.Timeout)
	defer cancel()
	request, err := p.read(c)
	if err != nil {
		return err
	}
	d := p.Relay.Deliver(ctx, request)
	p.report(c, d)
	if !d.Accepted() {
		return &web.Failure{Reason: d.Reason, Locale: d.Locale, RetryAfter: d.RetryAfter, Suggestion: d.Suggestion}
	}
	return web.AnswerJSON(c, http.StatusOK, "application/json", acceptance{d.ProviderID, d.Provider})
}

// acceptance is the answer to a webhook whose mail a provider took. Logto ignores
// it; people who try the webhook by hand do not.
type acceptance struct {
	ID       string `json:"id"`
	Provider string `json:"provider"`
}

// read makes a request of a webhook. Its error is a *web.Failure in the language that
// the payload asks for, if there is one.
func (p *public) read(c echo.Context) (relay.Request, error) {
	body, err := web.ReadJSON(c.Request())
	if err != nil {
		return relay.Request{}, err
	}
	request, refused := p.decoder.decode(body)
	if refused != nil {
		refused.Locale = p.Sentences.Locale(request.Type, request.Payload)
		return relay.Request{}, refused
	}
	request.ID, request.Tenant, request.Trace = web.RequestID(c), web.CallerOf(c).Tenant, c.(*web.Exchange).Trace
	return request, nil
}

// limitBody refuses a body that says itself that it is too large.
func (p *public) limitBody(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if refused := web.CheckLength(c.Request(), web.MaxJSON); refused != nil {
			return refused
		}
		return next(c)
	}
}

// report writes the one line of a mail and counts it. This is the edge: no
// failure on the way here has been logged.
func (p *public) report(c echo.Context, d *mail.Delivery) {
	attrs := append(make([]slog.Attr, 0, 14),
		slog.String("ref", mail.Reference(d.ID)),
		slog.String("id", d.ID),
		slog.String("type", d.Type),
		slog.String("locale", d.Locale),
		slog.String("to", mail.Mask(d.To)),
		slog.String("provider", d.Provider),
		slog.String("provider_id", d.ProviderID),
		slog.Any("attempts", attemptsOf(d)),
		slog.Float64("ms", web.Milliseconds(d.Duration)),
	)
	if d.Tenant != "" {
		attrs = append(attrs, slog.String("tenant", d.Tenant))
	}
	if d.Trace != "" {
		attrs = append(attrs, slog.String("trace", d.Trace))
	}
	if d.RedirectedTo != "" {
		attrs = append(attrs, slog.String("redirected_to", mail.Mask(d.RedirectedTo)))
	}
	ctx := c.Request().Context()
	if d.Accepted() {
		web.Log(ctx, p.Logger, slog.LevelInfo, "mail accepted", attrs...)
	} else {
		attrs = append(attrs, slog.String("error", string(d.Reason)))
		if d.Cause != "" {
			attrs = append(attrs, slog.String("cause", d.Cause))
		}
		web.Log(ctx, p.Logger, web.Severity(d.Reason), "mail failed", attrs...)
	}
	p.Metrics.mail(d)
}

// attempts are those of a mail, in its line of the log.
type attempts []attempt

// attempt is an object without what has no value.
type attempt struct {
	Provider string  `json:"provider"`
	Kind     string  `json:"kind"`
	Stage    string  `json:"stage,omitempty"`
	Code     string  `json:"code,omitempty"`
	Detail   string  `json:"detail,omitempty"`
	Hint     string  `json:"hint,omitempty"`
	MS       float64 `json:"ms"`

	of *mail.Attempt
}

func attemptsOf(d *mail.Delivery) attempts {
	list := make(attempts, len(d.Attempts))
	for i := range d.Attempts {
		a := &d.Attempts[i]
		list[i] = attempt{a.Provider, a.Kind, a.Stage, a.Code, a.Detail, a.Hint, web.Milliseconds(a.Duration), a}
	}
	return list
}

// String lists the attempts in a log of text.
func (all attempts) String() string {
	list := make([]string, len(all))
	for i, a := range all {
		list[i] = fmt.Sprintf("%s, %.0f ms: %s", a.Provider, a.MS, a.of)
	}
	return "[" + strings.Join(list, " ") + "]"
}
