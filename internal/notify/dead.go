package notify

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/westworld-charter/charter/internal/durable"
)

// maxDead bounds the dead letters that are kept; the oldest go first.
const maxDead = 1000

// DeadLetter is a delivery that was given up.
type DeadLetter struct {
	ID       string    `json:"id"`
	Receiver string    `json:"receiver"`
	Channel  string    `json:"channel"` // slack, email or webhook; "" when the charter has no such receiver any more
	Code     string    `json:"code"`    // why the last attempt failed
	Attempts int       `json:"attempts"`
	Sealed   time.Time `json:"sealed"` // when it was first due
	Dead     time.Time `json:"dead"`
	Payload  Payload   `json:"payload"` // what would have been sent
}

// writeDead keeps a dead letter. Its name sorts by time.
func writeDead(dir string, d DeadLetter) error {
	body, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return fmt.Errorf("keep dead letter: %w", err)
	}
	name := fmt.Sprintf("%s-%s.json", d.Dead.UTC().Format("20060102T150405.000000000"), d.ID)
	if err := durable.WriteFile(filepath.Join(dir, deadDir, name), append(body, '\n')); err != nil {
		return fmt.Errorf("keep dead letter: %w", err)
	}
	names, err := deadNames(dir)
	if err != nil {
		return nil //nolint:nilerr // it is kept; there may be one too many
	}
	for _, old := range names[:max(0, len(names)-maxDead)] {
		_ = os.Remove(filepath.Join(dir, deadDir, old)) // then it is gone next time
	}
	return nil
}

// deadNames lists the files, oldest first.
func deadNames(dir string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(dir, deadDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	var names []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".json") {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

// Dead lists the dead letters in the directory of an outbox, oldest first. It can be
// used while a Notifier runs. Files that cannot be read are joined into the error; the
// list has the others.
func Dead(dir string) ([]DeadLetter, error) {
	names, err := deadNames(dir)
	if err != nil {
		return nil, err
	}
	var list []DeadLetter
	var faults []error
	for _, name := range names {
		text, err := readLimited(filepath.Join(dir, deadDir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue // a newer one took its place
		}
		var d DeadLetter
		if err == nil {
			d, err = parseDead(text)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("read dead letter %s: %w", name, err))
			continue
		}
		list = append(list, d)
	}
	return list, errors.Join(faults...)
}

func parseDead(text []byte) (DeadLetter, error) {
	var d DeadLetter
	if err := json.Unmarshal(text, &d); err != nil {
		return DeadLetter{}, err
	}
	if d.ID == "" || d.Receiver == "" {
		return DeadLetter{}, errors.New("it has no id or no receiver")
	}
	return d, nil
}
