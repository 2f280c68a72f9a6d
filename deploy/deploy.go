// Package deploy holds the files for operating charter-server that programs use, too,
// so that what they use is what is shipped.
package deploy

import "embed"

// Rules are the rules for Prometheus, below [RulesDir].
//
//go:embed prometheus/rules/*.yml
var Rules embed.FS

// RulesDir is the directory of [Rules].
const RulesDir = "prometheus/rules"
