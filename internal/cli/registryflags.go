package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/westworld-charter/charter/internal/bundle"
	"github.com/westworld-charter/charter/internal/distribution"
	"github.com/westworld-charter/charter/internal/release"
)

// registryFlags say how registries and servers are reached.
type registryFlags struct{ options distribution.Options }

func (f *registryFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.options.DockerConfig, "docker-config", "", "`file` with the credentials of registries (default $DOCKER_CONFIG/config.json or ~/.docker/config.json)")
	flags.StringVar(&f.options.TokenFile, "registry-token-file", "", "`file` with a bearer token for the registry or server")
	flags.StringVar(&f.options.CAFile, "registry-ca", "", "PEM `file` with the authorities for the certificate of the registry")
	flags.StringVar(&f.options.CertFile, "registry-cert", "", "PEM `file` with the certificate shown to the registry")
	flags.StringVar(&f.options.KeyFile, "registry-key", "", "PEM `file` with the key of --registry-cert")
	flags.BoolVar(&f.options.InsecurePlainHTTP, "insecure-plain-http", false, "use HTTP without TLS; the loopback needs no flag")
}

// addMirrors is for commands that fetch bundles.
func (f *registryFlags) addMirrors(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&f.options.Mirrors, "mirror", nil, "`reference` of a copy, such as oci://HOST, that is asked first for bundles, repeatable")
}

// open parses a reference and completes the options. Progress is drawn on a terminal.
func (f *registryFlags) open(p *program, text string) (distribution.Ref, distribution.Options, error) {
	ref, err := distribution.ParseRef(text)
	if err != nil {
		return ref, distribution.Options{}, &exitError{ExitUsage, err}
	}
	options := f.options
	options.UserAgent = "charter-admin/" + buildVersion()
	options.Progress = p.transferBar()
	return ref, options, nil
}

// openTarget is open for a reference that is written to. A layout in a directory is
// never begun by a mere slip: a host without oci:// before it looks like one.
func (f *registryFlags) openTarget(p *program, text string) (distribution.Ref, distribution.Options, error) {
	ref, options, err := f.open(p, text)
	local := !strings.Contains(text, "://") && !strings.HasPrefix(text, ".") && !strings.HasPrefix(text, "/")
	if err == nil && local && !exists(ref.WithTag("").String()) {
		err = usagef("%s: did you mean oci://%s? A new directory for an OCI layout is written ./%s", text, text, text)
	}
	return ref, options, err
}

// transferBar draws how far the transfer of each thing came, and takes it away when it
// is complete.
func (p *program) transferBar() func(what string, done, total int64) {
	var drawn *bar
	var title string
	return func(what string, done, total int64) {
		if drawn == nil || title != what {
			drawn, title = p.newBar(what), what
		}
		if done >= total {
			drawn.clear()
			return
		}
		drawn.show(uint64(max(done, 0)), uint64(max(total, 0)))
	}
}

// transferError gives an error of fetching and sending its exit code: what is not as it
// should be is a matter of verification, what cannot be reached one of the surroundings.
func transferError(err error) error {
	var e *distribution.Error
	var r *release.Error
	var b *bundle.Error
	switch {
	case errors.As(err, &r), errors.As(err, &b):
		return &exitError{ExitVerify, err}
	case !errors.As(err, &e):
		return err
	}
	if fix := fixOf(e.Code); fix != "" {
		err = fmt.Errorf("%w; %s", err, fix)
	}
	switch e.Code {
	case distribution.CodeUnreachable, distribution.CodeIO, distribution.CodeCanceled:
		return &exitError{ExitInternal, err}
	case distribution.CodeNotFound, distribution.CodeUnauthorized, distribution.CodeBadReference, distribution.CodeInsecureTransport, distribution.CodeUnsupported:
		return &exitError{ExitUsage, err}
	default:
		return &exitError{ExitVerify, err}
	}
}
