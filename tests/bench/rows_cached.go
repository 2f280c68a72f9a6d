package main

import (
	"context"
	"fmt"

	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/engine"
	"github.com/westworld-charter/charter/tests/bench/measure"
	"github.com/westworld-charter/charter/tests/bench/rival"
)

const (
	// uniformQuestions is how many the hit rate of the uniform workload is over.
	uniformQuestions, shortQuestions = 60_000, 10_000
	// scrapes is how often the node is scraped for its hit rate, the first time
	// with an empty cache.
	scrapes = 10
)

// cachedRows are about our engine with its cache, which no rival has: the names
// of the lines say so.
func cachedRows() []row {
	return []row{
		{"cached_vs_cedar_resolved", true, cachedHits},
		{"cached_known_vs_cedar_resolved", true, cachedKnown},
		{"hit_rate_scrape", true, hitRateScrape},
	}
}

// cachedHits asks only what is answered from the cache.
func cachedHits(ctx context.Context, b *bench) ([]line, error) {
	s, e, scrape, err := b.answered(ctx)
	if err != nil {
		return nil, err
	}
	hits, err := onlyHits(ctx, e, scrape)
	if err != nil {
		return nil, err
	}
	l, err := b.versusCedar(ctx, "cached_vs_cedar_resolved", atLeast(15), s, e, hits)
	l.Note = fmt.Sprintf("the %d of %d questions of a scrape that are answered from the cache", len(hits), len(scrape))
	return []line{l}, err
}

// cachedKnown leaves unknown metrics out, for which the engine looks up what they
// were meant to be, from the cache or not.
func cachedKnown(ctx context.Context, b *bench) ([]line, error) {
	s, e, scrape, err := b.answered(ctx)
	if err != nil {
		return nil, err
	}
	hits, err := onlyHits(ctx, e, scrape)
	if err != nil {
		return nil, err
	}
	var known []decision.Input
	for _, in := range hits {
		d, err := e.Decide(ctx, in)
		if err != nil {
			return nil, err
		}
		if d.Outcome != decision.UnknownMetric {
			known = append(known, in)
		}
	}
	l, err := b.versusCedar(ctx, "cached_known_vs_cedar_resolved", goal{}, s, e, known)
	l.Note = fmt.Sprintf("the %d of %d questions of a scrape that are answered from the cache and are about chartered metrics", len(known), len(scrape))
	return []line{l}, err
}

// answered returns an engine that answered the questions of a scrape once.
func (b *bench) answered(ctx context.Context) (*subject, *engine.Engine, []decision.Input, error) {
	s, err := b.subject(ctx, 1000)
	if err != nil {
		return nil, nil, nil, err
	}
	e, scrape := s.cached(), s.spec.Scrape()
	for _, in := range scrape {
		if _, err := e.Decide(ctx, in); err != nil {
			return nil, nil, nil, err
		}
	}
	return s, e, scrape, nil
}

// onlyHits returns the questions that e answers from its cache.
func onlyHits(ctx context.Context, e *engine.Engine, questions []decision.Input) ([]decision.Input, error) {
	var hits []decision.Input
	for _, in := range questions {
		before := e.Stats().Hits
		if _, err := e.Decide(ctx, in); err != nil {
			return nil, err
		}
		if e.Stats().Hits > before {
			hits = append(hits, in)
		}
	}
	if len(hits) < measure.Block {
		return nil, skipped(fmt.Sprintf("only %d questions are answered from the cache: %s", len(hits), e.Stats().Off))
	}
	return hits, nil
}

func (b *bench) versusCedar(ctx context.Context, name string, g goal, s *subject, e *engine.Engine, asked []decision.Input) (line, error) {
	cedar, err := rival.CedarResolved(s.spec)
	if err != nil {
		return line{}, err
	}
	if err := rival.Agree(ctx, asked, cedar, deciding(e)); err != nil {
		return line{}, err
	}
	result, err := measure.Compare(ctx, b.plan(len(asked)), asking(cedar, asked), asking(deciding(e), asked))
	return compared(name, g, result), err
}

// hitRateScrape is the share of answers from the cache when one node is
// scraped again and again.
func hitRateScrape(ctx context.Context, b *bench) ([]line, error) {
	s, err := b.subject(ctx, 1000)
	if err != nil {
		return nil, err
	}
	scrape := s.spec.Scrape()
	var asked []decision.Input
	for range scrapes {
		asked = append(asked, scrape...)
	}
	return hitRate(ctx, "hit_rate_scrape", s, asked)
}

// hitRateUniform is the share of answers from the cache, empty at first, when
// any metric of 100,000 is asked about on any node.
func hitRateUniform(ctx context.Context, b *bench) ([]line, error) {
	s, err := b.subject(ctx, 100_000)
	if err != nil {
		return nil, err
	}
	n := uniformQuestions
	if b.short {
		n = shortQuestions
	}
	return hitRate(ctx, "hit_rate_uniform", s, s.spec.Uniform(n))
}

// hitRate asks all questions of a fresh engine and has the first of them
// compared with answers that no cache gave.
func hitRate(ctx context.Context, name string, s *subject, asked []decision.Input) ([]line, error) {
	e := s.cached()
	for i, in := range asked {
		d, err := e.Decide(ctx, in)
		if err != nil {
			return nil, err
		}
		if i%100 == 0 {
			if allow, err := s.Cold(ctx, in); err != nil || allow != d.Allow {
				return nil, fmt.Errorf("question %d: the cache says allow %v, without it %v (%v)", i, d.Allow, allow, err)
			}
		}
	}
	got := e.Stats()
	return []line{{
		Name: name, Ratio: round(float64(got.Hits) / float64(len(asked))), A: float64(got.Hits), B: float64(len(asked)), Rounds: 1, Unit: "questions",
		Note: fmt.Sprintf("from cold; %d misses, %d never cached, %d entries, %d verified", got.Misses, got.Bypassed, got.Entries, got.Verified),
	}}, nil
}
