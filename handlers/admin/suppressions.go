package admin

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/labstack/echo/v4"

	"logto-email-relay/deliveries"
	"logto-email-relay/handlers/web"
	"logto-email-relay/mail"
	"logto-email-relay/settings"
)

const (
	suppressionsPath = "/suppressions"
	// liftTimeout bounds the requests to the providers when an address is lifted.
	liftTimeout = 10 * time.Second
	// usualSuppression is how long an address is suppressed by hand, unless said
	// otherwise.
	usualSuppression = 24 * time.Hour
)

// Suppressions are the addresses that get no mails for a while.
type Suppressions interface {
	// Suppressions returns those that hold now, newest first; only that of one address,
	// unless it is empty.
	Suppressions(ctx context.Context, to string) ([]deliveries.Suppression, error)
	Suppress(ctx context.Context, to string, length time.Duration, note string) error
	// Lift tells whether the address was suppressed.
	Lift(ctx context.Context, to string) (bool, error)
}

// suppressionPages show and change the list. lift takes an address off the lists of
// the providers' services, and returns what each of them said.
type suppressionPages struct {
	list Suppressions
	lift func(ctx context.Context, address string) map[string]string
}

type suppressionJSON struct {
	To       string    `json:"to"`
	Reason   string    `json:"reason"`
	Provider string    `json:"provider"`
	Since    time.Time `json:"since"`
	Until    time.Time `json:"until"`
}

func (p suppressionPages) show(c echo.Context) error {
	ctx, cancel := context.WithTimeout(c.Request().Context(), searchTimeout)
	defer cancel()
	found, err := p.list.Suppressions(ctx, c.QueryParam("to"))
	if err != nil {
		return recordFailure(err)
	}
	answer := struct {
		Suppressions []suppressionJSON `json:"suppressions"`
	}{make([]suppressionJSON, len(found))}
	for i, s := range found {
		answer.Suppressions[i] = suppressionJSON(s)
	}
	return answerRecord(c, answer)
}

// add takes {"to": …, "for": "24h", "note": …}.
func (p suppressionPages) add(c echo.Context) error {
	body, err := web.ReadJSON(c.Request()) // no form of another site can send JSON
	if err != nil {
		return err
	}
	var asked struct {
		To   string            `json:"to"`
		For  settings.Duration `json:"for"`
		Note string            `json:"note"`
	}
	asked.For = settings.Duration(usualSuppression)
	if json.Unmarshal(body, &asked) != nil || asked.For == 0 {
		return &web.Failure{Reason: web.Malformed, Detail: `the body is not an object such as {"to": "ada@example.com", "for": "24h", "note": "…"}`}
	}
	to, err := mail.ParseRecipient(asked.To)
	if err != nil {
		return &web.Failure{Reason: web.Invalid, Detail: err.Error()}
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), searchTimeout)
	defer cancel()
	if err := p.list.Suppress(ctx, to, time.Duration(asked.For), asked.Note); err != nil {
		return recordFailure(err)
	}
	c.Response().Header().Set("Cache-Control", "no-store")
	return c.NoContent(http.StatusCreated)
}

// remove lifts an address here and at the services: as long as one of theirs has it on
// its list, it takes the mail and does not send it.
func (p suppressionPages) remove(c echo.Context) error {
	address, err := url.PathUnescape(c.Param("address"))
	if err != nil {
		return &web.Failure{Reason: web.Malformed, Detail: "the address in the path is not escaped as it should be"}
	}
	to, err := mail.ParseRecipient(address)
	if err != nil {
		return &web.Failure{Reason: web.Invalid, Detail: err.Error()}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Request().Context()), liftTimeout)
	defer cancel()
	lifted, err := p.list.Lift(ctx, to)
	if err != nil {
		return recordFailure(err)
	}
	return answerRecord(c, struct {
		Lifted    bool              `json:"lifted"`
		Providers map[string]string `json:"providers"`
	}{lifted, p.lift(ctx, to)})
}
