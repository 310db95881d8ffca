// Package templates writes the mails: message type and language to subject,
// HTML and text.
//
// # The language of templates
//
// {{ path }} stands for a value of the payload, {{#if path}} … {{else}} …
// {{/if}} and {{#unless path}} … {{/unless}} for a choice. That is all: no
// loops, no functions, and no way to print a value as it is. The placeholders
// are Logto's, so that its templates work here.
//
// # Safe by place
//
// A template is read once, by the rules by which a mail client will read it,
// and every placeholder learns where it stands: in text, in an attribute, in a
// link. When a mail is written, each value is escaped for its place, so that no
// value can add markup, leave its attribute or become a link that runs code. A
// placeholder where no escaping would be enough (in a script, in a style, in an
// attribute without quotes) is an error with line and column when the template
// is read. What the author wrote stays as it is to the byte, Outlook's
// conditional comments included.
//
// Names of people, organizations and applications are what strangers typed.
// They are made harmless as text too: see neutralise.
//
// # Where mails come from
//
// A Catalogue holds the embedded mails, one HTML layout and one text layout
// filled with the texts of a language (locales/<tag>.json), and the operator's
// own templates, which go before them.
package templates
