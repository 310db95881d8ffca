package handlers

import (
	"net/http"
	"net/url"

	"github.com/labstack/echo/v4"

	"logto-email-relay/providers"
	"logto-email-relay/relay"
)

const inboxPath = "/inbox"

// refreshInbox is how often, in seconds, the list of mails looks for new ones.
const refreshInbox = 3

// Inbox is the provider of development mode, which keeps mails to look at.
type Inbox interface {
	// Mails returns the mails that are kept, the newest first.
	Mails() []providers.InboxMail
	// Mail returns one of them by the id of its message.
	Mail(id string) (providers.InboxMail, bool)
}

// inboxPages are the list of mails and the view of one.
type inboxPages struct {
	pages *pages
	inbox Inbox
}

func (p inboxPages) list(c echo.Context) error {
	return p.pages.show(c, "inbox", page{Title: "Inbox", Path: inboxPath, Refresh: refreshInbox, Content: p.inbox.Mails()})
}

// mailView is one mail in one of its forms.
type mailView struct {
	providers.InboxMail
	// View is "html", "text" or "source", the last for the HTML as it is sent.
	View string
	// Phone narrows the frame to the width of a telephone.
	Phone bool
	// Base is the path of the mail.
	Base string
}

func (p inboxPages) mail(c echo.Context) error {
	mail, found := p.inbox.Mail(c.Param("id"))
	if !found {
		return &failure{reason: relay.NotFound}
	}
	view := mailView{
		InboxMail: mail,
		View:      c.QueryParam("view"),
		Phone:     c.QueryParam("width") == "phone",
		Base:      inboxPath + "/" + url.PathEscape(mail.Message.ID),
	}
	switch {
	case mail.Message.HTML == "":
		view.View = "text"
	case view.View != "text" && view.View != "source":
		view.View = "html"
	}
	title := mail.Message.Subject
	if title == "" {
		title = "(no subject)"
	}
	return p.pages.show(c, "mail", page{Title: title, Path: inboxPath, Content: view})
}

// mailPolicy shuts a mail's HTML in, also for those who open it without the
// frame: no scripts, no forms, no origin of its own, pictures as mail readers
// load them.
const mailPolicy = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src https: data:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'self'"

func (p inboxPages) html(c echo.Context) error {
	mail, found := p.inbox.Mail(c.Param("id"))
	if !found || mail.Message.HTML == "" {
		return &failure{reason: relay.NotFound}
	}
	protect(c, mailPolicy)
	return c.HTML(http.StatusOK, mail.Message.HTML)
}
