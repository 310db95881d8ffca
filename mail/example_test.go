package mail_test

import (
	"fmt"
	"time"

	"logto-email-relay/mail"
)

// A recipient is one mailbox, as people have it, and nothing around it.
func ExampleParseRecipient() {
	for _, text := range []string{"Ada@Exämple.com", "foo.@docomo.ne.jp", "Ada <ada@example.org>", "ada@example.org, eve@example.net", "@example.org", "ada"} {
		address, err := mail.ParseRecipient(text)
		fmt.Printf("%q %v\n", address, err)
	}
	// Output:
	// "Ada@xn--exmple-cua.com" <nil>
	// "foo.@docomo.ne.jp" <nil>
	// "" recipient's local part has a character that no mailbox needs
	// "" recipient's local part has a character that no mailbox needs
	// "" recipient's local part is empty, too long or not UTF-8
	// "" recipient has no @
}

// In a command or a header some local parts need quotes, and some addresses a
// server with SMTPUTF8.
func ExamplePath() {
	for _, address := range []string{"ada@example.org", "foo.@docomo.ne.jp", "用户@example.org"} {
		path, ascii, err := mail.Path(address)
		fmt.Println(path, ascii, err)
	}
	// Output:
	// ada@example.org true <nil>
	// "foo."@docomo.ne.jp true <nil>
	// 用户@example.org false <nil>
}

// People read the reference to each other; logs and providers have the whole id.
func ExampleReference() {
	fmt.Println(mail.Reference("7k3f9qab2m5n8p3r6t0w1yab4c"))

	id := mail.NewID()
	fmt.Println(len(id), len(mail.Reference(id)))
	// Output:
	// 7k3f9qab
	// 26 8
}

// A delivery tells all that is known of a mail, and nothing that it said.
func ExampleDelivery() {
	d := mail.Delivery{
		ID: "7k3f9qab2m5n8p3r6t0w1yab4c", To: "ada@example.org", Type: "SignIn", Locale: "fr", Route: -1,
		Attempts: []mail.Attempt{
			{Provider: "main", Kind: "temporary", Stage: "connect", Detail: "connection refused", Duration: 2 * time.Millisecond},
			{Provider: "backup", Kind: mail.AttemptAccepted, Duration: 85 * time.Millisecond},
		},
		Status: mail.StatusAccepted, Provider: "backup", ProviderID: "0100018f",
	}
	fmt.Println(mail.Reference(d.ID), d.Type, mail.Mask(d.To), d.Accepted(), d.Provider)
	for _, attempt := range d.Attempts {
		fmt.Println(attempt.Provider, attempt.Kind, attempt.Stage, attempt.Detail)
	}
	// Output:
	// 7k3f9qab SignIn a***@example.org true backup
	// main temporary connect connection refused
	// backup accepted
}
