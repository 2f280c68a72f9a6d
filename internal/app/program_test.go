package app

import (
	"github.com/westworld-charter/charter/internal/compile"
	"github.com/westworld-charter/charter/internal/policytest"
)

// server is charter-server with the real compiler.
func server() Program {
	return CharterServer(Compiler{Check: compile.Check, Build: compile.Build, Lint: policytest.Lint})
}
