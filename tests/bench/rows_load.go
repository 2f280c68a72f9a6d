package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"github.com/westworld-charter/charter/tests/bench/measure"
)

// What loading 100,000 metrics may cost.
const (
	loadSeconds = 0.7
	loadBytes   = 200_000_000
)

// loadActivate reads and activates the bundle of 100,000 metrics in fresh
// processes. The ratio is the share of what it may cost.
func loadActivate(ctx context.Context, b *bench) ([]line, error) {
	s, err := b.subject(ctx, 100_000)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(b.dir, "large.tar.gz")
	if err := writeTar(path, s); err != nil {
		return nil, err
	}
	var cpu, heap []float64
	for range b.rounds {
		got, err := loadOnce(ctx, path)
		if err != nil {
			return nil, err
		}
		cpu, heap = append(cpu, got.CPU.Seconds()), append(heap, float64(got.Heap))
	}
	budget := func(name, unit string, values []float64, most float64) line {
		got := measure.Median(values)
		return line{Name: name, Ratio: round(got / most), A: round(got), B: most, Rounds: b.rounds, Unit: unit, Note: s.note()}.judged(atMost(1))
	}
	return []line{
		budget("load_activate_100k", "s CPU", cpu, loadSeconds),
		budget("load_heap_100k", "bytes alive", heap, loadBytes),
	}, nil
}

func writeTar(path string, s *subject) error {
	var archive bytes.Buffer
	if err := s.Bundle.WriteTar(&archive); err != nil {
		return fmt.Errorf("write bundle: %w", err)
	}
	return os.WriteFile(path, archive.Bytes(), 0o600)
}

func loadOnce(ctx context.Context, path string) (loaded, error) {
	cmd, err := self(ctx, childLoad, path)
	if err != nil {
		return loaded{}, err
	}
	out, err := cmd.Output()
	if err != nil {
		return loaded{}, fmt.Errorf("load bundle: %w", err)
	}
	var got loaded
	if err := json.Unmarshal(out, &got); err != nil {
		return loaded{}, fmt.Errorf("read what loading cost: %w", err)
	}
	return got, nil
}

// self starts this command again.
func self(ctx context.Context, args ...string) (*exec.Cmd, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this command: %w", err)
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS="+strconv.Itoa(threads))
	cmd.Stderr = os.Stderr
	return cmd, nil
}
