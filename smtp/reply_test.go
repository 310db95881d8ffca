package smtp

import (
	"bufio"
	"cmp"
	"net/textproto"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
)

// A malformed reply breaks the connection and never counts as consent.
func TestMalformedReplies(t *testing.T) {
	for _, stage := range []Stage{AtEHLO, AtMAIL, AtRCPT, AtDATA, AtDot} {
		for _, reply := range []string{"what", "25", "250x", "199 no", "600 no", "250-a\r\n251 b"} {
			t.Run(stage.String()+" "+strconv.Quote(reply), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					fake := (&fakeServer{extensions: []string{"PIPELINING"}, answer: func(at Stage, _, _ int) string {
						if at == stage {
							return reply
						}
						return ""
					}}).prepare(t)
					reply, err := send(t, testPool(t, fake), testMessage())
					if err == nil {
						t.Fatalf("accepted: %+v", reply)
					}
					if want := stage == AtDot; isUncertain(failed(t, err)) != want {
						t.Error(err)
					}
				})
			})
		}
	}
}

func TestReplyParsing(t *testing.T) {
	for message, want := range map[string]Reply{
		"5.1.1 no such user":   {550, "5.1.1", "no such user"},
		"5.7.26 a\n5.7.26 b":   {550, "5.7.26", "a\n5.7.26 b"},
		"5.100.999 x":          {550, "5.100.999", "x"},
		"4.2.2 full":           {550, "4.2.2", "full"},
		"2.1.5 Ok":             {550, "2.1.5", "Ok"},
		"5..1 x":               {550, "", "5..1 x"},
		"5.1. x":               {550, "", "5.1. x"},
		"5.1.x no":             {550, "", "5.1.x no"},
		"5 x":                  {550, "", "5 x"},
		"no such user":         {550, "", "no such user"},
		"":                     {550, "", ""},
		"5.1 x":                {550, "", "5.1 x"},
		"3.1.1 x":              {550, "", "3.1.1 x"},
		"5.1.1111 x":           {550, "", "5.1.1111 x"},
		"5.1.1":                {550, "5.1.1", ""},
		"5.x.1 <a@b> rejected": {550, "", "5.x.1 <a@b> rejected"},
	} {
		if got := parseReply(550, message); got != want {
			t.Errorf("%q: %+v, want %+v", message, got, want)
		}
	}
}

// readReply reads one reply through a buffer as small as that of a session.
func readReply(sent string) (code int, text string, err error) {
	r := replyReader{Reader: bufio.NewReaderSize(strings.NewReader(sent), replyBuffer)}
	code, line, err := r.read()
	return code, string(line), err
}

func TestReplies(t *testing.T) {
	long := strings.Repeat("x", 3*replyBuffer)
	for sent, want := range map[string]struct {
		code int
		text string
	}{
		"250 Ok\r\n":                                {250, "Ok"},
		"250 \r\n":                                  {250, ""},
		"250\r\n":                                   {250, ""}, // the text is optional
		"250-a\r\n250\r\n250 b\r\n":                 {250, "a\n"},
		"550-a\r\n554 b\r\n":                        {554, "a\nb"},
		"450-a\r\n550\r\n":                          {550, "a\n"},
		"550-a\r\n554-b\r\n100 c\r\n550 d\r\n":      {550, "a\n554-b\n100 c\nd"},
		"299 Ok\r\n":                                {299, "Ok"},
		"599 no\r\n":                                {599, "no"},
		"354 go\n250 next\n":                        {354, "go"},
		"250-a\r\n250-b\r\n250 c\r\n":               {250, "a\nb\nc"},
		"550-a\r\n550_b\r\n550 c\r\n":               {550, "a\n550_b\nc"},
		"550-a\r\nno code here\r\n550 c\r\n":        {550, "a\nno code here\nc"},
		"250 " + long + "\r\n":                      {250, long},
		"550-" + long + "\r\n550 " + long + "y\r\n": {550, long + "\n" + long + "y"},
	} {
		if code, text, err := readReply(sent); code != want.code || text != want.text || err != nil {
			t.Errorf("%.40q: %d %.40q %v", sent, code, text, err)
		}
	}
	for _, sent := range []string{"", "\r\n", "25 Ok\r\n", "2x0 Ok\r\n", "26/ Ok\r\n", "24: Ok\r\n", "250_Ok\r\n", "100 Ok\r\n", "650 Ok\r\n", "-50 Ok\r\n",
		"250 broken off", "250-a\r\n250 broken off", "250-a\r\n", "25\r\n", "2500\r\n",
		"250-a\r\n550 b\r\n", "550-a\r\n250\r\n", "250-a\r\n251 b\r\n", "354-a\r\n421 b\r\n", "550-a\r\n354 b\r\n"} {
		if code, text, err := readReply(sent); err == nil {
			t.Errorf("%q: %d %q", sent, code, text)
		}
	}
}

// FuzzReply holds the reading of replies against Go's own.
func FuzzReply(f *testing.F) {
	f.Add("250-a\r\n250 b\r\n")
	f.Add("550-5.1.1 a\r\nb\r\n550 c\n250 d\r\n")
	f.Fuzz(func(t *testing.T, sent string) {
		if !strings.HasSuffix(sent, "\n") || strings.Contains(sent, "\r\r") {
			return // Go's takes a line that broke off for a whole one, and drops more than one CR
		}
		code, text, err := readReply(sent)
		first := 0
		for line := range strings.Lines(sent) { // where Go's waits for more
			line = strings.TrimRight(line, "\r\n")
			said, _, last := parseReplyLine([]byte(line))
			if last && said >= 200 && said <= 599 && (len(line) == 3 || first != 0 && said != first) {
				if first != 0 && said != first && code != 0 && min(code, first) < 400 {
					t.Errorf("%q: %d", sent, code)
				}
				return
			}
			if first = cmp.Or(first, said); last && said == first {
				break
			}
		}
		wantCode, wantText, wantErr := textproto.NewReader(bufio.NewReader(strings.NewReader(sent))).ReadResponse(0)
		if wantErr == nil && (wantCode < 200 || wantCode > 599) {
			wantErr = textproto.ProtocolError("no code of SMTP")
		}
		if (err == nil) != (wantErr == nil) || err == nil && (code != wantCode || text != wantText) {
			t.Errorf("%q: %d %q %v, want %d %q %v", sent, code, text, err, wantCode, wantText, wantErr)
		}
	})
}

