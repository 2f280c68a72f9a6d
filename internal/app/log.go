package app

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"

	"github.com/westworld-charter/charter/internal/diag"
)

// newLogger logs to w in the format of the options: JSON for programs, text for
// people at a terminal.
func newLogger(w io.Writer, o Options) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(o.LogLevel)); err != nil {
		level = slog.LevelInfo // validate admits no other name
	}
	opts := &slog.HandlerOptions{Level: level}
	if o.LogFormat == "text" || o.LogFormat == "auto" && terminal(w) {
		return slog.New(slog.NewTextHandler(w, opts))
	}
	return slog.New(slog.NewJSONHandler(w, opts))
}

func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// logFindings reports what is odd about a charter that is served nevertheless.
func logFindings(log *slog.Logger, findings diag.List) {
	for _, f := range findings {
		log.Warn("charter: "+f.Message, "code", f.Code, "location", f.Pos.String(), "fix", f.Fix)
	}
}

// complaints is where net/http writes what it cannot tell a handler. Handshakes
// that fail are at level debug: whoever can connect can cause any number of them.
type complaints struct{ log *slog.Logger }

// Write logs one line.
func (c complaints) Write(line []byte) (int, error) {
	level := slog.LevelWarn
	if bytes.HasPrefix(line, []byte("http: TLS handshake error")) {
		level = slog.LevelDebug
	}
	c.log.Log(context.Background(), level, string(bytes.TrimSpace(line)))
	return len(line), nil
}
