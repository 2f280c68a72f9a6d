package node

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/westworld-charter/charter/tests/internal/fetch"
	"github.com/westworld-charter/charter/tests/internal/standin"
	"github.com/westworld-charter/charter/tests/releases"
)

func TestMain(m *testing.M) { standin.Main(m) }

// decides fails unless what answers at a URL decides by that version; 0 is none. Before
// and after frame the question.
func decides(url, before, after string, version int) error {
	for v := 1; v <= version+1; v++ {
		q := releases.Question(v)
		q.Time = "" // stamped by who answers; OPA needs none
		body, err := json.Marshal(q)
		if err != nil {
			return err
		}
		answer, err := fetch.Text(context.Background(), http.DefaultClient, http.MethodPost, url, before+string(body)+after)
		if err != nil {
			return err
		}
		if want := fmt.Sprintf(`"allow":%t`, v == version); !strings.Contains(strings.ReplaceAll(answer, " ", ""), want) {
			return fmt.Errorf("about version %d: %s", v, answer)
		}
	}
	return nil
}
