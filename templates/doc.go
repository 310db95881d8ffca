// Package templates writes the mails: from a message type of Logto and the
// payload that came with it to subject, HTML and text, in the reader's language.
//
// # Templates
//
// A template is HTML or text with Logto's placeholders. {{ code }} and
// {{application.name}} print a value; {{list.1}} is an element of a list.
// {{#if user.name}} … {{else}} … {{/if}} and {{#unless user.name}} … {{/unless}}
// choose. There are no loops, no functions and no unescaped output, because
// nothing that a mail of this kind says needs them.
//
// What is missing prints as nothing, and so do objects and lists. A block takes
// for false what is missing, null, false, 0, an empty text, list or object, and
// a text without a visible character. A name that no message of the type can
// have is a mistake that is told when the template is loaded.
//
// Names that any message may have are code, locale, uiLocales, application,
// organization, user, branding, dir ("ltr" or "rtl"), codeLifetime (minutes), to,
// ip and requestedAt; invitations and Generic messages have link and inviter too. What the caller of
// Logto's invitation API adds has to be declared in templates.variables.
//
// # Safety
//
// Values cannot change a mail beyond the place where they stand. HTML templates
// are read once with the tokenizer of golang.org/x/net/html, which tells where
// every placeholder stands (place.go):
//
//   - in text and in quoted attribute values, values are escaped, in comments
//     dashes too;
//   - a URL that is one value alone must be a link that Settings.Links allows, an
//     image https; otherwise it is left out. A value behind something else is
//     percent-encoded, and can be part neither of the scheme nor of the host;
//   - in style attributes and elements only the colours of the branding may stand,
//     which print as #rrggbb or not at all;
//   - everywhere else (event handlers, scripts, unquoted values, names of
//     elements and attributes, srcset, …) a placeholder is a mistake.
//
// A block begins, switches and ends in the same place, so that the rest of the
// template means the same whichever branch is taken. What the author wrote stays
// as it is, byte for byte, Outlook's conditional comments included; placeholders
// work inside of those as well.
//
// In subjects and text, values are one line without control characters. What
// people typed (names of users, organizations and applications, and the values of
// declared variables) is neutralised besides: see neutralise. Where people read
// it, marks around it keep its direction from changing that of the text.
//
// # The catalogue
//
// The embedded mails are made of two layouts, layouts/mail.html and mail.txt,
// and of one file of sentences a language, locales/<tag>.json. A layout is a
// template that also knows {{text.KEY}}: the sentence of that key, the type's own
// or the shared one, put in before the template is compiled. Beyond sentences
// there are text.locale, text.dir, text.start and text.end ("left" or "right"),
// text.fonts and text.validity, in the plural form for the lifetime of a code.
//
// The operator's directory is laid over them. <locale>/<Type>.html and .txt
// replace one mail in one language; <locale>.json replaces single sentences, and
// may bring a new language. The operator's template of a type goes before the
// embedded one; the operator's Generic serves other types only in languages
// without sentences. Open reads all of it once; a catalogue never changes, and
// whoever wants to see a change opens another one. Anything wrong in the directory
// makes Open fail with every mistake that is there.
//
// The language of a mail is chosen once, by the message type and by what the
// payload says of its reader (Locale), and Render writes in that one. A provider's
// own templates, which an operator brought along from one of Logto's connectors,
// have no language; With lays them over the catalogue for the mails of that
// provider.
package templates
