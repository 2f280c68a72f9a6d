package exportconfig

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/engine"
)

// TargetGroup is a static target group as Prometheus reads it from http_sd_configs and
// file_sd_configs. There is one for every node: its labels are its own.
type TargetGroup struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

// NodePlaceholder stands for the node in the address of [Targets].
const NodePlaceholder = "{node}"

// ErrAddress is an address without a place for the node.
var ErrAddress = errors.New("the address does not contain " + NodePlaceholder)

// Targets lists the nodes at which in.Role may collect anything at all, sorted, with
// the labels __meta_charter_name, _revision, _digest, _node, _role, _groups
// (",edge,storage,") and _standing, and a _label_NAME for every label that the state
// document gives the node. A node of bad standing is not listed, so nobody scrapes it.
//
// Known are the nodes that the charter names exactly (groups, clauses, waivers,
// limits, entries) and those of the state document (nodes, standing): what only
// matches a pattern cannot be listed. A charter knows no addresses: address says how
// one is made of a node, such as "{node}.mesh.example:9100". In.Node is ignored; for
// the errors see [Build].
func Targets(ctx context.Context, policy *engine.Policy, in decision.Input, o Options, address string) ([]TargetGroup, error) {
	if !strings.Contains(address, NodePlaceholder) {
		return nil, ErrAddress
	}
	c := policy.Charter()
	in.Metric, in.Labels, in.Node = "any", nil, "any"
	if err := in.Validate(); err != nil {
		return nil, err
	}
	groups := []TargetGroup{}
	for _, node := range knownNodes(c, o.State) {
		in.Node = node
		plan, err := Build(ctx, policy, in, o)
		if err != nil {
			return nil, fmt.Errorf("node %s: %w", node, err)
		}
		if plan.Empty() {
			continue
		}
		labels, err := targetLabels(c, o.State, in)
		if err != nil {
			return nil, err
		}
		groups = append(groups, TargetGroup{Targets: []string{strings.ReplaceAll(address, NodePlaceholder, node)}, Labels: labels})
	}
	return groups, nil
}

// EncodeTargets writes target groups as an http_sd endpoint answers them.
func EncodeTargets(groups []TargetGroup) ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(groups)
	return out.Bytes(), err
}

// knownNodes is every node that charter or state name.
func knownNodes(c *charter.Charter, state map[string]any) []string {
	known := map[string]bool{}
	add := func(items []string) {
		for _, item := range items {
			if !strings.Contains(item, "*") && !strings.HasPrefix(item, charter.GroupPrefix) {
				known[item] = true
			}
		}
	}
	for i := range c.Nodes.Groups {
		add(c.Nodes.Groups[i].Match)
	}
	for i := range c.Nodes.Entries {
		known[c.Nodes.Entries[i].Node] = true
	}
	for _, clause := range c.AllClauses() {
		add(clause.Nodes)
	}
	for i := range c.Waivers {
		add(c.Waivers[i].Nodes)
	}
	for i := range c.Limits {
		add(c.Limits[i].Nodes)
	}
	for _, key := range []string{"nodes", "standing"} {
		for node := range within(state, key) {
			known[node] = true
		}
	}
	return slices.Sorted(maps.Keys(known))
}

// metaPrefix begins the labels; Prometheus removes labels that begin with __ once a
// target is relabeled.
const metaPrefix = "__meta_charter_"

func targetLabels(c *charter.Charter, state map[string]any, in decision.Input) (map[string]string, error) {
	groups, err := newCoverage(c, state, in.Node).memberOf(c)
	if err != nil {
		return nil, err
	}
	standing, _ := within(state, "standing", in.Node)["state"].(string)
	if standing == "" {
		standing = "good"
	}
	labels := map[string]string{
		metaPrefix + "name":     c.Metadata.Name,
		metaPrefix + "revision": c.Revision(),
		metaPrefix + "digest":   c.Digest(),
		metaPrefix + "node":     in.Node,
		metaPrefix + "role":     in.Role,
		metaPrefix + "standing": standing,
	}
	if len(groups) > 0 {
		labels[metaPrefix+"groups"] = "," + strings.Join(groups, ",") + ","
	}
	own := within(state, "nodes", in.Node, "labels")
	for _, name := range slices.Sorted(maps.Keys(own)) {
		if text, ok := own[name].(string); ok {
			labels[metaPrefix+"label_"+sanitized(name)] = text
		}
	}
	return labels, nil
}

// sanitized is the name of a label as service discovery writes it.
func sanitized(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_':
			return r
		}
		return '_'
	}, name)
}
