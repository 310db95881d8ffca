package templates_test

import (
	"fmt"
	"log"
	"strings"

	"logto-email-relay/mail"
	"logto-email-relay/templates"
)

// A mail of Logto's sign-in page, in the language of its reader. The catalogue is
// opened once and then used for all mails.
func Example() {
	catalogue, err := templates.Open(templates.DefaultSettings())
	if err != nil {
		log.Fatal(err)
	}
	payload := map[string]any{
		"code":        "482913",
		"locale":      "fr-CA",
		"application": map[string]any{"name": "Boutique"},
	}
	written, err := catalogue.Render(templates.Request{
		Type:    "SignIn",
		Locale:  catalogue.Locale("SignIn", payload),
		Payload: payload,
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(written.Locale)
	fmt.Println(written.Subject)
	fmt.Println(strings.Contains(written.Text, "482913"), strings.Contains(written.HTML.String(), "482913"))
	// Output:
	// fr
	// Votre code de connexion pour Boutique
	// true true
}

// The templates of a provider's own settings go before those of the catalogue.
func ExampleCatalogue_With() {
	catalogue, err := templates.Open(templates.DefaultSettings())
	if err != nil {
		log.Fatal(err)
	}
	overlay, err := catalogue.With([]mail.ConnectorTemplate{{
		Key: "providers[0].templates[0]", Type: "Generic", Subject: "Your code", HTML: "<p>It is <b>{{code}}</b>.</p>",
	}})
	if err != nil {
		log.Fatal(err)
	}
	payload := map[string]any{"code": "482913"}
	written, err := overlay.Render(templates.Request{Type: "SignIn", Locale: overlay.Locale("SignIn", payload), Payload: payload})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(written.HTML)
	fmt.Print(written.Text)
	// Output:
	// <p>It is <b>482913</b>.</p>
	// It is 482913.
}
