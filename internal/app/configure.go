package app

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/westworld-charter/charter/internal/diag"
)

// usageError is a command line, environment or configuration that cannot be
// used. Findings, when there are any, say more than the text.
type usageError struct {
	err      error
	findings diag.List
}

func (e *usageError) Error() string { return e.err.Error() }

func (e *usageError) Unwrap() error { return e.err }

// invocation is what the command line asks for.
type invocation struct {
	options       Options
	help, version bool
}

// value is one setting as it was given; origin names the place for messages.
type value struct {
	text, origin string
}

// layer holds the values of one source, by flag name.
type layer map[string]value

// configure combines the sources: flags win over the environment, the
// environment over the file, the file over the defaults. Errors are usage
// errors.
func (p Program) configure(args []string, getenv func(string) string, readFile func(string) ([]byte, error)) (invocation, error) {
	flags, inv, err := p.parseFlags(args)
	if err != nil || inv.help || inv.version {
		return inv, err
	}
	env := layer{}
	for _, s := range p.settings {
		name := p.variable(s.flag)
		if v := getenv(name); v != "" {
			env[s.flag] = value{v, name}
		}
	}
	var file layer
	if path := first(flags["config"].text, getenv(p.variable("config"))); path != "" {
		if file, err = p.loadConfig(path, readFile); err != nil {
			return inv, err
		}
	}
	inv.options, err = p.combine(standardEnvironment(getenv), file, env, flags)
	return inv, err
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// combine applies the layers in order, later ones over earlier ones.
func (p Program) combine(layers ...layer) (Options, error) {
	o := p.defaults
	var faults []error
	for _, l := range layers {
		// What to serve is one choice: a bundle on the command line replaces a
		// charter in the file.
		if l["charter"].text != "" || l["bundle"].text != "" {
			o.Charter, o.Bundle = "", ""
		}
		for _, s := range p.settings {
			v, given := l[s.flag]
			if !given {
				continue
			}
			if err := s.set(&o, v.text); err != nil {
				faults = append(faults, fmt.Errorf("%s: %w", v.origin, err))
			}
		}
	}
	if len(faults) == 0 {
		if err := p.validate(o); err != nil {
			faults = append(faults, err)
		}
	}
	if err := errors.Join(faults...); err != nil {
		return o, &usageError{err: err}
	}
	return o, nil
}

// parseFlags reads the command line; -x and --x are the same.
func (p Program) parseFlags(args []string) (layer, invocation, error) {
	var inv invocation
	given := layer{}
	fs := flag.NewFlagSet(p.name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	record := func(name string, list bool) func(string) error {
		return func(v string) error {
			if v == "" {
				return errors.New("the value is empty")
			}
			if before, again := given[name]; again && list {
				v = before.text + "," + v
			}
			given[name] = value{v, "--" + name}
			return nil
		}
	}
	names := []string{"config", "help", "version"}
	for _, s := range p.settings {
		names = append(names, s.flag)
		if s.arg == "" {
			fs.BoolFunc(s.flag, s.usage, record(s.flag, false))
		} else {
			fs.Func(s.flag, s.usage, record(s.flag, s.list))
		}
	}
	fs.Func("config", "configuration file", record("config", false))
	fs.BoolVar(&inv.version, "version", false, "print the version")
	err := fs.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		inv.help = true
		return nil, inv, nil
	case err != nil:
		return nil, inv, &usageError{err: errors.New(err.Error() + suggestion(err, names))}
	case fs.NArg() > 0:
		return nil, inv, &usageError{err: fmt.Errorf("unexpected argument %q; %s", fs.Arg(0), p.help.nothing)}
	}
	return given, inv, nil
}

// suggestion names the flag that an unknown one was probably meant to be.
func suggestion(err error, names []string) string {
	unknown, ok := strings.CutPrefix(err.Error(), "flag provided but not defined: -")
	if !ok {
		return ""
	}
	if near := diag.DidYouMean(unknown, names); near != "" {
		return ", did you mean --" + near + "?"
	}
	return ""
}
