package compile

import (
	"slices"

	"github.com/westworld-charter/charter/internal/charter"
	"github.com/westworld-charter/charter/internal/decision"
	"github.com/westworld-charter/charter/internal/diag"
)

// compareRoles reports every right of a role on the derived clause that the
// role of the same name does not have on the base's, or has under stricter
// conditions.
func (d *duel) compareRoles() {
	for i := range d.derived.Roles {
		mine := &d.derived.Roles[i]
		theirs := roleNamed(d.base.Charter, mine.Name)
		reaches := false
		for _, operation := range d.granted() {
			if !mayReach(mine, operation, d.mine) {
				continue
			}
			reaches = true
			if theirs == nil {
				d.add(mine.Pos(), "take the right from the role, or exclude the clause's metrics",
					"role %s may %s it, and the base has no such role", mine.Name, operation)
				break
			}
			if !mayReach(theirs, operation, d.theirs) {
				d.add(d.blame(mine, theirs, operation), "take the right from the role",
					"role %s may %s it, in the base it may not", mine.Name, operation)
			}
		}
		if reaches && theirs != nil {
			d.compareConditions(mine, theirs)
		}
	}
}

// granted is the operations of the derived clause, with those that waivers add.
func (d *duel) granted() []string {
	all := slices.Clone(operationsOf(d.mine))
	if d.mine.Protected {
		return all
	}
	for i := range d.derived.Waivers {
		if w := &d.derived.Waivers[i]; w.Clause == d.mine.ID {
			all = append(all, w.Grants.Operations...)
		}
	}
	return all
}

// blame is the place that gives a role of the derived charter a right: the
// clause, if the role of the base would have the right on it too, or else the
// role.
func (d *duel) blame(mine, theirs *charter.Role, operation string) diag.Pos {
	if mayReach(theirs, operation, d.mine) {
		if operation == decision.Collect {
			return d.mine.Pos() // it stands in another category
		}
		return d.mine.Field("access")
	}
	switch {
	case operation == decision.Collect:
		return rightPos(mine, "collects", mine.Collects, d.mine.Category)
	case operation == decision.Export && grantsName(theirs.Reads, d.mine.Access):
		return rightPos(mine, "exports", mine.Exports, d.mine.Access)
	default:
		return rightPos(mine, "reads", mine.Reads, d.mine.Access)
	}
}

// rightPos is the value of a list of a role that gives the right.
func rightPos(r *charter.Role, field string, names []string, name string) diag.Pos {
	if i := slices.IndexFunc(names, func(n string) bool { return n == name || n == everything }); i >= 0 {
		return r.Item(field, i)
	}
	return r.Field(field)
}

// compareConditions compares what a role asks of those who take it.
func (d *duel) compareConditions(mine, theirs *charter.Role) {
	for _, claim := range theirs.Requires {
		if !slices.Contains(mine.Requires, claim) {
			d.add(mine.Field("requires"), "require "+claim, "role %s no longer requires %s", mine.Name, claim)
		}
	}
	if theirs.Renew != "" && (mine.Renew == "" || keeps(mine.Renew) > keeps(theirs.Renew)) {
		d.add(mine.Field("renew"), "write renew: "+theirs.Renew+", or shorter", "role %s: %s", mine.Name, than("renew", mine.Renew, theirs.Renew))
	}
	if theirs.AutoRevoke && !mine.AutoRevoke {
		d.add(mine.Field("auto_revoke"), "write auto_revoke: true", "role %s is no longer revoked by itself", mine.Name)
	}
}

func roleNamed(c *charter.Charter, name string) *charter.Role {
	for i := range c.Roles {
		if c.Roles[i].Name == name {
			return &c.Roles[i]
		}
	}
	return nil
}
