package activation

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/westworld-charter/charter/internal/bundle"
	"github.com/westworld-charter/charter/internal/distribution"
	"github.com/westworld-charter/charter/internal/engine"
	"github.com/westworld-charter/charter/internal/release"
	"github.com/westworld-charter/charter/internal/signing"
)

// candidate is a release whose statements are trusted and for the channel (steps 1 to
// 5, without the mark).
type candidate struct {
	digest     string
	manifest   release.Manifest
	statements [][]byte
	statement  release.Policy
	signers    []string
}

func (c *candidate) expired(now time.Time) bool { return !now.Before(c.statement.Expires) }

// judge verifies a manifest and the statements about it. Its expiry is left to the
// caller: what was accepted in time is served on.
func judge(ctx context.Context, trust *signing.Trust, digest string, manifest []byte, statements [][]byte) (*candidate, error) {
	if got := release.Digest(manifest); got != digest {
		return nil, failf(CodeManifestMismatch, "the manifest of %s is %s", digest, got)
	}
	m, err := release.ParseManifest(manifest)
	if err != nil {
		return nil, err
	}
	verified, err := trust.Verify(ctx, digest, statements)
	if err != nil {
		return nil, err
	}
	c := &candidate{digest: digest, manifest: m, statements: statements}
	if err := c.choose(verified, trust.Channel()); err != nil {
		return nil, err
	}
	return c, nil
}

// choose takes the release statement that counts: the one with the highest sequence of
// the channel; among those, the one that expires last.
func (c *candidate) choose(verified signing.Verified, channel string) error {
	found := false
	no := failf(CodeMissingStatement, "nobody who is trusted made a release statement about %s", c.digest)
	for _, s := range verified.Statements {
		if s.Type != release.PolicyType {
			continue
		}
		p, err := s.Policy()
		if err != nil {
			no = err
			continue
		}
		if channel != "" && p.Channel != channel {
			no = failf(CodeWrongChannel, "released to channel %s, this is %s", p.Channel, channel)
			continue
		}
		if !found || p.Sequence > c.statement.Sequence || p.Sequence == c.statement.Sequence && p.Expires.After(c.statement.Expires) {
			found, c.statement, c.signers = true, p, s.Signers
		}
	}
	if !found {
		return no
	}
	return nil
}

// follows compares a candidate with the mark of its channel.
func (c *candidate) follows(mark Mark, inForce string, now time.Time) error {
	sequence := c.statement.Sequence
	switch {
	case sequence < mark.Sequence && c.digest == inForce:
		return failf(CodeReferrersDropped, "the newest statement about the release in force is of sequence %d, it had one of %d", sequence, mark.Sequence)
	case sequence < mark.Sequence:
		return failf(CodeOlderSequence, "sequence %d is older than %d, which was in force", sequence, mark.Sequence)
	case sequence == mark.Sequence && c.digest != mark.Digest:
		return failf(CodeSequenceReused, "sequence %d is that of %s, and now of %s", sequence, mark.Digest, c.digest)
	case sequence > mark.Sequence && c.expired(now):
		return failf(CodeExpired, "the release statement of sequence %d expired on %s", sequence, c.statement.Expires.Format(time.RFC3339))
	default:
		return nil
	}
}

// open reads the archive of a candidate (steps 6 and 7).
func (c *candidate) open(archive []byte) (*bundle.Bundle, error) {
	if got := release.Digest(archive); got != c.manifest.Layer.Digest || int64(len(archive)) != c.manifest.Layer.Size {
		return nil, failf(CodeLayerMismatch, "the archive is %s of %d bytes, the manifest names %s of %d", got, len(archive), c.manifest.Layer.Digest, c.manifest.Layer.Size)
	}
	b, err := bundle.Read(bytes.NewReader(archive), bundle.Limits{})
	if err != nil {
		return nil, err
	}
	if got := b.Manifest().Revision; got != c.statement.Revision {
		return nil, failf(CodeRevisionMismatch, "the statement is about revision %s, the bundle is %s", c.statement.Revision, got)
	}
	return b, nil
}

// prepare loads and questions the policy of a candidate (step 8).
func (c *candidate) prepare(ctx context.Context, b *bundle.Bundle, now time.Time) (*engine.Policy, error) {
	p, err := engine.Prepare(ctx, b, nil)
	if err != nil {
		return nil, err
	}
	if got := p.Charter().Digest(); got != c.statement.CharterDigest {
		return nil, failf(CodeCharterMismatch, "the statement is about charter %s, the bundle carries %s", c.statement.CharterDigest, got)
	}
	if err := selfTest(ctx, p, now); err != nil {
		return nil, failf(CodeSelfTest, "self-test of %s: %w", p.Revision(), err)
	}
	return p, nil
}

func (c *candidate) release() Release {
	s := c.statement
	return Release{
		Digest: c.digest, LayerDigest: c.manifest.Layer.Digest, Channel: s.Channel, Sequence: s.Sequence, Revision: s.Revision,
		CharterDigest: s.CharterDigest, Expires: s.Expires, Signers: c.signers,
		Manifest: c.manifest.Bytes(), Statements: distribution.EncodeStatements(c.statements),
	}
}

// Verified is a release that a node with the same trust policy would put in force if it
// had none before.
type Verified struct {
	Release

	Bundle *bundle.Bundle
	Policy *engine.Policy // without a state document
}

// VerifyRelease verifies a release as a node does, without a high-water mark: the
// statements of r and the archive of its layer, at a time. [CodeOf] tells why not.
func VerifyRelease(ctx context.Context, trust *signing.Trust, r distribution.Resolved, layer []byte, now time.Time) (Verified, error) {
	c, err := judge(ctx, trust, r.Digest, r.Manifest, r.Statements)
	if err == nil {
		err = c.follows(Mark{}, "", now)
	}
	if err != nil {
		return Verified{}, fmt.Errorf("verify release: %w", err)
	}
	b, err := c.open(layer)
	if err != nil {
		return Verified{}, fmt.Errorf("verify release: %w", err)
	}
	p, err := c.prepare(ctx, b, now)
	if err != nil {
		return Verified{}, fmt.Errorf("verify release: %w", err)
	}
	return Verified{c.release(), b, p}, nil
}

// VerifyStored verifies again what was verified before and is kept, under a trust policy
// that may be another one: the manifest, and that its statements still name a sequence
// of the channel. An end that has come since is no error. [CodeOf] tells why not.
func VerifyStored(ctx context.Context, trust *signing.Trust, manifest, statements []byte, sequence int64) error {
	c, err := judgeStored(ctx, trust, release.Digest(manifest), manifest, statements)
	if err == nil && c.statement.Sequence != sequence {
		err = failf(CodeMissingStatement, "nobody who is trusted made a release statement of sequence %d about %s", sequence, c.digest)
	}
	if err != nil {
		return fmt.Errorf("verify stored release: %w", err)
	}
	return nil
}

// withheld reports whether an error about statements is one that fewer of them cause.
func withheld(err error) bool {
	switch CodeOf(err) {
	case CodeMissingStatement, string(signing.CodeUnsigned), string(signing.CodeTooFewSigners):
		return true
	default:
		return false
	}
}
