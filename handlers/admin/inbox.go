package admin

import (
	"cmp"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"logto-email-relay/handlers/web"
	"logto-email-relay/providers"
)

const (
	inboxPath = "/inbox"
	livePath  = "/live.js"
)

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

// listed is a mail of the list.
type listed struct {
	providers.InboxMail
	Snippet string
}

// list shows the mails that hold all words that are looked for.
func (p inboxPages) list(c echo.Context) error {
	asked := c.QueryParam("q")
	words := strings.Fields(strings.ToLower(asked))
	var mails []listed
	all := p.inbox.Mails()
	for _, m := range all {
		text := strings.ToLower(strings.Join([]string{m.Message.Subject, m.Message.To, m.Message.Type, m.Message.Locale, m.Message.Text}, "\n"))
		if !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(text, word) }) {
			mails = append(mails, listed{m, snippet(m.Message.HTML.String(), m.Message.Text)})
		}
	}
	live := c.QueryParam("live") != "off"
	return p.pages.show(c, http.StatusOK, "inbox", page{Title: "Inbox", Path: inboxPath, Live: live, Content: struct {
		Mails []listed
		Asked string
		All   int
		Live  bool
		// Other is the same list with the other choice of being live.
		Other string
	}{mails, asked, len(all), live, inboxQuery(asked, !live)}})
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
	mail, raw, err := p.asked(c)
	if err != nil {
		return err
	}
	html := mail.Message.HTML.String()
	at := inboxPath + "/" + url.PathEscape(mail.Message.ID)
	return p.pages.show(c, http.StatusOK, "mail", page{Title: cmp.Or(mail.Message.Subject, "(no subject)"), Path: inboxPath, Content: struct {
		providers.InboxMail
		Snippet string
		Mail    mailView
	}{mail, snippet(html, mail.Message.Text), mailView{
		HTML: html,
		Text: mail.Message.Text,
		Raw:  string(raw),
		Path: at,
		look: newLook(c, mail.Message.HTML),
	}}})
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
