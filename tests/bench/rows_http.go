package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/tests/bench/measure"
	"github.com/westworld-charter/charter/tests/bench/rival"
)

// httpSize is the size of charters that are asked over HTTP, where the size of
// ours no longer shows.
const httpSize = 1000

// batchSize is how many questions a batch holds.
const batchSize = 1000

// httpRows compare servers, each a process of its own, by the CPU time of these
// processes.
func httpRows() []row {
	return []row{
		overHTTP("cold_vs_opa_run_http", atLeast(1.3), true, uniform, (*bench).opaBundle, (*bench).uncachedServer),
		overHTTP("cached_vs_opa_run_http", atLeast(3), true, scraped, (*bench).opaBundle, (*bench).charterServer),
		overHTTP("cold_vs_opa_run_naive_http", goal{}, false, uniform, naiveServer, (*bench).uncachedServer),
		batched("batch_cold_vs_opa_run_http", atLeast(4), uniform, (*bench).uncachedServer),
		batched("batch_cached_vs_opa_run_http", atLeast(20), scraped, (*bench).charterServer),
	}
}

// asked is the questions that both servers get.
type asked func(s *subject) []decision.Input

func uniform(s *subject) []decision.Input { return s.uniform }

// scraped is one scrape, which is asked again and again: in whole batches.
func scraped(s *subject) []decision.Input {
	scrape := s.spec.Scrape()
	return scrape[:len(scrape)/batchSize*batchSize]
}

// starter starts a server for a subject.
type starter func(b *bench, ctx context.Context, s *subject) (*server, error)

func naiveServer(b *bench, ctx context.Context, s *subject) (*server, error) {
	return b.opaNaive(ctx, s.spec)
}

// overHTTP compares two servers question by question.
func overHTTP(name string, g goal, short bool, of asked, theirs, mine starter) row {
	return row{name, short, func(ctx context.Context, b *bench) ([]line, error) {
		return b.pair(ctx, theirs, mine, func(s *subject, a, ours *server) (line, error) {
			questions := of(s)
			sideA, err := a.side(questions)
			if err != nil {
				return line{}, err
			}
			sideB, err := ours.side(questions)
			if err != nil {
				return line{}, err
			}
			result, err := measure.Compare(ctx, b.plan(len(questions)), sideA, sideB)
			return withoutAllocs(compared(name, g, result)), err
		})
	}}
}

// batched compares single questions to opa with batches to us.
func batched(name string, g goal, of asked, mine starter) row {
	return row{name, true, func(ctx context.Context, b *bench) ([]line, error) {
		return b.pair(ctx, (*bench).opaBundle, mine, func(s *subject, a, ours *server) (line, error) {
			questions := of(s)
			sideA, err := a.side(questions)
			if err != nil {
				return line{}, err
			}
			sideB, err := ours.batches(ctx, questions)
			if err != nil {
				return line{}, err
			}
			result, err := measure.Compare(ctx, b.plan(len(questions)), sideA, sideB)
			return withoutAllocs(compared(name, g, result)), err
		})
	}}
}

// withoutAllocs drops what the client allocated.
func withoutAllocs(l line) line {
	l.AllocsA, l.AllocsB = 0, 0
	return l
}

// pair starts two servers that agree and measures them.
func (b *bench) pair(ctx context.Context, theirs, mine starter, f func(s *subject, a, ours *server) (line, error)) ([]line, error) {
	s, err := b.subject(ctx, httpSize)
	if err != nil {
		return nil, err
	}
	a, err := theirs(b, ctx, s)
	if err != nil {
		return nil, err
	}
	defer a.stop()
	ours, err := mine(b, ctx, s)
	if err != nil {
		return nil, err
	}
	defer ours.stop()
	for _, server := range []*server{a, ours} {
		if err := rival.Agree(ctx, s.uniform[:2*measure.Block], s.Cold, server.decide); err != nil {
			return nil, err
		}
	}
	// Once through the scrape, so that what is measured is what comes again.
	for _, in := range scraped(s) {
		if _, err := ours.decide(ctx, in); err != nil {
			return nil, err
		}
	}
	l, err := f(s, a, ours)
	return []line{l}, err
}

// batches asks batchSize questions at a time.
func (s *server) batches(ctx context.Context, questions []decision.Input) (measure.Side, error) {
	s.url += "/batch"
	bodies := map[int][]byte{}
	for at := 0; at+batchSize <= len(questions); at += batchSize {
		items := make([]any, batchSize)
		for i, in := range questions[at : at+batchSize] {
			items[i] = s.encode(in)
		}
		body, err := json.Marshal(map[string]any{"items": items})
		if err != nil {
			return measure.Side{}, err
		}
		bodies[at] = body
	}
	if err := s.checkBatch(ctx, bodies[0], questions[:batchSize]); err != nil {
		return measure.Side{}, err
	}
	cpu := measure.Process(s.cmd.Process.Pid)
	return measure.Side{CPU: cpu, Each: batchSize, Steps: 1, Warm: 2, Ask: func(ctx context.Context, i int) error {
		_, err := s.post(ctx, bodies[i])
		return err
	}}, nil
}

// checkBatch makes sure that a batch answers as single questions do.
func (s *server) checkBatch(ctx context.Context, body []byte, questions []decision.Input) error {
	text, err := s.post(ctx, body)
	if err != nil && strings.Contains(err.Error(), fmt.Sprintf("status %d", http.StatusNotFound)) {
		return skipped("the server has no batch endpoint")
	}
	if err != nil {
		return err
	}
	var answer struct{ Results []decision.Decision }
	if err := json.Unmarshal(text, &answer); err != nil {
		return fmt.Errorf("read batch: %w", err)
	}
	if len(answer.Results) != len(questions) {
		return fmt.Errorf("%d results for %d questions", len(answer.Results), len(questions))
	}
	single := *s
	single.url = strings.TrimSuffix(s.url, "/batch")
	for i, in := range questions[:2*measure.Block] {
		allow, err := single.decide(ctx, in)
		if err != nil {
			return err
		}
		if allow != answer.Results[i].Allow {
			return fmt.Errorf("question %d: the batch says allow %v, alone it is %v", i, answer.Results[i].Allow, allow)
		}
	}
	return nil
}
