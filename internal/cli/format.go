package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/westworld-charter/charter/internal/diag"
)

// Output formats of commands that have no package with formats of its own.
const (
	formatPretty = "pretty"
	formatTable  = "table"
	formatJSON   = "json"
)

// choice is a flag with a closed list of values, the first being the default. A
// wrong one is refused before the command does anything.
type choice struct {
	values []string
	value  string
}

// flag adds --format to cmd.
func (c *choice) flag(cmd *cobra.Command) {
	c.value = c.values[0]
	last := len(c.values) - 1
	cmd.Flags().Var(c, "format", "output `format`: "+strings.Join(c.values[:last], ", ")+" or "+c.values[last])
}

func (c *choice) is(value string) bool { return c.value == value }

// String, Set and Type make a choice a flag value.
func (c *choice) String() string { return c.value }

// Set accepts one of the values.
func (c *choice) Set(value string) error {
	if slices.Contains(c.values, value) {
		c.value = value
		return nil
	}
	if near := diag.DidYouMean(value, c.values); near != "" {
		return fmt.Errorf("did you mean %s?", near)
	}
	return fmt.Errorf("it must be one of %s", strings.Join(c.values, ", "))
}

// Type names the value in help.
func (c *choice) Type() string { return "format" }
