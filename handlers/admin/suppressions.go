package admin

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/labstack/echo/v4"

	"logto-email-relay/deliveries"
	"logto-email-relay/handlers/web"
	"logto-email-relay/mail"
	"logto-email-relay/settings"
)

const (
	suppressionsPath = "/suppressions"
	liftPath         = suppressionsPath + "/lift"
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
	pages *pages
	list  Suppressions
	lift  func(ctx context.Context, address string) map[string]string
}

// suppressionList is what the page shows.
type suppressionList struct {
	Found []suppressionRow
	// Search is whose suppression is asked for; empty for all.
	Search string
	// Done is what has just been done, and Problem why nothing was.
	Done    *suppressionDone
	Problem string
	// To, For and Note are what was entered in vain.
	To, For, Note string
}

type suppressionRow struct {
	deliveries.Suppression
	// Masked tells that the address is not known in full, so that it has to be entered.
	Masked bool
}

// suppressionDone is an address that was added, or lifted with what each provider said.
type suppressionDone struct {
	To            string
	Added, Lifted bool
	Until         time.Time
	Providers     map[string]string
}

type suppressionJSON struct {
	To       string    `json:"to"`
	Reason   string    `json:"reason"`
	Provider string    `json:"provider"`
	Since    time.Time `json:"since"`
	Until    time.Time `json:"until"`
}

func (p suppressionPages) show(c echo.Context) error {
	if web.WantsHTML(c.Request().Header) {
		return p.page(c, http.StatusOK, suppressionList{Search: addressAsked(c)})
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), searchTimeout)
	defer cancel()
	found, err := p.list.Suppressions(ctx, addressAsked(c))
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

// page shows the list as it is now.
func (p suppressionPages) page(c echo.Context, code int, shown suppressionList) error {
	ctx, cancel := context.WithTimeout(c.Request().Context(), searchTimeout)
	defer cancel()
	found, err := p.list.Suppressions(ctx, shown.Search)
	if err != nil {
		return recordFailure(err)
	}
	for _, s := range found {
		shown.Found = append(shown.Found, suppressionRow{s, isMasked(s.To)})
	}
	return p.pages.show(c, code, "suppressions", page{Title: "Suppressions", Path: suppressionsPath, Content: shown})
}

// wanted is an address that somebody wants to be suppressed.
type wanted struct {
	To   string            `json:"to"`
	For  settings.Duration `json:"for"`
	Note string            `json:"note"`
}

func (p suppressionPages) suppress(c echo.Context, asked wanted) (to string, err error) {
	if to, err = mail.ParseRecipient(asked.To); err != nil {
		return "", &web.Failure{Reason: web.Invalid, Detail: err.Error()}
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), searchTimeout)
	defer cancel()
	if err := p.list.Suppress(ctx, to, time.Duration(asked.For), asked.Note); err != nil {
		return "", recordFailure(err)
	}
	return to, nil
}

// add takes {"to": …, "for": "24h", "note": …}, or the same from the form of the page.
func (p suppressionPages) add(c echo.Context) error {
	if isForm(c.Request()) {
		return p.addForm(c)
	}
	body, err := web.ReadJSON(c.Request())
	if err != nil {
		return err
	}
	asked := wanted{For: settings.Duration(usualSuppression)}
	if json.Unmarshal(body, &asked, json.RejectUnknownMembers(true)) != nil || asked.For == 0 {
		return &web.Failure{Reason: web.Malformed, Detail: `the body is not an object such as {"to": "ada@example.com", "for": "24h", "note": "…"}`}
	}
	if _, err := p.suppress(c, asked); err != nil {
		return err
	}
	c.Response().Header().Set("Cache-Control", "no-store")
	return c.NoContent(http.StatusCreated)
}

func (p suppressionPages) addForm(c echo.Context) error {
	values, err := readForm(c.Request())
	if err != nil {
		return err
	}
	again := suppressionList{To: values.Get("to"), For: values.Get("for"), Note: values.Get("note")}
	asked := wanted{To: strings.TrimSpace(again.To), Note: again.Note}
	if asked.For.UnmarshalText([]byte(strings.TrimSpace(again.For))) != nil || asked.For <= 0 {
		again.Problem = "Nothing was added: write the time as 24h or 30d."
		return p.page(c, http.StatusUnprocessableEntity, again)
	}
	to, err := p.suppress(c, asked)
	if err != nil && web.AsFailure(err).Reason == web.Invalid {
		again.Problem = "Nothing was added: that is not one address."
		return p.page(c, http.StatusUnprocessableEntity, again)
	}
	if err != nil {
		return err
	}
	return p.page(c, http.StatusOK, suppressionList{Done: &suppressionDone{To: to, Added: true, Until: time.Now().Add(time.Duration(asked.For))}})
}

// remove lifts an address for a program.
func (p suppressionPages) remove(c echo.Context) error {
	address, err := url.PathUnescape(c.Param("address"))
	if err != nil {
		return &web.Failure{Reason: web.Malformed, Detail: "the address in the path is not escaped as it should be"}
	}
	done, err := p.liftAddress(c, address)
	if err != nil {
		return err
	}
	return answerRecord(c, struct {
		Lifted    bool              `json:"lifted"`
		Providers map[string]string `json:"providers"`
	}{done.Lifted, done.Providers})
}

// liftForm lifts an address for a person.
func (p suppressionPages) liftForm(c echo.Context) error {
	values, err := readForm(c.Request())
	if err != nil {
		return err
	}
	done, err := p.liftAddress(c, strings.TrimSpace(values.Get("to")))
	if err != nil && web.AsFailure(err).Reason == web.Invalid {
		return p.page(c, http.StatusUnprocessableEntity, suppressionList{Problem: "Nothing was lifted: that is not one address."})
	}
	if err != nil {
		return err
	}
	return p.page(c, http.StatusOK, suppressionList{Done: done})
}

// liftAddress lifts an address here and at the services: as long as one of theirs has it on
// its list, it takes the mail and does not send it.
func (p suppressionPages) liftAddress(c echo.Context, address string) (*suppressionDone, error) {
	to, err := mail.ParseRecipient(address)
	if err != nil {
		return nil, &web.Failure{Reason: web.Invalid, Detail: err.Error()}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Request().Context()), liftTimeout)
	defer cancel()
	lifted, err := p.list.Lift(ctx, to)
	if err != nil {
		return nil, recordFailure(err)
	}
	return &suppressionDone{To: to, Lifted: lifted, Providers: p.lift(ctx, to)}, nil
}
