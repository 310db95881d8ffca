package providers

import (
	"fmt"
	"strings"
	"testing"
)

func inboxFixture() fixture {
	return fixture{
		settings:   func(string) Settings { return newInboxSettings() },
		anyAddress: true,
		kept: func(p Provider) []string {
			var texts []string
			for _, kept := range p.(*Inbox).Mails() {
				texts = append(texts, inboxText(kept))
			}
			return texts
		},
	}
}

func inboxText(m InboxMail) string {
	var text strings.Builder
	fmt.Fprintf(&text, "id %s, type %s, locale %s\n\n", m.Message.ID, m.Message.Type, m.Message.Locale)
	for _, header := range m.Headers {
		fmt.Fprintf(&text, "%s: %s\n", header.Name, header.Value)
	}
	fmt.Fprintf(&text, "\n%s\n%s", m.Message.Text, m.Message.HTML.String())
	return text.String()
}

func TestInboxKeepsTheLatest(t *testing.T) {
	inbox := new(Inbox)
	for i := range inboxSize + 3 {
		m := plainMessage()
		m.ID = fmt.Sprint(i)
		if _, err := inbox.Send(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	mails := inbox.Mails()
	if len(mails) != inboxSize || mails[0].Message.ID != "202" || mails[inboxSize-1].Message.ID != "3" {
		t.Errorf("%d mails from %s to %s", len(mails), mails[0].Message.ID, mails[len(mails)-1].Message.ID)
	}
	if _, ok := inbox.Mail("2"); ok {
		t.Error("mail 2 is still there")
	}
	if kept, ok := inbox.Mail("3"); !ok || kept.Message.ID != "3" {
		t.Error("mail 3 is gone")
	}
	if !inbox.Remove("3") || inbox.Remove("3") || len(inbox.Mails()) != inboxSize-1 {
		t.Error("mail 3 was not removed once, and alone")
	}
}
