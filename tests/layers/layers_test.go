package layers

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	module = "github.com/westworld-charter/charter"
	root   = "../.."
)

// table is the shape of this repository. It also places packages that are part
// of the design and not written yet, so that the first import of each is judged.
func table() Rules {
	return Rules{
		Layers: []Layer{
			{"L6 commands", []string{"cmd"}},
			{"L5 command line and process wiring", []string{"internal/cli", "internal/app"}},
			{"L4 what faces outward", []string{"internal/httpapi/decision", "internal/httpapi/opa", "internal/httpapi/ledger", "internal/httpapi/charter", "internal/httpapi/bundles", "internal/httpapi/uploads", "internal/httpapi/fleet", "internal/httpapi/mirror", "internal/metrics", "internal/dashboard", "internal/tracing", "internal/mapek"}},
			{"L3 what people decide with", []string{
				"internal/review", "internal/governance", "internal/enforcement", "internal/activation", "internal/fleet", "internal/mirror", "internal/policytest", "internal/rollout",
				"internal/explain", "internal/audit", "internal/exportconfig", "internal/report",
			}},
			{"L2 what turns a charter into decisions", []string{
				"internal/compile", "internal/engine", "internal/committee", "internal/distribution", "internal/notify", "internal/witness", "internal/export", "internal/ledgerclient", "internal/ledgerdb", "internal/keyring",
			}},
			{"L1 documents and algebra", []string{
				"internal/charter", "internal/space", "internal/bundle", "internal/statedoc", "internal/signing", "internal/ledger", "internal/exposition", "internal/wire", "internal/plan", "rego", "deploy",
			}},
			{"L0 vocabulary", []string{"internal/diag", "internal/decision", "internal/durable", "internal/release", "internal/tokenbucket", "internal/yamldoc"}},
		},
		Homes: []Home{
			{"github.com/labstack", []string{"internal/httpapi"}},
			{"github.com/prometheus/client_golang", []string{"internal/metrics"}},
			{"github.com/prometheus/common", []string{"internal/exposition"}},
			{"github.com/prometheus/client_model", []string{"internal/exposition", "internal/metrics"}},
			{"github.com/spf13", []string{"internal/cli"}},
			{"github.com/maypok86/otter", []string{"internal/engine"}},
			// Its own gzip pins the bytes of bundles across Go releases.
			{"github.com/klauspost/compress", []string{"internal/bundle"}},
			{"gopkg.in/yaml.v3", []string{"internal/yamldoc", "internal/charter", "internal/signing", "internal/app", "internal/policytest"}},
			{"go.yaml.in", nil}, // one YAML library is enough
			{"github.com/santhosh-tekuri/jsonschema", nil},
			{"github.com/sigstore", []string{"internal/signing"}},
			{"github.com/digitorus/timestamp", []string{"internal/signing/signingtest"}}, // a timestamp authority for tests
			{"oras.land/oras-go", []string{"internal/distribution"}},
			{"github.com/opencontainers", []string{"internal/distribution"}},
			{"github.com/google/go-containerregistry", nil}, // a registry for tests
			{"github.com/open-policy-agent/opa", []string{"internal/plan", "internal/engine", "internal/compile", "internal/policytest", "rego"}},
			// The OPA-compatible endpoints pass Rego values through unchanged.
			{"github.com/open-policy-agent/opa/v1/ast", []string{
				"internal/plan", "internal/engine", "internal/compile", "internal/policytest", "rego", "internal/httpapi",
			}},
			// Whoever makes spans knows the API; who sends them, one package knows.
			{"go.opentelemetry.io/otel", []string{"internal/tracing", "internal/metrics", "internal/httpapi", "internal/app"}},
			{"go.opentelemetry.io/otel/sdk", []string{"internal/tracing"}},
			{"go.opentelemetry.io/otel/exporters", []string{"internal/tracing"}},
			{"go.opentelemetry.io/proto", nil},
			{"google.golang.org/protobuf", []string{"internal/signing"}},
			// Signed notes, tree hashes and the JSON of entries are the language of the ledger.
			{"golang.org/x/mod", []string{
				"internal/signing/signingtest", "internal/ledger", "internal/keyring", "internal/witness", "internal/audit", "internal/mirror", "internal/httpapi", "internal/export", "internal/ledgerclient", "internal/cli",
				"internal/app",
			}},
			{"github.com/go-json-experiment/json", []string{"internal/release", "internal/engine", "internal/signing", "internal/committee", "internal/ledger", "internal/mirror", "internal/audit", "internal/export", "internal/report", "internal/wire", "internal/httpapi", "internal/cli"}},
			{"modernc.org/sqlite", []string{"internal/ledgerdb"}},
			{"github.com/jackc/pgx", []string{"internal/ledgerdb"}},
			{"github.com/parquet-go", []string{"internal/export"}},
			{"github.com/wneessen/go-mail", []string{"internal/notify"}},
			// Keys and signatures of Ethereum, and the hash they are made of.
			{"github.com/decred/dcrd", []string{"internal/committee"}},
			{"golang.org/x/crypto", []string{"internal/committee"}},
			{"golang.org/x/term", []string{"internal/cli"}}, // passwords are not echoed
			{"github.com/rogpeppe/go-internal", nil},
			{"pgregory.net/rapid", nil},
		},
		Links: []Link{
			{"cmd/charter-server", []string{"internal/cli", "github.com/spf13/cobra"}, "a server has no command line of its own"},
			{"cmd/charter-server", []string{"internal/signing/online"}, "a server signs no release"},
			{"cmd/charter-admin", []string{"internal/httpapi", "github.com/labstack/echo"}, "the holder of release keys never listens"},
			{"cmd/charter-node", []string{"internal/signing/online", "internal/compile", "internal/mapek", "internal/cli"}, "a node executes policy and never makes any"},
			{"cmd/charter-dao", []string{"internal/cli", "internal/engine", "internal/compile"}, "the vote counter decides nothing else"},
		},
	}
}

