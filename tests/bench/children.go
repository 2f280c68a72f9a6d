package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/westworld-charter/charter/internal/bundle"
	"github.com/westworld-charter/charter/internal/engine"
	"github.com/westworld-charter/charter/tests/bench/measure"
)

// childLoad is the word that this command is started with by itself.
const childLoad = "load"

// children are what this command does when it is started by itself: work whose
// cost belongs to a process of its own.
func children() map[string]func(ctx context.Context, args []string, stdout io.Writer) error {
	return map[string]func(context.Context, []string, io.Writer) error{childLoad: load}
}

// loaded is what reading and activating a bundle cost a fresh process.
type loaded struct {
	CPU  time.Duration // in nanoseconds
	Heap uint64        // bytes alive afterwards
	Peak uint64        // bytes that Go had from the system
}

// load reads and activates a bundle. Argument: BUNDLE.
func load(ctx context.Context, args []string, stdout io.Writer) error {
	if len(args) != 1 {
		return errors.New("want BUNDLE")
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	start, err := measure.Self()
	if err != nil {
		return err
	}
	e, err := activate(ctx, args[0])
	if err != nil {
		return err
	}
	end, err := measure.Self()
	if err != nil {
		return err
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	result := loaded{CPU: end - start, Heap: after.HeapAlloc - before.HeapAlloc, Peak: after.Sys}
	runtime.KeepAlive(e)
	return json.NewEncoder(stdout).Encode(result)
}

func activate(ctx context.Context, path string) (*engine.Engine, error) {
	b, err := bundle.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read bundle: %w", err)
	}
	p, err := engine.Prepare(ctx, b, nil)
	if err != nil {
		return nil, fmt.Errorf("prepare: %w", err)
	}
	e := engine.New()
	e.Swap(p)
	return e, nil
}
