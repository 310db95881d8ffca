package admin

import (
	"cmp"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	. "maragu.dev/gomponents"
	. "maragu.dev/gomponents/html"

	"logto-email-relay/handlers/web"
	"logto-email-relay/mail"
	"logto-email-relay/providers"
)

const inboxPath = "/inbox"

// Inbox is the provider of development mode, which keeps mails to look at.
type Inbox interface {
	// Mails returns the mails that are kept, the newest first.
	Mails() []providers.InboxMail
	// Mail returns one of them by the id of its message.
	Mail(id string) (providers.InboxMail, bool)
	// Remove removes one of them and tells whether it was there, Clear all.
	Remove(id string) bool
	Clear()
}

// inboxPages are the list of mails and the view of one.
type inboxPages struct {
	pages *pages
	inbox Inbox
}

// list shows the mails that hold all words that are looked for.
func (p inboxPages) list(c echo.Context) error {
	asked := c.QueryParam("q")
	words := strings.Fields(strings.ToLower(asked))
	var found []providers.InboxMail
	all := p.inbox.Mails()
	for _, m := range all {
		text := strings.ToLower(strings.Join([]string{m.Message.Subject, m.Message.To, m.Message.Type, m.Message.Locale, m.Message.Text}, "\n"))
		if !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(text, word) }) {
			found = append(found, m)
		}
	}
	live := c.QueryParam("live") != "off"
	return p.pages.show(c, http.StatusOK, page{title: "Inbox", path: inboxPath, live: live},
		H1(Text("Inbox")),
		Div(Class("tools"),
			Form(Class("search"), Role("search"), Method("get"), Action(inboxPath),
				Label(Class("hidden"), For("q"), Text("Search")),
				Input(ID("q"), Type("search"), Name("q"), Value(asked), Placeholder("Words of the subject, recipient, type or text")),
				If(!live, Input(Type("hidden"), Name("live"), Value("off"))),
				Button(Text("Search")),
			),
			Nav(Class("choice"), Aria("label", "New mails"), pause(asked, live)),
		),
		Div(ID("live"), inboxTable(found, len(all), live)),
	)
}

// pause leads to the same list with the other choice of being live.
func pause(asked string, live bool) Node {
	title := "Pause"
	if !live {
		title = "Show new mails by themselves"
	}
	return A(Href(inboxQuery(asked, !live)), Text(title))
}

// inboxTable shows the mails that were found of all.
func inboxTable(found []providers.InboxMail, all int, live bool) Node {
	says := fmt.Sprintf("%d of %d mail", len(found), all)
	if all != 1 {
		says += "s"
	}
	if !live {
		says += ", paused"
	}
	content := Group{P(Class("note"), Role("status"), Text(says+". None of them has left this machine."))}
	switch {
	case len(found) > 0:
		content = append(content, Table(Class("card mails"),
			THead(Tr(columns("Subject", "To", "Type", "Language", "Time"))),
			TBody(Map(found, func(m providers.InboxMail) Node {
				return Tr(
					Td(Class("subject"), A(Href(inboxPath+"/"+url.PathEscape(m.Message.ID)), bdi(subject(m))), Text(" "),
						Span(Class("snippet"), bdi(snippet(m.Message.HTML.String(), m.Message.Text)))),
					Td(Class("to"), bdi(m.Message.To)),
					Td(Text(m.Message.Type)),
					Td(Text(m.Message.Locale)),
					Td(received(m, "15:04:05")),
				)
			})),
		))
	case all > 0:
		content = append(content, Div(Class("card empty"), P(Strong(Text("No mail has these words.")))))
	default:
		content = append(content, Div(Class("card empty"),
			P(Strong(Text("No mail yet."))),
			P(Text("Ask for a code on Logto's sign-in page, or call the webhook with the curl line that the relay printed when it "+
				"started. Mails appear here by themselves.")),
		))
	}
	return append(content, If(all > 0, Form(Class("below"), Method("post"), Action(inboxPath+"/clear"), Button(Class("small"), Text("Delete all mails")))))
}

