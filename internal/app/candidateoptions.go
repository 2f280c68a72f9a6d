package app

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/westworld-charter/charter/internal/engine"
	"github.com/westworld-charter/charter/internal/rollout"
)

// CandidateOptions are about a policy that is tried beside the active one.
type CandidateOptions struct {
	Path       string        // a charter, or a bundle: a directory or a .tar.gz; "" is none
	Percent    int           // of node ids that it answers; 0 is shadow alone
	Sample     int           // percent of the questions that are compared in shadow
	StopOn     string        // differences that count towards stopping, between commas
	StopRate   float64       // share of such differences above which it stops
	StopCount  int           // such differences before it stops
	StopWindow time.Duration // within which they count
}

func (c CandidateOptions) validate(fault func(string, ...any)) {
	if strings.Contains(c.Path, "://") {
		fault("--candidate %s: only a charter, a directory or a .tar.gz file can be a candidate", c.Path)
	}
	if c.Path == "" && c.Percent > 0 {
		fault("--candidate-percent %d needs --candidate", c.Percent)
	}
}

// threshold is the form of the rollout.
func (c CandidateOptions) threshold() rollout.Threshold {
	kinds, _ := parseKinds(c.StopOn) // was checked when it was set
	return rollout.Threshold{Kinds: kinds, Rate: c.StopRate, Count: c.StopCount, Window: c.StopWindow}
}

// rollout are the options of a rollout around an engine of the same options.
func (o Options) rollout(stopped func(string, rollout.Stop)) rollout.Options {
	return rollout.Options{
		Engine: engine.Options{CacheSize: cacheSize(o.Cache)}, Skip: 100 - o.Candidate.Sample,
		Threshold: o.Candidate.threshold(), Timeout: o.Timeouts.Decide, OnStop: stopped,
	}
}

// asPolicy are options whose policy is the candidate.
func (o Options) asPolicy() Options {
	path := o.Candidate.Path
	o.Charter, o.Bundle = path, ""
	if info, err := os.Stat(path); strings.HasSuffix(path, ".tar.gz") || err == nil && info.IsDir() {
		o.Charter, o.Bundle = "", path
	}
	return o
}

func parseKinds(value string) ([]rollout.Kind, error) {
	var kinds []rollout.Kind
	for name := range strings.SplitSeq(value, ",") {
		kind, ok := rollout.ParseKind(strings.TrimSpace(name))
		if !ok {
			return nil, fmt.Errorf("%q is not a difference: widened, narrowed, obligations or explanation, between commas", name)
		}
		kinds = append(kinds, kind)
	}
	return kinds, nil
}

func differences(field func(*Options) *string) access {
	return access{
		set: func(o *Options, value string) error {
			_, err := parseKinds(value)
			*field(o) = value
			return err
		},
		get: func(o Options) string { return *field(&o) },
	}
}

func percentage(field func(*Options) *int) access {
	return access{
		set: func(o *Options, value string) error {
			n, err := strconv.Atoi(value)
			if err != nil || n < 0 || n > 100 {
				return fmt.Errorf("%q is not a whole number from 0 to 100", value)
			}
			*field(o) = n
			return nil
		},
		get: func(o Options) string { return strconv.Itoa(*field(&o)) },
	}
}

func share(field func(*Options) *float64) access {
	return access{
		set: func(o *Options, value string) error {
			x, err := strconv.ParseFloat(value, 64)
			if err != nil || !(x >= 0 && x <= 1) { // NaN is not
				return fmt.Errorf("%q is not a share from 0 to 1, such as 0.01", value)
			}
			*field(o) = x
			return nil
		},
		get: func(o Options) string { return strconv.FormatFloat(*field(&o), 'g', -1, 64) },
	}
}
