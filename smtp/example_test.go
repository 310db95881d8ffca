package smtp_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"mime/quotedprintable"
	"net"
	"strings"
	"time"

	"logto-email-relay/dialing"
	"logto-email-relay/smtp"
)

// text is a Body by the standard library's means.
type text string

func (t text) QuotedLen() int { return len(t.AppendQuoted(nil)) }

func (t text) AppendQuoted(b []byte) []byte {
	buffer := bytes.NewBuffer(b)
	w := quotedprintable.NewWriter(buffer)
	_, _ = w.Write([]byte(strings.ReplaceAll(string(t), "\n", "\r\n")))
	_ = w.Close()
	return buffer.Bytes()
}

func (t text) Base64Len() int               { return base64.StdEncoding.EncodedLen(len(t)) }
func (t text) AppendBase64(b []byte) []byte { return base64.StdEncoding.AppendEncode(b, []byte(t)) }

// serve is a server that takes every message.
func serve(listener net.Listener) {
	conn, err := listener.Accept()
	if err != nil {
		return
	}
	defer conn.Close()
	fmt.Fprint(conn, "220 mx.example ESMTP\r\n")
	inMessage := false
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		switch line := lines.Text(); {
		case inMessage && line == ".":
			inMessage = false
			fmt.Fprint(conn, "250 2.0.0 Ok: queued as 4B1C2D3E4F\r\n")
		case inMessage:
		case line == "DATA":
			inMessage = true
			fmt.Fprint(conn, "354 go ahead\r\n")
		case strings.HasPrefix(line, "RCPT TO:<nobody@"):
			fmt.Fprint(conn, "550 5.1.1 no such user\r\n")
		default:
			fmt.Fprint(conn, "250 Ok\r\n")
		}
	}
}

func Example() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer listener.Close()
	go serve(listener)

	dialer := &smtp.Dialer{Network: "tcp", Address: listener.Addr().String(), TCP: dialing.Dialer{Timeout: 4 * time.Second}}
	pool := smtp.NewPool(smtp.Config{Dial: dialer.Dial, Name: "relay.example", ReplyTimeout: 4 * time.Second, MaxConnections: 10})
	defer pool.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Second)
	defer cancel()
	for _, to := range []string{"ada@example.net", "nobody@example.net"} {
		message := smtp.Message{
			From: smtp.Mailbox{Name: "Acme", Address: "no-reply@acme.example"}, To: to,
			Subject: "Your sign-in code", Date: time.Now(), ID: "1@acme.example", Boundary: "1",
			Text: text("Your code is 482913.\n"),
		}
		reply, err := pool.Send(ctx, smtp.Envelope{From: message.From.Address, To: to}, message.AppendTo)
		fmt.Println(reply.QueueID(), err)
	}
	// Output:
	// 4B1C2D3E4F <nil>
	//  RCPT TO: 550 5.1.1 no such user
}

func ExampleMessage() {
	message := smtp.Message{
		From:    smtp.Mailbox{Name: "Acme, Inc.", Address: "no-reply@acme.example"},
		To:      "ada@example.net",
		Subject: "Ihr Code für die Anmeldung",
		Date:    time.Date(2026, 11, 20, 9, 30, 0, 0, time.UTC),
		ID:      "1@acme.example", Boundary: "1",
		Headers: []smtp.Header{{Name: "Auto-Submitted", Value: "auto-generated"}},
		Text:    text("Grüße\n"), HTML: text("<p>Grüße</p>\n"),
	}
	built, err := message.AppendTo(nil)
	if err != nil {
		panic(err)
	}
	fmt.Println(strings.ReplaceAll(string(built), "\r\n", "\n"))
	// Output:
	// Date: Fri, 20 Nov 2026 09:30:00 +0000
	// From: "Acme, Inc." <no-reply@acme.example>
	// To: <ada@example.net>
	// Message-ID: <1@acme.example>
	// Subject: =?utf-8?q?Ihr_Code_f=C3=BCr_die_Anmeldung?=
	// Auto-Submitted: auto-generated
	// MIME-Version: 1.0
	// Content-Type: multipart/alternative;
	//  boundary="=_1"
	//
	// --=_1
	// Content-Type: text/plain; charset=utf-8
	// Content-Transfer-Encoding: base64
	//
	// R3LDvMOfZQo=
	// --=_1
	// Content-Type: text/html; charset=utf-8
	// Content-Transfer-Encoding: base64
	//
	// PHA+R3LDvMOfZTwvcD4K
	// --=_1--
}