func subject(m providers.InboxMail) string { return cmp.Or(m.Message.Subject, "(no subject)") }

func received(m providers.InboxMail, format string) Node {
	return Time(DateTime(m.Received.Format(time.RFC3339)), Text(m.Received.Format(format)))
}

func inboxQuery(asked string, live bool) string {
	query := make(url.Values)
	if asked != "" {
		query.Set("q", asked)
	}
	if !live {
		query.Set("live", "off")
	}
	return "?" + query.Encode()
}

// asked returns the mail that the path names, and it as it would go to a server.
func (p inboxPages) asked(c echo.Context) (mail providers.InboxMail, raw []byte, err error) {
	mail, found := p.inbox.Mail(c.Param("id"))
	if !found {
		return mail, nil, &web.Failure{Reason: web.NotFound}
	}
	raw, err = mail.Raw()
	return mail, raw, err
}

func (p inboxPages) mail(c echo.Context) error {
	kept, raw, err := p.asked(c)
	if err != nil {
		return err
	}
	m := kept.Message
	view := mailView{
		html: m.HTML.String(),
		text: m.Text,
		raw:  string(raw),
		path: inboxPath + "/" + url.PathEscape(m.ID),
		look: newLook(c, m.HTML),
	}
	return p.pages.show(c, http.StatusOK, page{title: subject(kept), path: inboxPath},
		P(Class("back"), A(Href(inboxPath), Text("Inbox"))),
		H1(bdi(subject(kept))),
		Div(Class("card"),
			Dl(Class("facts"),
				fact("From", bdi(m.From.Name), Text(" <"+m.From.Address+">")),
				fact("To", bdi(m.To)),
				If(m.ReplyTo.Address != "", fact("Reply-To", Text(m.ReplyTo.Address))),
				fact("Preview", bdi(snippet(view.html, m.Text))),
				fact("Received", received(kept, "2 January 2006, 15:04:05 MST")),
				fact("Type", Text(m.Type)),
				fact("Language", Text(m.Locale)),
				fact("Size", Textf("%s, %d bytes in all", view.sizes(), len(raw))),
				view.facts(),
			),
			If(len(kept.Headers) > 0, Details(
				Summary(Text("Headers")),
				Dl(Class("facts raw"), Map(kept.Headers, func(h mail.Header) Node { return fact(h.Name, Text(h.Value)) })),
			)),
		),
		Div(Class("tools"),
			P(Class("note"), A(Href(view.path+"/message.eml"), Attr("download"), Text("Download as .eml"))),
			Form(Method("post"), Action(view.path+"/delete"), Button(Class("small"), Text("Delete"))),
		),
		view.node(),
	)
}

func (p inboxPages) html(c echo.Context) error {
	mail, found := p.inbox.Mail(c.Param("id"))
	if !found || mail.Message.HTML.IsEmpty() {
		return &web.Failure{Reason: web.NotFound}
	}
	return showMail(c, mail.Message.HTML.String())
}

// download answers with a mail as a file for mail programs.
func (p inboxPages) download(c echo.Context) error {
	mail, raw, err := p.asked(c)
	if err != nil {
		return err
	}
	protect(c, pagePolicy)
	c.Response().Header().Set("Content-Disposition",
		mime.FormatMediaType("attachment", map[string]string{"filename": mail.Message.Type + "-" + mail.Message.ID + ".eml"}))
	return c.Blob(http.StatusOK, "message/rfc822", raw)
}

func (p inboxPages) remove(c echo.Context) error {
	if !p.inbox.Remove(c.Param("id")) {
		return &web.Failure{Reason: web.NotFound}
	}
	return c.Redirect(http.StatusSeeOther, inboxPath)
}

func (p inboxPages) clear(c echo.Context) error {
	p.inbox.Clear()
	return c.Redirect(http.StatusSeeOther, inboxPath)
}
