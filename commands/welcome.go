package commands

import (
	"fmt"
	"io"
)

// welcome tells a newcomer what to do next.
func welcome(out io.Writer, public, admin, authorization string) {
	fmt.Fprintf(out, `
Development mode: there is no configuration here, so mails are only shown, not sent.

  Inbox          http://%[2]s/inbox
  Templates      http://%[2]s/templates

In Logto's console, connector "HTTP Email":

  Endpoint       http://%[1]s/logto/email
  Authorization  %[3]s

Or try it from here:

  curl -H 'Authorization: %[3]s' -H 'Content-Type: application/json' \
    -d '{"to":"ada@example.org","type":"SignIn","payload":{"code":"482913","locale":"en"}}' \
    http://%[1]s/logto/email

`, public, admin, authorization)
}
