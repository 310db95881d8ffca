package admin

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/net/html"
)

// link is a link of a mail as its reader meets it.
type link struct{ Text, Target string }

// linksOf returns the links of a mail in order, each once.
func linksOf(document string) (links []link) {
	tokens := html.NewTokenizer(strings.NewReader(document))
	var open *link
	for {
		kind := tokens.Next()
		switch kind {
		case html.ErrorToken:
			return links
		case html.TextToken:
			if open != nil {
				open.Text += string(tokens.Text())
			}
			continue
		}
		token := tokens.Token()
		switch {
		case token.Data != "a":
		case kind == html.StartTagToken:
			open = &link{Target: attribute(token, "href")}
		case open != nil:
			open.Text = strings.Join(strings.Fields(html.UnescapeString(open.Text)), " ")
			if !slices.Contains(links, *open) {
				links = append(links, *open)
			}
			open = nil
		}
	}
}

func attribute(token html.Token, name string) string {
	for _, a := range token.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// snippetLength is about what the widest lists show.
const snippetLength = 140

// snippet is what lists of mails show behind the subject: how the text begins, with
// what is hidden on the page but written for this place. Fillers end it, because
// they are all that a list has room for.
func snippet(document, text string) string {
	if document != "" {
		text = ""
		tokens := html.NewTokenizer(strings.NewReader(document))
		hidden := ""
		for kind := tokens.Next(); kind != html.ErrorToken && len(text) < 4*snippetLength; kind = tokens.Next() {
			name, _ := tokens.TagName()
			switch {
			case kind == html.StartTagToken && slices.Contains([]string{"head", "title", "style", "script"}, string(name)) && hidden == "":
				hidden = string(name)
			case kind == html.EndTagToken && string(name) == hidden:
				hidden = ""
			case kind == html.TextToken && hidden == "":
				text += " " + html.UnescapeString(string(tokens.Text()))
			}
		}
	}
	isFiller := func(r rune) bool {
		return r == '\u034f' || r == '\u200b' || r == '\u200c' || r == '\ufeff' || r == '\u00ad'
	}
	if i := strings.IndexFunc(text, isFiller); i >= 0 {
		if rest := strings.TrimLeftFunc(text[i:], func(r rune) bool { return isFiller(r) || unicode.IsSpace(r) }); len(text[i:])-len(rest) > 20 {
			text = text[:i]
		}
	}
	text = strings.Join(strings.Fields(text), " ")
	if short := []rune(text); len(short) > snippetLength {
		text = string(short[:snippetLength]) + "…"
	}
	return text
}

// gmailClips is where Gmail cuts a mail off, in bytes
// (https://www.caniemail.com/faq/, "Gmail clipping").
const gmailClips = 102 * 1024

// troubles are what mail programs do not show, by what stands in the HTML; the facts
// are those of https://www.caniemail.com. Long lists are of no use at work: this is
// what breaks a mail, not what looks a little plainer somewhere.
var troubles = []struct{ found, says string }{
	{"display:flex", "flex boxes: Outlook for Windows stacks them"},
	{"display:grid", "grids: Outlook for Windows and Gmail's app with other accounts stack them"},
	{"position:absolute", "position: Gmail, Outlook and Yahoo leave it out"},
	{"position:fixed", "position: Gmail, Outlook and Yahoo leave it out"},
	{"float:", "float: Outlook for Windows leaves it out"},
	{"background-image:", "background pictures: Outlook for Windows shows none"},
	{"@import", "@import: Gmail and Outlook load nothing"},
	{"var(--", "variables in CSS: Gmail, Outlook and Yahoo do not know them"},
	{"calc(", "calc(): Outlook for Windows does not know it"},
	{"<svg", "SVG within the mail: Gmail and Outlook show none"},
	{".svg\"", "SVG pictures: Gmail shows none"},
	{"<form", "forms: most programs take them out, and filters dislike them"},
	{"<script", "scripts: no program runs them, and filters dislike them"},
	{"<iframe", "frames: no program shows them"},
	{"<video", "video: few programs play it"},
	{"<link rel=\"stylesheet", "stylesheets from elsewhere: Gmail and Outlook load none"},
	{"src=\"data:", "pictures within the HTML: Gmail and Outlook show none"},
	{"src=\"http:", "pictures over http: most programs show none"},
	{"href=\"http:", "links over http: filters dislike them"},
}

// checkHTML tells what of a mail's HTML mail programs are known not to show.
func checkHTML(document string) (findings []string) {
	if document == "" {
		return nil
	}
	if len(document) > gmailClips {
		findings = append(findings, fmt.Sprintf("%d KB: Gmail cuts a mail off after 102 KB", len(document)>>10))
	}
	plain := strings.ToLower(strings.ReplaceAll(document, ": ", ":"))
	for _, t := range troubles {
		if strings.Contains(plain, t.found) && !slices.Contains(findings, t.says) {
			findings = append(findings, t.says)
		}
	}
	if !strings.Contains(plain, " lang=") {
		findings = append(findings, "no lang: screen readers guess the language")
	}
	tokens := html.NewTokenizer(strings.NewReader(document))
	for kind := tokens.Next(); kind != html.ErrorToken; kind = tokens.Next() {
		if token := tokens.Token(); kind != html.EndTagToken && token.Data == "img" &&
			!slices.ContainsFunc(token.Attr, func(a html.Attribute) bool { return a.Key == "alt" }) {
			findings = append(findings, "a picture without alt: nothing stands for it where pictures are off")
		}
	}
	return findings
}
