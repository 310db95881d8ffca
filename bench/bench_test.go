package main

import (
	"bufio"
	"io"
	"net"
	"net/textproto"
	"strings"
	"testing"
	"time"
)

// exchange opens a connection to a sink and sends bursts of commands, each after
// the answers to the one before.
func exchange(t *testing.T, address string, bursts ...string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	in := textproto.NewReader(bufio.NewReader(conn))
	for _, burst := range append([]string{""}, bursts...) {
		if _, err := io.WriteString(conn, burst); err != nil {
			t.Fatal(err)
		}
		answers := max(1, strings.Count(burst, "\r\n"))
		if strings.HasSuffix(burst, "\r\n.\r\n") {
			answers = 1
		}
		for range answers {
			if _, _, err := in.ReadResponse(0); err != nil {
				t.Fatalf("after %q: %v", burst, err)
			}
		}
	}
}

func listenSink(t *testing.T, roundTrip time.Duration) (*sink, string) {
	t.Helper()
	s := &sink{seen: make(map[int]struct{})}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go s.accept(listener)
	address := listener.Addr().String()
	if roundTrip > 0 {
		wire, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = wire.Close() })
		go lengthen(wire, address, roundTrip)
		address = wire.Addr().String()
	}
	return s, address
}

func TestSinkCounts(t *testing.T) {
	const first, second = "u7@example.org", "u8@example.org"
	mail := func(code string) string { return "Subject: code\r\n\r\nYour code is " + code + ".\r\n.\r\n" }
	envelope := func(to string) string { return "MAIL FROM:<a@acme.example>\r\nRCPT TO:<" + to + ">\r\nDATA\r\n" }
	const opening = 2 // round trips of a connection: SYN, greeting
	for name, tt := range map[string]struct {
		bursts []string
		want   counts
	}{
		"pipelined": {
			[]string{envelope(first), mail("000007")},
			counts{Connections: 1, Turns: opening + 2, Mails: 1},
		},
		"one by one": {
			[]string{"MAIL FROM:<a@acme.example>\r\n", "RCPT TO:<" + first + ">\r\n", "DATA\r\n", mail("000007")},
			counts{Connections: 1, Turns: opening + 4, Mails: 1},
		},
		"two mails": {
			[]string{envelope(first), mail("000007"), envelope(second), mail("000008")},
			counts{Connections: 1, Turns: opening + 4, Mails: 2},
		},
		"the code over two lines": {
			[]string{envelope(first), mail("000=\r\n007")},
			counts{Connections: 1, Turns: opening + 2, Mails: 1},
		},
		"another's code": {
			[]string{envelope(first), mail("000008")},
			counts{Connections: 1, Turns: opening + 2, Wrong: 1},
		},
		"the same mail again": {
			[]string{envelope(first), mail("000007"), envelope(first), mail("000007")},
			counts{Connections: 1, Turns: opening + 4, Mails: 1, Wrong: 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, address := listenSink(t, 0)
			exchange(t, address, tt.bursts...)
			got := s.counts()
			got.Bytes = 0
			if got != tt.want {
				t.Errorf("counts %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestWireTakesItsTime(t *testing.T) {
	const roundTrip = 40 * time.Millisecond
	s, address := listenSink(t, roundTrip)
	start := time.Now()
	exchange(t, address, "MAIL FROM:<a@acme.example>\r\nRCPT TO:<u7@example.org>\r\nDATA\r\n", "\r\n000007\r\n.\r\n")
	// As many round trips as the sink counts.
	if took, least := time.Since(start), time.Duration(s.counts().Turns)*roundTrip; took < least || took > least+time.Second {
		t.Errorf("took %v, want %v and little more", took, least)
	}
}

func TestSpread(t *testing.T) {
	if got, want := spreadOf([]float64{3, 1, 2}), (spread{1, 2, 3}); got != want {
		t.Errorf("spread %v, want %v", got, want)
	}
	if got, want := spreadOf([]float64{4, 1}), (spread{1, 2.5, 4}); got != want {
		t.Errorf("spread %v, want %v", got, want)
	}
}

func TestDraw(t *testing.T) {
	var out strings.Builder
	err := draw(&out, []panel{{"Mails <a second>", []bar{{theRelay, 200}, {theFloor, 100}}}, {"Nothing", []bar{{theRelay, 0}}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Mails &lt;a second&gt;", `width="530"`, `width="265"`, ">200<", ">100<"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("there is no %s in %s", want, out.String())
		}
	}
}
