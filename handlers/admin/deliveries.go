package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	. "maragu.dev/gomponents"
	. "maragu.dev/gomponents/html"

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
		return p.show(c, query, found, next)
	}
	answer := struct {
		Deliveries []deliveryJSON `json:"deliveries"`
		Next       string         `json:"next,omitempty"`
	}{make([]deliveryJSON, len(found)), next}
	for i := range found {
		answer.Deliveries[i] = jsonOf(&found[i])
	}
	return answerRecord(c, http.StatusOK, answer)
}

func (p recordPages) one(c echo.Context) error {
	ctx, cancel := context.WithTimeout(c.Request().Context(), searchTimeout)
	defer cancel()
	d, err := p.Deliveries.Get(ctx, c.Param("id"))
	if err != nil {
		return recordFailure(err)
	}
	if !web.WantsHTML(c.Request().Header) {
		return answerRecord(c, http.StatusOK, jsonOf(d))
	}
	return p.showOne(c, d)
}

// show is the page with the form of a search and what it found. Without a gallery or providers
// the form suggests no types or names.
func (p recordPages) show(c echo.Context, query deliveries.Query, found []mail.Delivery, next string) error {
	var types, names []string // that one can search for
	if p.Gallery != nil {
		types = p.Gallery.Types()
	}
	if p.Providers != nil {
		for _, s := range p.Providers() {
			names = append(names, s.Name)
		}
	}
	content := Group{
		H1(Text("Deliveries")),
		Form(Class("card fields"), Method("get"), Action(deliveriesPath), Role("search"),
			addressField("to", Value(query.To), Placeholder("ada@example.com")),
			Div(Label(For("status"), Text("Status")), Select(ID("status"), Name("status"),
				Option(Value(""), Text("any")),
				Map(mail.Statuses(), func(s mail.Status) Node { return Option(If(s == query.Status, Selected()), Text(string(s))) }),
			)),
			Div(Label(For("type"), Text("Type")),
				Input(ID("type"), Name("type"), Value(query.Type), List("types"), AutoComplete("off")), offered("types", types)),
			Div(Label(For("provider"), Text("Provider")),
				Input(ID("provider"), Name("provider"), Value(query.Provider), List("providers"), AutoComplete("off")), offered("providers", names)),
			Div(Label(For("tenant"), Text("Tenant")), Input(ID("tenant"), Name("tenant"), Value(query.Tenant), AutoComplete("off"))),
			Button(Type("submit"), Text("Search")),
		),
	}
	if len(found) == 0 {
		content = append(content, Div(Class("card empty"),
			P(Strong(Text("No mail is found."))),
			P(Text("An address has to be entered whole. Mails are kept for "), Code(Text("deliveries.retention")), Text(".")),
		))
	} else {
		content = append(content, Table(Class("card mails"),
			THead(Tr(columns("To", "Time (UTC)", "Type", "Language", "Provider", "Status"))),
			TBody(Map(found, func(d mail.Delivery) Node {
				return Tr(
					Td(Class("subject"), A(Href(deliveriesPath+"/"+url.PathEscape(d.ID)), bdi(d.To))),
					Td(moment(d.Time)),
					Td(bdi(d.Type)),
					Td(bdi(d.Locale)),
					Td(bdi(cmp.Or(d.Provider, "–"))),
					Td(mark(d.Status)),
				)
			})),
		))
	}
	if next != "" {
		older := c.Request().URL.Query()
		older.Set("after", next)
		content = append(content, Nav(Class("paging"), Aria("label", "Pages of deliveries"), A(Href("?"+older.Encode()), Rel("next"), Text("Older mails"))))
	}
	return p.pages.show(c, http.StatusOK, page{title: "Deliveries", path: deliveriesPath}, content)
}

// offered are values that a field suggests.
func offered(id string, values []string) Node {
	return DataList(ID(id), Map(values, func(value string) Node { return Option(Value(value)) }))
}

// showOne is the page of a mail.
func (p recordPages) showOne(c echo.Context, d *mail.Delivery) error {
	known := func(name, value string) Node { return If(value != "", fact(name, bdi(value))) }
	route := "none matched: all providers"
	if d.Route >= 0 {
		route = fmt.Sprintf("routes[%d]", d.Route)
	}
	ofAddress := "?" + url.Values{"to": {d.To}}.Encode()
	return p.pages.show(c, http.StatusOK, page{title: "Mail " + mail.Reference(d.ID), path: deliveriesPath},
		P(Class("back"), A(Href(deliveriesPath), Text("Deliveries"))),
		H1(bdi(d.To), Text(" "), mark(d.Status)),
		Ol(Class("card timeline"), Map(deliveries.Timeline(d), func(m deliveries.Moment) Node {
			return Li(moment(m.Time), Text(" "), Span(bdi(m.Text)))
		})),
		H2(Text("Facts")),
		Div(Class("card"), Dl(Class("facts"),
			fact("Reference", Code(Text(mail.Reference(d.ID)))),
			fact("Id", Code(Text(d.ID))),
			fact("Type", bdi(d.Type)),
			fact("Language", bdi(d.Locale)),
			known("Tenant", d.Tenant),
			known("Application", d.Application),
			known("Organization", d.Organization),
			fact("Route", Text(route)),
			known("Provider", d.Provider),
			If(d.ProviderID != "", fact("Provider's id", Code(bdi(d.ProviderID)))),
		)),
		If(!mail.IsMasked(d.To), P(Class("paging"),
			A(Href(deliveriesPath+ofAddress), Text("All mails to this address")), Text(" "),
			A(Href(suppressionsPath+ofAddress), Text("Is it suppressed?")))),
	)
}

// addressAsked is the address that a search is for. None has a blank: one within was a "+" that
// nobody escaped.
func addressAsked(c echo.Context) string {
	return strings.ReplaceAll(mail.Copied(c.QueryParam("to")), " ", "+")
}

// addressField is a field of a form for an address.
func addressField(id string, attributes ...Node) Node {
	return Div(Class("wide"), Label(For(id), Text("Address")), Input(ID(id), Name("to"), Type("text"), Attr("inputmode", "email"),
		AutoComplete("off"), Attr("spellcheck", "false"), Group(attributes)))
}

func answerRecord(c echo.Context, code int, answer any) error {
	c.Response().Header().Set("Cache-Control", "no-store")
	return web.AnswerJSON(c, code, "application/json", answer)
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
