package cli

import (
	"bytes"
	"context"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/westworld-charter/charter/internal/release"
	"github.com/westworld-charter/charter/internal/signing"
	"github.com/westworld-charter/charter/internal/signing/online"
)

// signerFlags say who signs: a key, or an identity for which Fulcio makes a
// certificate.
type signerFlags struct {
	key, tokenFile                      string
	fulcio, rekor, timestamps, rootFile string
}

// identityToken holds the token where CI systems and cosign put it.
const identityToken = "SIGSTORE_ID_TOKEN"

func (f *signerFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.key, "key", "", "`key` that signs: a file, or the reference of a KMS")
	flags.StringVar(&f.tokenFile, "identity-token", "", "`file` with the OIDC token of who signs without a key (default $"+identityToken+")")
	flags.StringVar(&f.fulcio, "fulcio-url", "", "`URL` of Fulcio, which certifies who signs without a key")
	flags.StringVar(&f.rekor, "rekor-url", "", "`URL` of a Rekor v2 log that is to hold the signature")
	flags.StringVar(&f.timestamps, "timestamp-url", "", "`URL` of an RFC 3161 timestamp authority")
	flags.StringVar(&f.rootFile, "trusted-root", "", "Sigstore trusted root `file` of these services")
}

// signer signs, and knows its own statements.
type signer struct {
	signing.Signer
	hint string // of its key, "" without one
}

// signOnce signs a statement unless it is there already, signed with the same key; then
// it returns nil. An identity has another key each time, and signs again.
func (s *signer) signOnce(ctx context.Context, there []statement, wanted release.Statement) (*statement, error) {
	payload, err := wanted.Encode()
	if err != nil {
		return nil, err
	}
	for _, t := range there {
		if s.hint != "" && t.claim.KeyHint == s.hint && bytes.Equal(t.claim.Payload, payload) {
			return nil, nil
		}
	}
	raw, err := s.Sign(ctx, payload)
	if err != nil {
		return nil, err
	}
	made, err := newStatement(raw)
	return &made, err
}

// open returns the signer, once the flags fit together.
func (f *signerFlags) open(ctx context.Context, p *program, command string) (*signer, error) {
	services := online.Services{FulcioURL: f.fulcio, RekorURL: f.rekor, TSAURL: f.timestamps}
	if f.rootFile != "" {
		var err error
		if services.TrustedRoot, err = os.ReadFile(f.rootFile); err != nil {
			return nil, usagef("--trusted-root: %w", err)
		}
	}
	if f.key == "" {
		return f.openIdentity(p, command, services)
	}
	if f.tokenFile != "" || f.fulcio != "" {
		return nil, usagef("%s: --key excludes --identity-token and --fulcio-url: a key signs, or an identity", command)
	}
	key, err := p.openKey(ctx, f.key)
	if err != nil {
		return nil, err
	}
	s, err := online.NewKeySigner(key, services)
	if err != nil {
		return nil, &exitError{ExitUsage, err}
	}
	return &signer{s, key.Hint()}, nil
}

// openIdentity returns the signer that signs as whom the token names.
func (f *signerFlags) openIdentity(p *program, command string, services online.Services) (*signer, error) {
	if f.fulcio == "" && f.tokenFile == "" {
		return nil, usagef("%s needs --key KEY, or --fulcio-url to sign without one; see charter-admin %s --help", command, command)
	}
	for _, need := range []struct{ flag, value string }{
		{"--fulcio-url", f.fulcio}, {"--rekor-url", f.rekor}, {"--timestamp-url", f.timestamps}, {"--trusted-root", f.rootFile},
	} {
		if need.value == "" {
			return nil, usagef("%s: signing without a key needs %s, too; see charter-admin %s --help", command, need.flag, command)
		}
	}
	services.IDToken = func(context.Context) (string, error) { return f.token(p, command) }
	s, err := online.NewKeylessSigner(services)
	if err != nil {
		return nil, &exitError{ExitUsage, err}
	}
	return &signer{Signer: s}, nil
}

func (f *signerFlags) token(p *program, command string) (string, error) {
	token := p.getenv(identityToken)
	if f.tokenFile != "" {
		text, err := os.ReadFile(f.tokenFile)
		if err != nil {
			return "", usagef("--identity-token: %w", err)
		}
		token = string(text)
	}
	if token = strings.TrimSpace(token); token == "" {
		return "", usagef("%s: no identity token: give --identity-token FILE or set $%s", command, identityToken)
	}
	return token, nil
}
