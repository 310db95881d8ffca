package templates

import (
	"fmt"
	"slices"
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
	if NeedsCode(messageType) && t.hidesCode() {
		at := (&source{file: t.source}).errorAt(0, messageType+" mails sometimes have nothing but their code, which is not printed then: "+
			"write {{code}} outside of {{#if}}, or after {{else}} too")
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
