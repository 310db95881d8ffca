package commands

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"math"
	"strconv"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// jsonHandler writes what slog's own JSON handler writes, which is in it for all
// that is not plain: groups, attributes of a logger, values of rare kinds. For
// the plain lines, of which every mail has two, it takes less than half the time.
type jsonHandler struct {
	slog.Handler
	out   io.Writer
	lines sync.Pool // of *[]byte
}

func newJSONHandler(out io.Writer, options *slog.HandlerOptions) *jsonHandler {
	return &jsonHandler{Handler: slog.NewJSONHandler(out, options), out: out, lines: sync.Pool{New: func() any { return new([]byte) }}}
}

// Handle writes one line.
func (h *jsonHandler) Handle(ctx context.Context, r slog.Record) error {
	kept := h.lines.Get().(*[]byte)
	defer h.lines.Put(kept)
	b := append((*kept)[:0], `{"time":"`...)
	b = r.Time.AppendFormat(b, time.RFC3339Nano)
	b = append(append(b, `","level":"`...), r.Level.String()...)
	b = appendQuoted(append(b, `","msg":`...), r.Message)
	plain := !r.Time.IsZero()
	r.Attrs(func(a slog.Attr) bool {
		b = append(appendQuoted(append(b, ','), a.Key), ':')
		b, plain = appendPlain(b, a.Value)
		return plain
	})
	if *kept = b; !plain {
		return h.Handler.Handle(ctx, r)
	}
	*kept = append(b, "}\n"...)
	_, err := h.out.Write(*kept)
	return err
}

// appendPlain appends a value, if it is of a kind that is simple to write.
func appendPlain(b []byte, v slog.Value) (_ []byte, plain bool) {
	switch v.Kind() {
	case slog.KindString:
		return appendQuoted(b, v.String()), true
	case slog.KindInt64:
		return strconv.AppendInt(b, v.Int64(), 10), true
	case slog.KindFloat64:
		f := v.Float64()
		return strconv.AppendFloat(b, f, 'f', -1, 64), f == 0 || 1e-6 <= math.Abs(f) && math.Abs(f) < 1e21
	case slog.KindAny:
		if value, ok := v.Any().(json.Marshaler); ok {
			text, err := value.MarshalJSON() // ours, so one line and valid
			return append(b, text...), err == nil
		}
	}
	return b, false
}

// appendQuoted appends a text in JSON. Bytes that are no UTF-8 are replaced.
func appendQuoted(b []byte, text string) []byte {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			b, _ = jsontext.AppendQuote(b, text)
			return b
		}
	}
	return append(append(append(b, '"'), text...), '"') // as nearly all are
}
