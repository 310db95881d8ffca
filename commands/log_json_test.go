package commands

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"reflect"
	"testing"
	"time"
)

// sameLine wants the handler to write what slog's own one writes.
func sameLine(t *testing.T, when time.Time, message string, attrs ...slog.Attr) {
	t.Helper()
	var lines [2]any
	var out [2]bytes.Buffer
	options := &slog.HandlerOptions{Level: slog.LevelDebug}
	for i, handler := range []slog.Handler{newJSONHandler(&out[0], options), slog.NewJSONHandler(&out[1], options)} {
		record := slog.NewRecord(when, slog.LevelWarn, message, 0)
		record.AddAttrs(attrs...)
		if err := handler.Handle(context.Background(), record); err != nil {
			t.Fatal(err)
		}
		line := out[i].Bytes()
		if bytes.Count(line, []byte("\n")) != 1 || !bytes.HasSuffix(line, []byte("\n")) {
			t.Errorf("not one line: %q", line)
		}
		if err := json.Unmarshal(line, &lines[i]); err != nil {
			t.Errorf("%v: %s", err, line)
		}
	}
	if !reflect.DeepEqual(lines[0], lines[1]) {
		t.Errorf("%s%s", out[0].Bytes(), out[1].Bytes())
	}
}

func TestJSONHandler(t *testing.T) {
	when := time.Date(2026, 11, 21, 9, 30, 0, 123456789, time.FixedZone("", 3600))
	sameLine(t, when, "nothing")
	sameLine(t, time.Time{}, "no time")
	sameLine(t, when, "plain", slog.String("text", "a\"\\\n\x00\u2028<&>é\xff"), slog.Int("number", -3), slog.Float64("ms", 0.25))
	for _, f := range []float64{0, 1e-7, 1e-6, 1e21, -1e300, math.MaxFloat64, 3} {
		sameLine(t, when, "a number", slog.Float64("f", f))
	}
	sameLine(t, when, "raw JSON", slog.Any("list", json.RawMessage(`[{"a":"b"}]`)))
	sameLine(t, when, "an error", slog.Any("error", errors.New("no\nroom")), slog.String("after", "x"))
	sameLine(t, when, "rare", slog.Bool("b", true), slog.Duration("d", time.Second), slog.Time("t", when),
		slog.Uint64("u", math.MaxUint64), slog.Any("nothing", nil), slog.Any("list", []string{"a", "b"}),
		slog.Group("group", slog.String("a", "b")), slog.Group("", slog.Int("inlined", 1)))
	sameLine(t, when, "no number", slog.Float64("f", math.Inf(1)))
	sameLine(t, when, "left out", slog.Attr{}, slog.String("a", "b"))
}

func FuzzJSONHandler(f *testing.F) {
	f.Add(int64(0), "message", "key", "a\"\\\n\x00\u2028é\xff", int64(-1), 0.5)
	f.Fuzz(func(t *testing.T, nanoseconds int64, message, key, text string, number int64, fraction float64) {
		sameLine(t, time.Unix(0, nanoseconds).UTC(), message,
			slog.String(key, text), slog.Int64("number", number), slog.Float64("fraction", fraction))
	})
}

func BenchmarkJSONHandler(b *testing.B) {
	attrs := []slog.Attr{
		slog.String("ref", "5ewxyz20"), slog.String("id", "5ewxyz20tbaytnk8jqp6vwxax4"), slog.String("type", "SignIn"),
		slog.String("locale", "en"), slog.String("to", "u***@example.org"), slog.String("provider", "sink"),
		slog.String("provider_id", "4B1C2D3E4F"), slog.Any("attempts", json.RawMessage(`[{"provider":"sink","kind":"accepted","ms":3.25}]`)),
		slog.Float64("ms", 4.125),
	}
	var out bytes.Buffer
	options := &slog.HandlerOptions{}
	for name, handler := range map[string]slog.Handler{
		"own": newJSONHandler(&out, options), "slog": slog.NewJSONHandler(&out, options),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				out.Reset()
				record := slog.NewRecord(time.Now(), slog.LevelInfo, "mail accepted", 0)
				record.AddAttrs(attrs...)
				_ = handler.Handle(context.Background(), record)
			}
		})
	}
}