func TestQueueID(t *testing.T) {
	for answer, want := range map[string]string{
		"Ok 0100018f3c2a7b1e-6a2b4c1d-5e7f-4a3b-9c8d-1e2f3a4b5c6d-000000": "0100018f3c2a7b1e-6a2b4c1d-5e7f-4a3b-9c8d-1e2f3a4b5c6d-000000",
		"Ok: queued as bdT3qXyZSfa-1":                                     "bdT3qXyZSfa-1",
		"Ok: queued as 4B1C2D3E4F":                                        "4B1C2D3E4F",
		"OK id=1rXyZ-0004ab-3C":                                           "1rXyZ-0004ab-3C",
		"5AQ4BKxb012345 Message accepted for delivery":                    "5AQ4BKxb012345",
		"3c1f6a07 Message accepted for delivery":                          "3c1f6a07",
		" Message accepted for delivery":                                  "",
		"OK  1712345678 x1-20020a.12 - gsmtp":                             "",
		"OK: queued":                                                      "",
		"Ok":                                                              "",
		"Ok queued":                                                       "queued",
		"Ok well done":                                                    "",
		"queued as ":                                                      "",
		"queued as <a@b>":                                                 "",
		"queued as " + strings.Repeat("x", 128):                           strings.Repeat("x", 128),
		"queued as " + strings.Repeat("x", 129):                           "",
	} {
		if got := (Reply{Text: answer}).QueueID(); got != want {
			t.Errorf("%q: %q, want %q", answer, got, want)
		}
	}
}

// Keywords count in any letter case, and in the forms that servers use.
func TestExtensions(t *testing.T) {
	for text, want := range map[string]extensions{
		"mx.example": {},
		"mx.example\nPIPELINING\nSTARTTLS\nSMTPUTF8\nSIZE 1000\nAUTH PLAIN LOGIN": {true, true, true, true, 1000, []string{"PLAIN", "LOGIN"}},
		"mx.example\npipelining\nstarttls\nSmtpUtf8\nsize 1000\nauth plain Login": {true, true, true, true, 1000, []string{"PLAIN", "LOGIN"}},
		"mx.example\nAUTH=LOGIN PLAIN":                                            {mechanisms: []string{"LOGIN", "PLAIN"}},
		"mx.example\nauth=login":                                                  {mechanisms: []string{"LOGIN"}},
		"mx.example\nAUTH PLAIN\nAUTH=LOGIN":                                      {mechanisms: []string{"PLAIN", "LOGIN"}},
		"mx.example\nAUTH":                                                        {},
		"mx.example\nSIZE\n\n ":                                                   {size: true},
		"mx.example\nSIZE 0":                                                      {size: true},
		"mx.example\nSIZE many":                                                   {size: true},
		"mx.example\n STARTTLS \t":                                                {startTLS: true},
		"mx.example\nXSTARTTLS\nSTARTTLSX\nNO PIPELINING":                         {},
		"PIPELINING\nSIZE 7":                                                      {size: true, maxSize: 7},
	} {
		if got := parseExtensions(text); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, want %+v", text, got, want)
		}
	}
}

// FuzzEHLO holds that a line counts by its first word alone, whatever surrounds it.
func FuzzEHLO(f *testing.F) {
	f.Add("mx.example", "PIPELINING", "auth=login plain")
	f.Add("starttls", "size 10\t", "AUTH  ")
	f.Fuzz(func(t *testing.T, name, one, other string) {
		if strings.ContainsAny(name+one+other, "\r\n") || !isASCII(name+one+other) {
			return
		}
		got := parseExtensions(name + "\n" + one + "\n" + other)
		if swapped := parseExtensions(name + "\n" + strings.ToLower(one) + "\n" + strings.ToUpper(other)); !reflect.DeepEqual(got, swapped) {
			t.Errorf("the letter case counts: %+v, %+v", got, swapped)
		}
		first, second := parseExtensions(name+"\n"+one), parseExtensions(name+"\n"+other)
		if got.startTLS != (first.startTLS || second.startTLS) || got.pipelining != (first.pipelining || second.pipelining) ||
			!slices.Equal(got.mechanisms, slices.Concat(first.mechanisms, second.mechanisms)) {
			t.Errorf("%+v is not %+v and %+v", got, first, second)
		}
		for _, mechanism := range got.mechanisms {
			if mechanism == "" || strings.ContainsAny(mechanism, " \t") {
				t.Errorf("%q", got.mechanisms)
			}
		}
	})
}

func BenchmarkReply(b *testing.B) {
	const flight = "250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n354 End data with <CR><LF>.<CR><LF>\r\n"
	source := strings.NewReader("")
	ours := replyReader{Reader: bufio.NewReaderSize(source, replyBuffer)}
	standard := textproto.NewReader(bufio.NewReader(source))
	for name, read := range map[string]func() (int, error){
		"ours":     func() (int, error) { code, _, err := ours.read(); return code, err },
		"standard": func() (int, error) { code, _, err := standard.ReadResponse(0); return code, err },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				source.Reset(flight)
				for range 3 {
					if _, err := read(); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
