package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"logto-email-relay/deliveries"
	"logto-email-relay/handlers/web"
	"logto-email-relay/mail"
	"logto-email-relay/providers"
)

const (
	deliveriesPath = "/deliveries"
	// How many deliveries an answer has, and may have at most.
	usualDeliveries = 50
	mostDeliveries  = 500
	// searchTimeout bounds a search.
	searchTimeout = 5 * time.Second
)

// Deliveries is the record of mails.
type Deliveries interface {
	// Find returns deliveries, newest first, and the cursor of the next page.
	Find(ctx context.Context, q deliveries.Query) ([]mail.Delivery, string, error)
	// Get returns the delivery with an id, or with the reference that its id begins
	// with.
	Get(ctx context.Context, id string) (*mail.Delivery, error)
	// Summarize says what became of the last mails.
	Summarize(ctx context.Context, span deliveries.Span, now time.Time) (*deliveries.Summary, error)
}

// recordPages show the record, to browsers as pages and to programs as JSON.
type recordPages struct {
	pages *pages
	Options
}

// search is a search and what it found.
type search struct {
	deliveries.Query
	Found []mail.Delivery
	// Older is the query of the next page, empty if there is none.
	Older string
	// Statuses, Types and Names are what one can search for.
	Statuses     []mail.Status
	Types, Names []string
}

func (p recordPages) list(c echo.Context) error {
	query := deliveries.Query{
		To: addressAsked(c), Status: mail.Status(c.QueryParam("status")), Type: c.QueryParam("type"),
		Provider: c.QueryParam("provider"), Tenant: c.QueryParam("tenant"), After: c.QueryParam("after"), Limit: usualDeliveries,
	}
	if query.Status != "" && !query.Status.Known() {
		return &web.Failure{Reason: web.Malformed, Detail: "status is none"}
	}
	if text := c.QueryParam("limit"); text != "" {
		limit, err := strconv.Atoi(text)
		if err != nil || limit < 1 || limit > mostDeliveries {
			return &web.Failure{Reason: web.Malformed, Detail: fmt.Sprintf("limit is not from 1 to %d", mostDeliveries)}
		}
		query.Limit = limit
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), searchTimeout)
	defer cancel()
	found, next, err := p.Deliveries.Find(ctx, query)
	if err != nil {
		return recordFailure(err)
	}
	if web.WantsHTML(c.Request().Header) {
		return p.showFound(c, query, found, next)
	}
	answer := struct {
		Deliveries []deliveryJSON `json:"deliveries"`
		Next       string         `json:"next,omitempty"`
	}{make([]deliveryJSON, len(found)), next}
	for i := range found {
		answer.Deliveries[i] = jsonOf(&found[i])
	}
	return answerRecord(c, answer)
}

func (p recordPages) one(c echo.Context) error {
	ctx, cancel := context.WithTimeout(c.Request().Context(), searchTimeout)
	defer cancel()
	d, err := p.Deliveries.Get(ctx, c.Param("id"))
	if err != nil {
		return recordFailure(err)
	}
	if !web.WantsHTML(c.Request().Header) {
		return answerRecord(c, jsonOf(d))
	}
	return p.pages.show(c, http.StatusOK, "delivery", page{Title: "Mail " + mail.Reference(d.ID), Path: deliveriesPath, Content: struct {
		*mail.Delivery
		Timeline []deliveries.Moment
		// Masked tells that the address is not known in full.
		Masked bool
	}{d, deliveries.Timeline(d), isMasked(d.To)}})
}

func (p recordPages) showFound(c echo.Context, query deliveries.Query, found []mail.Delivery, next string) error {
	shown := search{Query: query, Found: found, Statuses: mail.Statuses()}
	if next != "" {
		older := c.Request().URL.Query()
		older.Set("after", next)
		shown.Older = "?" + older.Encode()
	}
	if p.Gallery != nil {
		shown.Types = p.Gallery.Types()
	}
	if p.Providers != nil {
		for _, s := range p.Providers() {
			shown.Names = append(shown.Names, s.Name)
		}
	}
	return p.pages.show(c, http.StatusOK, "deliveries", page{Title: "Deliveries", Path: deliveriesPath, Content: shown})
}

