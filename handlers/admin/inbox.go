package admin

import (
	"net/http"
	"net/url"

	"github.com/labstack/echo/v4"

	"logto-email-relay/handlers/web"
	"logto-email-relay/providers"
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
	return p.pages.show(c, http.StatusOK, "inbox", page{Title: "Inbox", Path: inboxPath, Refresh: refreshInbox, Content: p.inbox.Mails()})
}

func (p inboxPages) mail(c echo.Context) error {
	mail, found := p.inbox.Mail(c.Param("id"))
	if !found {
		return &web.Failure{Reason: web.NotFound}
	}
	title := mail.Message.Subject
	if title == "" {
		title = "(no subject)"
	}
	return p.pages.show(c, http.StatusOK, "mail", page{Title: title, Path: inboxPath, Content: struct {
		providers.InboxMail
		Mail mailView
	}{mail, mailView{
		HTML:  mail.Message.HTML.String(),
		Text:  mail.Message.Text,
		Frame: inboxPath + "/" + url.PathEscape(mail.Message.ID) + "/html",
		look:  newLook(c, mail.Message.HTML),
	}}})
}

func (p inboxPages) html(c echo.Context) error {
	mail, found := p.inbox.Mail(c.Param("id"))
	if !found || mail.Message.HTML.IsEmpty() {
		return &web.Failure{Reason: web.NotFound}
	}
	return showMail(c, mail.Message.HTML.String())
}
