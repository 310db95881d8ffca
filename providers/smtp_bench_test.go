package providers

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"testing"

	gomail "github.com/wneessen/go-mail"

	"logto-email-relay/mail"
)

// benchMessage is a mail of the usual size: 7 KB of HTML.
func benchMessage(locale string) *mail.Message {
	m := smtpMessage()
	row := `<tr><td class="ink" style="padding:0 0 16px 0;font-family:Arial,sans-serif;font-size:16px">%</td></tr>` + "\n"
	text := "Your code is 482913. It is valid for 10 minutes, and nobody of us will ever ask you for it.\n"
	if locale == "ru" {
		m.Subject = "Ваш код для входа в систему"
		m.From.Name = "Акме"
		text = "Ваш код: 482913. Он действует 10 минут, и никто из нас никогда его у вас не спросит.\n"
	}
	m.Text = strings.Repeat(text, 5)
	m.HTML = mail.Body{mail.OwnPart("<!DOCTYPE html>\n<html><body><table>\n"), mail.OwnPart(strings.Repeat(strings.Replace(row, "%", text, 1), 36)), mail.OwnPart("</table></body></html>\n")}
	m.Locale = locale
	return m
}

func BenchmarkSMTPBuild(b *testing.B) {
	for _, locale := range []string{"en", "ru"} {
		m := benchMessage(locale)
		b.Run(locale, func(b *testing.B) {
			b.ReportAllocs()
			var buffer []byte
			p := new(smtpProvider)
			for b.Loop() {
				var err error
				if buffer, err = p.build(buffer[:0], m); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(buffer)), "bytes/mail")
		})
		b.Run(locale+"/go-mail", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
				_ = msg.FromFormat(m.From.Name, m.From.Address)
				_ = msg.ReplyTo(m.ReplyTo.Address)
				_ = msg.To(m.To)
				msg.Subject(m.Subject)
				msg.SetDateWithValue(m.Date)
				msg.SetMessageIDWithValue(m.MessageID)
				msg.SetBodyString(gomail.TypeTextPlain, m.Text)
				msg.AddAlternativeString(gomail.TypeTextHTML, m.HTML.String())
				if _, err := msg.WriteTo(io.Discard); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// smtpSink accepts everything, as cheaply as can be.
func smtpSink(b *testing.B) int {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				reader := bufio.NewReaderSize(conn, 32<<10)
				_, _ = io.WriteString(conn, "220 sink\r\n")
				data := false
				for {
					line, err := reader.ReadSlice('\n')
					if err != nil {
						return
					}
					reply := ""
					switch {
					case data && string(line) == ".\r\n":
						data, reply = false, "250 2.0.0 Ok: queued as 4B1C2D3E4F\r\n"
					case data:
					case line[0] == 'E':
						reply = "250-sink\r\n250-SIZE 10240000\r\n250 PIPELINING\r\n"
					case line[0] == 'D':
						data, reply = true, "250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n354 go\r\n"
					case line[0] == 'Q':
						return
					}
					if reply != "" {
						if _, err := io.WriteString(conn, reply); err != nil {
							return
						}
					}
				}
			}()
		}
	}()
	return listener.Addr().(*net.TCPAddr).Port
}

// BenchmarkSMTPSend has 50 mails on their way at a time; the sink's work is in
// the figures.
func BenchmarkSMTPSend(b *testing.B) {
	provider := openSMTP(b, smtpSink(b))
	m := benchMessage("en")
	b.ReportAllocs()
	b.SetParallelism(25)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			ctx, cancel := context.WithTimeout(context.Background(), 8e9)
			_, err := provider.Send(ctx, m)
			cancel()
			if err != nil {
				b.Error(err)
				return
			}
		}
	})
}
