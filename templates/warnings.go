package templates

import (
	"fmt"
	"slices"
	"strings"
)

// relies are the names that a template prints without a block that asks for
// them, with their places.
func (t *template) relies() []Error {
	var found []Error
	for _, p := range []*program{t.subject, t.html, t.text} {
		if p == nil || p == t.text && t.derived {
			continue
		}
		for _, at := range p.relies {
			if p != t.subject || t.html == nil || at.File != t.source { // a title is part of the HTML too
				found = append(found, *at)
			}
		}
	}
	return found
}

// warnings tells which of the printed names Logto often leaves out, and whether the
// code goes with one.
func (t *template) warnings(messageType string) []string {
	var found []string
	if NeedsCode(messageType) && t.hidesCode(messageType) {
		at := (&source{file: t.source}).errorAt(0, messageType+" mails sometimes have nothing but their code, or a user or an organization beside it, and it is not printed then: "+
			"write {{code}} outside of {{#if}} and {{#unless}}, or after {{else}} too")
		found = append(found, at.Error())
	}
	found = append(found, t.purposeWarnings(messageType)...)
	if t.lacksSubject(messageType) {
		at := (&source{file: t.source}).errorAt(0, "the subject of "+messageType+" mails is empty where Logto leaves out what it prints, and they get the relay's own then: "+
			"write a text outside of {{#if}}, or after {{else}} too")
		found = append(found, at.Error())
	}
	for _, at := range t.relies() {
		if root := rootOf(at.Text); isOftenMissing(root, messageType) {
			at.Text = fmt.Sprintf("%s mails often come without %s: write {{#if %s}} … {{/if}} around {{%[3]s}}", messageType, root, at.Text)
			found = append(found, at.Error())
		}
	}
	return found
}

// purposeWarnings tells whether a part does not print what mails of a type may be sent for.
func (t *template) purposeWarnings(messageType string) []string {
	name, lacks := t.lacksPurpose(messageType)
	if !lacks {
		return nil
	}
	return []string{(&source{file: t.source}).errorAt(0,
		fmt.Sprintf("%s mails may come with a %s, which is not printed: write {{#if %[2]s}} … {{%[2]s}} … {{/if}}", messageType, name)).Error()}
}

// mark is what no author writes, and no address encodes.
const mark = "c0de0f0nemail"

// valuesOf are those of a payload where all that the relay adds is the same text.
func valuesOf(payload map[string]any, builtin string) *values {
	v := &values{payload: payload}
	for i := range v.builtins {
		v.builtins[i] = builtin
	}
	return v
}

// hidesCode tells whether a part does not print the code of a message that has nothing
// else, or all that its type may have, whatever the branding is.
func (t *template) hidesCode(messageType string) bool {
	prints := func(payload map[string]any, branding string) bool {
		v := valuesOf(payload, branding)
		v.builtins[ipBuiltin] = "" // which Logto leaves out at times
		for _, p := range []*program{t.shown, t.text} {
			if p != nil && !strings.Contains(p.text(v), mark) {
				return false
			}
		}
		return true
	}
	least, most := map[string]any{"code": mark}, map[string]any{"code": mark}
	for _, name := range Names(messageType) {
		if _, isLeast := least[name]; !isLeast {
			most[name] = sampleUser("Ada", "ada@example.org")
		}
	}
	return slices.ContainsFunc([]map[string]any{least, most}, func(payload map[string]any) bool {
		return !prints(payload, "") && !prints(payload, "x")
	})
}

// lacksPurpose tells whether a part does not print what a mail may be sent for although it
// need not be: the code of a Generic mail, or the link of an invitation.
func (t *template) lacksPurpose(messageType string) (name string, lacks bool) {
	v := values{links: Links{Schemes: []string{"https"}}}
	switch messageType {
	case generic:
		name, v.payload = "code", map[string]any{"code": mark}
	case invitation:
		name, v.payload = "link", map[string]any{"link": "https://" + mark + ".example/", "organization": sampleOrganization}
	default:
		return "", false
	}
	v.setLink()
	return name, t.html != nil && !strings.Contains(t.html.render(&v).String(), mark) ||
		t.text != nil && !t.derived && !strings.Contains(t.text.text(&v), mark)
}

// sampleOrganization is what an invitation always has.
var sampleOrganization = map[string]any{"id": "1", "name": "x"}

// lacksSubject tells whether the subject of a message is empty that has nothing but what
// Logto always sends.
func (t *template) lacksSubject(messageType string) bool {
	payload := map[string]any{"code": mark}
	if messageType == invitation {
		payload = map[string]any{"organization": sampleOrganization}
	}
	return t.subject != nil && oneLine(t.subject.text(valuesOf(payload, "x"))) == ""
}

// unknowns tells which of the printed names no message of the type has.
func (t *template) unknowns(messageType string, variables []string) []string {
	known := append(Names(messageType), variables...)
	var found []string
	for _, at := range t.relies() {
		if root := rootOf(at.Text); !slices.Contains(known, root) {
			at.Text = fmt.Sprintf("no %s message has %s, so {{%s}} prints as nothing; Logto's connector would print it as it stands",
				messageType, root, at.Text)
			found = append(found, at.Error())
		}
	}
	for _, p := range []*program{t.subject, t.html, t.text} {
		if p != nil && (p != t.text || !t.derived) {
			for _, at := range p.unknown {
				found = append(found, at.Error())
			}
		}
	}
	return found
}

// isOftenMissing tells whether Logto leaves out a part of the context in mails
// of a type: the user is known once signed in, the organization only where the
// sign-in or the invitation names one, the application not when its look-up fails.
func isOftenMissing(root, messageType string) bool {
	switch root {
	case "application", "inviter":
		return true
	case "organization":
		return messageType != invitation
	case "user":
		return messageType != "UserPermissionValidation" && messageType != "BindNewIdentifier"
	}
	return false
}