// addressAsked is the address that a search is for. None has a blank: one around it
// came with it from elsewhere, and one within was a "+" that nobody escaped.
func addressAsked(c echo.Context) string {
	return strings.ReplaceAll(strings.TrimSpace(c.QueryParam("to")), " ", "+")
}

// isMasked tells whether an address is one that stands for a hash.
func isMasked(address string) bool { return mail.Mask(address) == address }

func answerRecord(c echo.Context, answer any) error {
	c.Response().Header().Set("Cache-Control", "no-store")
	return web.AnswerJSON(c, http.StatusOK, "application/json", answer)
}

// recordFailure tells a request that asks for nothing from a record that cannot
// answer.
func recordFailure(err error) *web.Failure {
	switch {
	case errors.Is(err, deliveries.ErrNotFound):
		return &web.Failure{Reason: web.NotFound, Err: err}
	case errors.Is(err, deliveries.ErrMasked):
		return &web.Failure{Reason: web.Invalid, Detail: err.Error()}
	case errors.Is(err, deliveries.ErrCursor):
		return &web.Failure{Reason: web.Malformed, Detail: "after is " + err.Error()}
	case errors.Is(err, context.DeadlineExceeded):
		return &web.Failure{Reason: mail.Timeout, Detail: "the record does not answer in time", Err: err}
	}
	return &web.Failure{Reason: web.Unavailable, Detail: "the record does not answer: " + providers.Redact(err.Error()), Err: err}
}

// deliveryJSON is a delivery as the API shows it.
type deliveryJSON struct {
	ID           string        `json:"id"`
	Ref          string        `json:"ref"`
	Time         time.Time     `json:"time"`
	To           string        `json:"to"`
	Type         string        `json:"type"`
	Locale       string        `json:"locale"`
	Tenant       string        `json:"tenant"`
	Application  string        `json:"application"`
	Organization string        `json:"organization"`
	Trace        string        `json:"trace,omitempty"`
	Route        int           `json:"route"` // -1 for none
	Status       mail.Status   `json:"status"`
	Provider     string        `json:"provider"`
	ProviderID   string        `json:"providerId"`
	MS           float64       `json:"ms"`
	Attempts     []attemptJSON `json:"attempts"`
	Events       []eventJSON   `json:"events"`
}

type attemptJSON struct {
	Provider string  `json:"provider"`
	Kind     string  `json:"kind"`
	Code     string  `json:"code"`
	Detail   string  `json:"detail"`
	MS       float64 `json:"ms"`
}

type eventJSON struct {
	Time     time.Time   `json:"time"`
	Status   mail.Status `json:"status"`
	Provider string      `json:"provider"`
	Detail   string      `json:"detail"`
}

// DeliveryJSON is a delivery as the API shows it, for others who show it elsewhere.
func DeliveryJSON(d *mail.Delivery) any { return jsonOf(d) }

func jsonOf(d *mail.Delivery) deliveryJSON {
	shown := deliveryJSON{
		ID: d.ID, Ref: mail.Reference(d.ID), Time: d.Time, To: d.To, Type: d.Type, Locale: d.Locale, Tenant: d.Tenant,
		Application: d.Application, Organization: d.Organization, Trace: d.Trace, Route: d.Route, Status: d.Status,
		Provider: d.Provider, ProviderID: d.ProviderID, MS: web.Milliseconds(d.Duration),
		Attempts: make([]attemptJSON, len(d.Attempts)), Events: make([]eventJSON, len(d.Events)),
	}
	for i, a := range d.Attempts {
		shown.Attempts[i] = attemptJSON{a.Provider, a.Kind, a.Code, a.Detail, web.Milliseconds(a.Duration)}
	}
	for i, e := range d.Events {
		shown.Events[i] = eventJSON{e.Time, e.Status, e.Provider, e.Detail}
	}
	return shown
}
