package admin

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/labstack/echo/v4"
	. "maragu.dev/gomponents"
	. "maragu.dev/gomponents/html"

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
	// Suppress returns what holds then: a suppression that is longer already stays.
	Suppress(ctx context.Context, to string, length time.Duration, note string) (deliveries.Suppression, error)
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

// suppressionView is what the page shows above the list and in its forms.
type suppressionView struct {
	// search is whose suppression is asked for; empty for all.
	search string
	// done is what has just been done, nil if nothing was, and problem why nothing was.
	done    Node
	problem string
	// to, length and note are what was entered in vain.
	to, length, note string
}

// lifted is what became of an address that was to be lifted, with what each provider
// said.
type lifted struct {
	to        string
	was       bool
	providers map[string]string
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
		return p.page(c, http.StatusOK, suppressionView{search: addressAsked(c)})
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
	return answerRecord(c, http.StatusOK, answer)
}

// page shows the list as it is now.
func (p suppressionPages) page(c echo.Context, code int, shown suppressionView) error {
	ctx, cancel := context.WithTimeout(c.Request().Context(), searchTimeout)
	defer cancel()
	found, err := p.list.Suppressions(ctx, shown.search)
	if err != nil {
		return recordFailure(err)
	}
	return p.pages.show(c, code, page{title: "Suppressions", path: suppressionsPath},
		H1(Text("Suppressions")),
		P(Class("note"), Text("Addresses that get no mails for a while, because mails to them came back, their readers complained, or somebody said so.")),
		If(shown.problem != "", Div(Class("card notice bad"), Role("alert"), P(Text(shown.problem)))),
		If(shown.done != nil, Div(Class("card notice"), Role("status"), shown.done)),
		Form(Class("card fields"), Method("get"), Action(suppressionsPath), Role("search"),
			addressField("search", Value(shown.search), Placeholder("ada@example.com")),
			Button(Type("submit"), Text("Search")),
		),
		suppressionTable(found, shown.search),
		H2(Text("Suppress an address")),
		Form(Class("card fields"), Method("post"), Action(suppressionsPath),
			addressField("add", Required(), Value(shown.to)),
			Div(Label(For("for"), Text("For")), Input(ID("for"), Name("for"), Required(), Value(cmp.Or(shown.length, "24h")))),
			Div(Class("wide"), Label(For("note"), Text("Note, for those who see the list")),
				Input(ID("note"), Name("note"), MaxLength("200"), Value(shown.note))),
			Button(Type("submit"), Text("Suppress")),
		),
		H2(Text("Lift an address")),
		Form(Class("card fields"), Method("post"), Action(liftPath),
			addressField("lift", Required()),
			Button(Type("submit"), Text("Lift")),
			P(Class("note"), Text("Takes it off this list and off that of each service that has one, whether or not it is on this list.")),
		),
	)
}

// suppressionTable shows what was found. An address that is not known in full has to be
// entered to be lifted.
func suppressionTable(found []deliveries.Suppression, search string) Node {
	if len(found) == 0 {
		text := "No address is suppressed."
		if search != "" {
			text = "This address is not suppressed here."
		}
		return Div(Class("card empty"), P(Strong(Text(text))))
	}
	head := THead(Tr(columns("Address", "Reason", "Provider", "Since (UTC)", "Until (UTC)"), Th(Scope("col"), Span(Class("hidden"), Text("Action")))))
	return Table(Class("card mails"), head, TBody(Map(found, func(s deliveries.Suppression) Node {
		return Tr(
			Td(Class("subject"), bdi(s.To)),
			Td(Class("to"), bdi(s.Reason)),
			Td(bdi(cmp.Or(s.Provider, "–"))),
			Td(Data("label", "since"), moment(s.Since)),
			Td(Data("label", "until"), moment(s.Until)),
			Td(Class("action"), If(!mail.IsMasked(s.To), Form(Method("post"), Action(liftPath),
				Input(Type("hidden"), Name("to"), Value(s.To)),
				Button(Class("small"), Type("submit"), Aria("label", "Lift "+s.To), Text("Lift")),
			))),
		)
	})))
}