func tree(t *testing.T) *Tree {
	t.Helper()
	gomod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(gomod), "module "+module+"\n") {
		t.Fatalf("%s/go.mod does not declare module %s", root, module)
	}
	tree, err := Load(module, root)
	if err != nil {
		t.Fatal(err)
	}
	if len(tree.Packages) < 10 {
		t.Fatalf("found only %d packages: the rules would hold for want of anything to judge", len(tree.Packages))
	}
	return tree
}

func complain(t *testing.T, findings []Finding) {
	t.Helper()
	for _, f := range findings {
		t.Error(f)
	}
}

func TestImportsPointDownward(t *testing.T) {
	complain(t, table().Direction(tree(t)))
}

func TestThirdPartyModulesStayAtHome(t *testing.T) {
	complain(t, table().Strangers(tree(t)))
}

// A new dependency is a decision: the table says who may use it.
func TestEveryRequiredModuleHasAHome(t *testing.T) {
	gomod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	rules, required := table(), 0
	for line := range strings.Lines(string(gomod)) {
		path, _, ok := strings.Cut(strings.TrimSpace(line), " v")
		if !ok || strings.Contains(line, "// indirect") {
			continue
		}
		required++
		if _, ok := rules.home(path); !ok {
			t.Errorf("go.mod requires %s, which has no home in tests/layers/layers_test.go: list the packages that may import it, nil for tests alone", path)
		}
	}
	if required == 0 {
		t.Error("found no required module in go.mod")
	}
}

func TestBinariesLinkOnlyWhatTheyMayKnow(t *testing.T) {
	findings, err := table().Linked(tree(t), func(command string) ([]string, error) { return Deps(root, command) })
	if err != nil {
		t.Fatal(err)
	}
	complain(t, findings)
}

func TestHygiene(t *testing.T) {
	complain(t, Limits{File: 500, Function: 80, Main: 40}.Hygiene(tree(t)))
}

// A newcomer looks for a package in the map first.
func TestMapNamesEveryPackage(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "internal", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	rules := table()
	for _, pkg := range tree(t).Packages {
		unit, _ := rules.unit(pkg.Path)
		name, internal := strings.CutPrefix(unit, "internal/")
		if internal && !strings.Contains(string(text), "`"+name+"`") {
			t.Errorf("internal/README.md does not mention `%s`: say there what is changed in it", name)
		}
	}
}
