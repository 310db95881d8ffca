package templates

import (
	"net/url"
	"strings"
	"time"

	"logto-email-relay/settings"
)

// Settings are the "templates" section.
type Settings struct {
	// Dir holds the operator's own templates; empty for the embedded ones alone.
	Dir string `json:"dir" file:"path"`
	// DefaultLocale is the language of a mail whose reader's is unknown.
	DefaultLocale string `json:"defaultLocale" validate:"required,bcp47_language_tag"`
	// Locales are the languages that mails and answers are written in; "pt" stands for
	// pt-BR and pt-PT. Every language that there are templates in when empty.
	Locales []string `json:"locales" validate:"dive,bcp47_language_tag"`
	// CodeLifetime is how long Logto accepts a code, as the mails say it.
	CodeLifetime settings.Duration `json:"codeLifetime"`
	// CodeInSubject puts the code into the subjects of the relay's own mails, but
	// for those that reset a password.
	CodeInSubject bool `json:"codeInSubject"`
	// RequestDetails says what the mails tell of the request that they answer:
	// "none", "time", or "time+ip".
	RequestDetails string `json:"requestDetails" validate:"oneof=none time time+ip"`
	// Links says which links an invitation may carry.
	Links Links `json:"links"`
	// Variables are the names of payload keys of the operator's own, which
	// invitations may add and templates may use.
	Variables []string `json:"variables" validate:"dive,placeholdername"`
}

// Links says which URLs from a payload may become links.
type Links struct {
	// Schemes are the allowed URL schemes, lower case.
	Schemes []string `json:"schemes" validate:"min=1,dive,urlscheme"`
	// Hosts are the allowed hosts; "*.acme.example" stands for every host below
	// acme.example. Every host when empty.
	Hosts []string `json:"hosts" validate:"dive,hostpattern"`
}

// The values of Settings.RequestDetails.
const (
	detailsNone = "none"
	detailsTime = "time"
	detailsAll  = "time+ip"
)

// DefaultSettings are used where the operator writes nothing.
func DefaultSettings() Settings {
	return Settings{
		DefaultLocale:  "en",
		CodeLifetime:   settings.Duration(10 * time.Minute),
		RequestDetails: detailsTime,
		Links:          Links{Schemes: []string{"https"}},
	}
}

// Check asks for a code lifetime that can be told in minutes.
func (s *Settings) Check() []settings.Problem {
	if lifetime := time.Duration(s.CodeLifetime); lifetime < time.Minute || lifetime > 24*time.Hour {
		return []settings.Problem{{Key: "codeLifetime", Text: `write a time from "1m" to "24h", such as "10m"`}}
	}
	return nil
}

// Branding is what makes a mail the operator's: the "branding" section, which a
// route and the payload's own branding override.
type Branding struct {
	// SenderName is the product's name as readers know it.
	SenderName string `json:"senderName" validate:"max=100,oneline"`
	// CompanyInformation is the line at the mail's foot: company and address.
	CompanyInformation string `json:"companyInformation" validate:"max=300,oneline"`
	// AppLogo is the https address of the logo on a light ground.
	AppLogo string `json:"appLogo" validate:"omitempty,httpsurl"`
	// AppLogoDark is the logo on a dark ground; AppLogo when empty.
	AppLogoDark string `json:"appLogoDark" validate:"omitempty,httpsurl"`
	// Color is the colour of buttons and links, as "#rrggbb".
	Color string `json:"color" validate:"omitempty,hexcolor,len=7"`
	// Support is the mail address that readers may turn to.
	Support settings.Mailbox `json:"support"`
	// ReplyToInviter makes replies to an invitation go to whoever invites, if Logto
	// knows the address.
	ReplyToInviter *bool `json:"replyToInviter"`
}

// Check tells of logos that readers do not see.
func (b *Branding) Check() []settings.Problem {
	var problems []settings.Problem
	for _, logo := range [][2]string{{"appLogo", b.AppLogo}, {"appLogoDark", b.AppLogoDark}} {
		if u, err := url.Parse(logo[1]); err == nil && strings.HasSuffix(strings.ToLower(u.Path), ".svg") {
			problems = append(problems, settings.Problem{Key: logo[0], Warning: true,
				Text: "is an SVG, which Gmail and Outlook do not show; use a PNG"})
		}
	}
	return problems
}
