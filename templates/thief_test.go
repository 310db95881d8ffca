package templates

import (
	"io"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// Whoever has a stolen token fills in all that Logto could. With templates.links.hosts
// nothing in the mail leads to a place of his; pictures come over https alone; and
// replies go to him only where the operator lets inviters have them.
func TestWhatAStolenTokenChooses(t *testing.T) {
	s := DefaultSettings()
	s.Links.Hosts = []string{"acme.example"}
	c, err := Open(s)
	if err != nil {
		t.Fatal(err)
	}
	branding := Branding{SenderName: "Acme", AppLogo: "https://acme.example/own.png"}
	for _, logo := range []string{"https://evil.example/l.png", "http://evil.example/l.png", "data:image/png;base64,AAAA", "https://evil.example/l.svg", "javascript:alert(1)"} {
		own := `"branding":{"logoUrl":"` + logo + `","darkLogoUrl":"` + logo + `","color":"red;background:url(https://evil.example)"},"name":"https://evil.example/now","displayName":"www.evil.example"`
		data := payload(t, `{"code":"123456","link":"https://evil.example/join","locale":"en","application":{`+own+`},"organization":{`+own+`},
			"user":{"name":"evil.example/you","primaryEmail":"a@evil.example","avatar":"https://evil.example/a.png"},
			"inviter":{"name":"<a href='https://evil.example'>you</a>","primaryEmail":"thief@evil.example"},
			"branding":{"appLogo":"`+logo+`"},"senderName":"evil.example","companyInformation":"evil.example","support":"thief@evil.example"}`)
		for _, messageType := range Types() {
			m, err := c.Render(Request{Type: messageType, Locale: "en", To: "ada@example.org", Payload: data, Branding: branding})
			if err != nil {
				t.Fatal(err)
			}
			if m.ReplyTo.Address != "" {
				t.Errorf("%s: replies go to %v", messageType, m.ReplyTo)
			}
			for _, raw := range []string{"https://evil.example/join", "https://evil.example/now", "www.evil.example", "evil.example/you"} {
				if strings.Contains(m.HTML.String()+m.Text+m.Subject, raw) {
					t.Errorf("%s: %s as a mail program makes a link of it", messageType, raw)
				}
			}
			pictures := 0
			for _, at := range addressesIn(t, m.HTML.String()) {
				u, err := url.Parse(at.value)
				switch {
				case err != nil || at.name == "style":
					t.Errorf("%s: %s %q", messageType, at.name, at.value)
				case at.name == "src":
					pictures++
					if u.Scheme != "https" || u.Hostname() != "acme.example" && at.value != "https://evil.example/l.png" {
						t.Errorf("%s: the picture %q of %q", messageType, at.value, logo)
					}
				case u.Hostname() != "acme.example" && u.Scheme+u.Host != "":
					t.Errorf("%s: a link to %q", messageType, at.value)
				}
			}
			if pictures == 0 {
				t.Errorf("%s has no logo", messageType)
			}
		}
	}
}

type address struct{ name, value string }

// addressesIn returns what a mail leads to or loads.
func addressesIn(t *testing.T, text string) (list []address) {
	t.Helper()
	tokens := html.NewTokenizer(strings.NewReader(text))
	for {
		if tokens.Next() == html.ErrorToken {
			if tokens.Err() != io.EOF {
				t.Fatal(tokens.Err())
			}
			return list
		}
		for _, a := range tokens.Token().Attr {
			switch a.Key {
			case "href", "src", "background", "action", "srcset", "poster", "ping":
				list = append(list, address{a.Key, a.Val})
			case "style":
				if strings.Contains(a.Val, "url(") {
					list = append(list, address{a.Key, a.Val})
				}
			}
		}
	}
}