func (l lifted) node() Node {
	text := " was not suppressed here."
	if l.was {
		text = " gets mails again."
	}
	said := P(Text("No provider has a list of its own that can be asked."))
	if len(l.providers) > 0 {
		said = Dl(Class("facts"), Map(slices.Sorted(maps.Keys(l.providers)), func(name string) Node {
			return Div(Dt(bdi(name)), Dd(bdi(l.providers[name])))
		}))
	}
	return Group{P(Strong(bdi(l.to)), Text(text)), said}
}

// wanted is an address that somebody wants to be suppressed.
type wanted struct {
	To   string            `json:"to"`
	For  settings.Duration `json:"for"`
	Note string            `json:"note"`
}

func (p suppressionPages) suppress(c echo.Context, asked wanted) (to string, held deliveries.Suppression, err error) {
	if to, err = mail.ParseRecipient(asked.To); err != nil {
		return "", held, &web.Failure{Reason: web.Invalid, Detail: err.Error()}
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), searchTimeout)
	defer cancel()
	if held, err = p.list.Suppress(ctx, to, time.Duration(asked.For), asked.Note); err != nil {
		return "", held, recordFailure(err)
	}
	return to, held, nil
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
	_, held, err := p.suppress(c, asked)
	if err != nil {
		return err
	}
	return answerRecord(c, http.StatusCreated, suppressionJSON(held))
}

func (p suppressionPages) addForm(c echo.Context) error {
	values, err := readForm(c.Request())
	if err != nil {
		return err
	}
	again := suppressionView{to: values.Get("to"), length: values.Get("for"), note: values.Get("note")}
	asked := wanted{To: mail.Copied(again.to), Note: again.note}
	if asked.For.UnmarshalText([]byte(strings.TrimSpace(again.length))) != nil || asked.For <= 0 {
		again.problem = "Nothing was added: write the time as 24h or 30d."
		return p.page(c, http.StatusUnprocessableEntity, again)
	}
	to, held, err := p.suppress(c, asked)
	if err != nil && web.AsFailure(err).Reason == web.Invalid {
		again.problem = "Nothing was added: that is not one address."
		return p.page(c, http.StatusUnprocessableEntity, again)
	}
	if err != nil {
		return err
	}
	return p.page(c, http.StatusOK, suppressionView{done: P(Strong(bdi(to)), Text(" gets no mails until "), moment(held.Until), Text(" UTC."))})
}

// remove lifts an address for a program.
func (p suppressionPages) remove(c echo.Context) error {
	// The router's parameter is escaped or not, as the caller wrote it; an address may have a percent sign.
	done, err := p.liftAddress(c, strings.TrimPrefix(c.Request().URL.Path, suppressionsPath+"/"))
	if err != nil {
		return err
	}
	return answerRecord(c, http.StatusOK, struct {
		Lifted    bool              `json:"lifted"`
		Providers map[string]string `json:"providers"`
	}{done.was, done.providers})
}

// liftForm lifts an address for a person.
func (p suppressionPages) liftForm(c echo.Context) error {
	values, err := readForm(c.Request())
	if err != nil {
		return err
	}
	done, err := p.liftAddress(c, mail.Copied(values.Get("to")))
	if err != nil && web.AsFailure(err).Reason == web.Invalid {
		return p.page(c, http.StatusUnprocessableEntity, suppressionView{problem: "Nothing was lifted: that is not one address."})
	}
	if err != nil {
		return err
	}
	return p.page(c, http.StatusOK, suppressionView{done: done.node()})
}

// liftAddress lifts an address here and at the services: as long as one of theirs has it on
// its list, it takes the mail and does not send it.
func (p suppressionPages) liftAddress(c echo.Context, address string) (*lifted, error) {
	to, err := mail.ParseRecipient(address)
	if err != nil {
		return nil, &web.Failure{Reason: web.Invalid, Detail: err.Error()}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Request().Context()), liftTimeout)
	defer cancel()
	was, err := p.list.Lift(ctx, to)
	if err != nil {
		return nil, recordFailure(err)
	}
	return &lifted{to, was, p.lift(ctx, to)}, nil
}
