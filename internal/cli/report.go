package cli

import (
	"context"
	"crypto/rand"
	"fmt"
	"mime"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
)

// maxEvidence is the size in bytes of the largest evidence that a server takes.
const maxEvidence = 1 << 20

// reportOfViolation is a report as the server reads it.
type reportOfViolation struct {
	Type        string        `json:"type"`
	Node        string        `json:"node"`
	Clause      string        `json:"clause,omitempty"`
	Metric      string        `json:"metric,omitempty"`
	Description string        `json:"description,omitempty"`
	Anonymous   bool          `json:"anonymous,omitempty"`
	Evidence    *evidenceFile `json:"evidence,omitempty"`
}

type evidenceFile struct {
	MediaType string `json:"media_type"`
	Data      []byte `json:"data"`
}

func (p *program) reportCommand() *cobra.Command {
	var f remoteFlags
	var r reportOfViolation
	var evidence string
	format := choice{values: []string{formatPretty, formatJSON}}
	cmd := &cobra.Command{
		Use:   "report --type TYPE --target NODE",
		Short: "Report a violation",
		Long: `Reports to charter-server that a node violates the charter. A report counts for
nothing until the committee has looked into it and confirmed it. What you write and
the evidence are kept outside the ledger, which has a salted hash of them.

With --anonymous no token is sent, and neither the ledger nor the log of the server
tells who reported; the charter says whether such reports are taken. What protects
your address on the way to the server is up to you.

Types: silent_collection, behavioral_prediction, data_extraction,
unauthorized_override, algorithm_manipulation, exploitation.`,
		Example: `  charter-admin report --type silent_collection --target edge-7 --evidence capture.txt
  charter-admin report --type exploitation --target edge-7 --anonymous --description "sells readings"`,
		Args: arguments(0, 0, "no arguments"),
		RunE: run(func(ctx context.Context, _ []string) error {
			switch {
			case r.Type == "":
				return usagef("--type says what kind of violation it is; see charter-admin report --help")
			case r.Node == "":
				return usagef("--target names the node")
			}
			if err := r.attach(evidence); err != nil {
				return err
			}
			server, err := p.remote(f, !r.Anonymous)
			if err != nil {
				return err
			}
			body, err := server.post(ctx, "/v1/violations", r, rand.Text())
			if err != nil {
				return err
			}
			return answered(p, body, format.is(formatJSON), func(v struct {
				ID    string
				Entry uint64
			},
			) error {
				_, err := fmt.Fprintf(p.stdout, "reported as violation %s, entry %d of the ledger\n", printable(v.ID), v.Entry)
				return err
			})
		}),
	}
	cmd.Flags().StringVar(&r.Type, "type", "", "`type` of the violation")
	cmd.Flags().StringVar(&r.Node, "target", "", "the `node` that violates the charter")
	cmd.Flags().StringVar(&r.Clause, "clause", "", "`id` of the clause that it violates")
	cmd.Flags().StringVar(&r.Metric, "metric", "", "`name` of the metric")
	cmd.Flags().StringVar(&r.Description, "description", "", "what happened, in your own `words`")
	cmd.Flags().StringVar(&evidence, "evidence", "", "`file` that shows it, of 1 MiB at most (64 KiB without a name)")
	cmd.Flags().BoolVar(&r.Anonymous, "anonymous", false, "do not say who reports")
	f.add(cmd)
	format.flag(cmd)
	return cmd
}

// attach reads the evidence.
func (r *reportOfViolation) attach(path string) error {
	if path == "" {
		return nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return usagef("--evidence: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxEvidence {
		return usagef("--evidence: %s is not a file of at most 1 MiB", path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return usagef("--evidence: %w", err)
	}
	media := mime.TypeByExtension(filepath.Ext(path))
	if media == "" {
		media = "application/octet-stream"
	}
	r.Evidence = &evidenceFile{media, data}
	return nil
}
