// Command floor is the least that any receiver in Go has to do: Echo, JSON
// decoding, a ready-made mail in which only recipient and code are set, and one
// pipelined SMTP exchange over a pooled connection. It validates, renders, logs
// and counts nothing, and knows one answer to every failure. What the relay
// costs above it is what the relay does.
package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"log"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/labstack/echo/v4"
)

type webhook struct {
	To      string `json:"to"`
	Type    string `json:"type"`
	Payload struct {
		Code string `json:"code"`
	} `json:"payload"`
}

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	template, err := os.ReadFile(os.Getenv("TEMPLATE"))
	if err != nil {
		return err
	}
	before, after := readyMade(template)
	pool, err := newPool()
	if err != nil {
		return err
	}
	authorization := os.Getenv("AUTHORIZATION")

	server := echo.New()
	server.HideBanner, server.HidePort = true, true
	server.GET("/healthz", func(c echo.Context) error { return c.NoContent(http.StatusOK) })
	server.POST("/logto/email", func(c echo.Context) error {
		if c.Request().Header.Get("Authorization") != authorization {
			return echo.ErrUnauthorized
		}
		var w webhook
		if err := c.Bind(&w); err != nil {
			return err
		}
		conn, err := pool.take()
		if err != nil {
			return err
		}
		if err := conn.send(w.To, before, w.Payload.Code, after); err != nil {
			_ = conn.Close()
			return err
		}
		pool.idle <- conn
		return c.Blob(http.StatusOK, "application/json", []byte(`{"id":"1"}`))
	})
	return server.Start("127.0.0.1:" + os.Getenv("PORT"))
}

// readyMade returns a mail as it travels, in two halves around the code.
func readyMade(template []byte) (before, after []byte) {
	mail := "From: Acme <no-reply@acme.example>\r\nSubject: Your code\r\nMIME-Version: 1.0\r\n" +
		"Content-Type: text/html; charset=utf-8\r\n\r\n" + strings.ReplaceAll(string(template), "\n", "\r\n")
	left, right, _ := strings.Cut(mail, "{{code}}")
	return []byte(left), []byte(right + "\r\n.\r\n")
}

// pool keeps the connections that no mail uses; one is opened when all are in
// use.
type pool struct {
	idle                chan *connection
	address, user, pass string
	tls                 *tls.Config
}

func newPool() (*pool, error) {
	p := &pool{
		idle:    make(chan *connection, 10000),
		address: "127.0.0.1:" + os.Getenv("SMTP_PORT"),
		user:    os.Getenv("SMTP_USER"),
		pass:    os.Getenv("SMTP_PASS"),
	}
	if file := os.Getenv("SMTP_CA"); file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(pem)
		p.tls = &tls.Config{RootCAs: roots, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12}
	}
	return p, nil
}

func (p *pool) take() (*connection, error) {
	select {
	case c := <-p.idle:
		return c, nil
	default:
		return p.open()
	}
}

// connection is one that has been greeted and logged in.
type connection struct {
	net.Conn
	in  *bufio.Reader
	out bytes.Buffer
}

func (p *pool) open() (*connection, error) {
	conn, err := net.Dial("tcp", p.address)
	if err != nil {
		return nil, err
	}
	c := &connection{Conn: conn, in: bufio.NewReader(conn)}
	if err := c.greet(p); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return c, nil
}

func (c *connection) greet(p *pool) error {
	if err := c.expect('2'); err != nil {
		return err
	}
	if err := c.ask("EHLO floor\r\n", '2'); err != nil || p.tls == nil {
		return err
	}
	if err := c.ask("STARTTLS\r\n", '2'); err != nil {
		return err
	}
	c.Conn = tls.Client(c.Conn, p.tls)
	c.in = bufio.NewReader(c.Conn)
	if err := c.ask("EHLO floor\r\n", '2'); err != nil {
		return err
	}
	login := base64.StdEncoding.EncodeToString([]byte("\x00" + p.user + "\x00" + p.pass))
	return c.ask("AUTH PLAIN "+login+"\r\n", '2')
}

// send takes two round trips: the envelope in one write, then the mail.
func (c *connection) send(to string, before []byte, code string, after []byte) error {
	if err := c.ask("MAIL FROM:<no-reply@acme.example>\r\nRCPT TO:<"+to+">\r\nDATA\r\n", '2', '2', '3'); err != nil {
		return err
	}
	c.out.Reset()
	c.out.Write(before)
	c.out.WriteString(code)
	c.out.Write(after)
	if _, err := c.Write(c.out.Bytes()); err != nil {
		return err
	}
	return c.expect('2')
}

func (c *connection) ask(commands string, classes ...byte) error {
	if _, err := c.Write([]byte(commands)); err != nil {
		return err
	}
	for _, class := range classes {
		if err := c.expect(class); err != nil {
			return err
		}
	}
	return nil
}

// expect reads one reply and wants its code to begin with the class.
func (c *connection) expect(class byte) error {
	for {
		line, err := c.in.ReadSlice('\n')
		switch {
		case err != nil:
			return err
		case len(line) < 4 || line[0] != class:
			return errors.New("unexpected reply")
		case line[3] == ' ':
			return nil
		}
	}
}
