package charter

// The types below are the charter document, in the order in which its fields
// are written. One struct is one YAML mapping; the yaml tag names the field and
// the charter tag says what a value must be (see decode.go). The strict decoder
// and the JSON Schema are both derived from these declarations.

// Charter is one charter document. [Load] returns it flattened: extends is
// resolved and every entry stands for itself.
type Charter struct {
	Source       `yaml:"-"`
	APIVersion   string      `yaml:"apiVersion" charter:"required,enum=charter/v1" doc:"version of this language"`
	Kind         string      `yaml:"kind" charter:"required,enum=Charter" doc:"what this document is"`
	Metadata     Metadata    `yaml:"metadata" charter:"required" doc:"whose charter this is and when it holds"`
	Extends      string      `yaml:"extends" charter:"path" doc:"a charter whose clauses are taken over; its protected clauses can only be tightened"`
	Remove       []string    `yaml:"remove" charter:"set" doc:"ids of clauses of the base that this charter does not take over"`
	AccessLevels []string    `yaml:"access_levels" charter:"name,unique" doc:"ordered, least to most restricted"`
	Purposes     []string    `yaml:"purposes" charter:"name,set" doc:"what data may be read or exported for; clauses refer to these"`
	Roles        []Role      `yaml:"roles" charter:"key=name" doc:"who may ask, and what they may do"`
	Metrics      []Category  `yaml:"metrics" charter:"mapping" doc:"the whitelist, by category"`
	Forbidden    []Forbidden `yaml:"forbidden" charter:"key=id,clause" doc:"what must never be collected, read or exported"`
	Waivers      []Waiver    `yaml:"waivers" charter:"key=id,clause" doc:"temporary exceptions from unprotected clauses, each with an owner and an end"`
	Limits       []Limit     `yaml:"limits" charter:"key=id,clause" doc:"how often requests may be made"`
	Nodes        Nodes       `yaml:"nodes" doc:"groups of nodes, and nodes of bad standing"`
	Escalation   []Step      `yaml:"escalation" charter:"key=level" doc:"what happens to a node as its incidents add up; levels and counts increase"`
	Enforcement  Enforcement `yaml:"enforcement" doc:"how strictly the charter holds"`
	Audit        Audit       `yaml:"audit" doc:"what reaches the ledger, and how long it stays"`
	Committee    Committee   `yaml:"committee" doc:"who decides between votes"`
	Governance   Governance  `yaml:"governance" doc:"how the charter itself is changed"`
	Emergency    Emergency   `yaml:"emergency" doc:"what a quorum may override for a short time"`
	Revocation   Revocation  `yaml:"revocation" doc:"what a node may still do when its data access ends"`
	Notify       []Receiver  `yaml:"notify" charter:"key=name" doc:"where notifications go; steps of escalation refer to these"`
	Reports      Reports     `yaml:"reports" doc:"how people report violations"`
	Objectives   []Objective `yaml:"objectives" charter:"key=name" doc:"success criteria and service levels the community set itself"`

	base    *Charter          // what it extends, flattened
	origins map[string]Source // where fields stand that a base wrote
	places  map[string]Source // where entries with a clause id stand
}

// Metadata says whose charter this is and when it holds. Effective is
// informative; Expires makes a charter stale (see Enforcement.Grace).
type Metadata struct {
	Source       `yaml:"-"`
	Name         string     `yaml:"name" charter:"required,name" doc:"names the charter; part of its revision"`
	Version      string     `yaml:"version" charter:"required,semver" doc:"semantic version without build metadata; part of the revision"`
	Organization string     `yaml:"organization" doc:"the community whose contract this is"`
	Description  string     `yaml:"description" doc:"what the charter is for"`
	Status       string     `yaml:"status" charter:"enum=active|pending|deprecated|suspended" doc:"for readers; it does not change decisions"`
	Environment  string     `yaml:"environment" charter:"name" doc:"where the charter is used, such as production"`
	Effective    string     `yaml:"effective" charter:"time" doc:"from when the community holds the charter valid; it does not change decisions"`
	Expires      string     `yaml:"expires" charter:"time" doc:"from then on, plus enforcement.grace, collect and export are denied"`
	Contacts     []Contact  `yaml:"contacts" charter:"key=name" doc:"whom to reach in an emergency"`
	Approvals    []Approval `yaml:"approvals" doc:"who agreed to this version"`
	Changelog    []Change   `yaml:"changelog" charter:"key=version" doc:"what changed, version by version"`
}

// Contact is a person or desk to reach in an emergency.
type Contact struct {
	Source `yaml:"-"`
	Name   string `yaml:"name" charter:"required" doc:"a person or desk"`
	Role   string `yaml:"role" doc:"what they are there for"`
	Email  string `yaml:"email" charter:"email" doc:"mail address"`
	Phone  string `yaml:"phone" doc:"telephone number, in quotes"`
}

// Approval records who agreed to this version.
type Approval struct {
	Source    `yaml:"-"`
	By        string `yaml:"by" charter:"required" doc:"who agreed"`
	Date      string `yaml:"date" charter:"required,time" doc:"when"`
	Reference string `yaml:"reference" doc:"minutes or proposal that shows it"`
}

// Change is one entry of the changelog.
type Change struct {
	Source  `yaml:"-"`
	Version string   `yaml:"version" charter:"required,semver" doc:"the version that brought the changes"`
	Date    string   `yaml:"date" charter:"time" doc:"when"`
	Changes []string `yaml:"changes" charter:"required" doc:"one sentence each"`
}

// Role is what a party that asks may do. Reads and Exports list access levels,
// Collects lists categories; "*" stands for all of them. Requires lists claims,
// all of which the caller must hold. A role with Renew holds only while the
// state document carries a grant for the node that is younger than that.
type Role struct {
	Source      `yaml:"-"`
	Name        string   `yaml:"name" charter:"required,name" doc:"what requests call the role"`
	Description string   `yaml:"description" doc:"who they are"`
	Reads       []string `yaml:"reads" charter:"set" doc:"access levels it may read, or [\"*\"]"`
	Collects    []string `yaml:"collects" charter:"set" doc:"categories it may collect, or [\"*\"]"`
	Exports     []string `yaml:"exports" charter:"set" doc:"access levels it may export, or [\"*\"]; export needs reads too"`
	Requires    []string `yaml:"requires" charter:"name,set" doc:"claims the caller must hold, all of them"`
	Renew       string   `yaml:"renew" charter:"duration" doc:"a grant in the state document must be younger than this"`
	AutoRevoke  bool     `yaml:"auto_revoke" doc:"the role is revoked when it is not renewed in time"`
}

// Category is one entry of the metrics mapping.
type Category struct {
	Source  `yaml:"-"`
	Name    string   `yaml:"-" charter:"name"`
	Clauses []Clause `yaml:"-" charter:"key=id"`
}

// Clause whitelists the metrics its patterns select. Operations absent means
// collect and read; Purposes and Nodes absent mean any; Retention absent means
// no limit.
type Clause struct {
	Source      `yaml:"-"`
	ID          string   `yaml:"id" charter:"required,id" doc:"names the clause in decisions, diffs and proposals"`
	Description string   `yaml:"description" doc:"what the metrics are"`
	Match       []string `yaml:"match" charter:"required,glob,set" doc:"exact names, or patterns in which * stands for any characters; the most specific clause of a charter wins"`
	Access      string   `yaml:"access" charter:"required" doc:"the access level the metrics stand at"`
	Operations  []string `yaml:"operations" charter:"enum=collect|read|export,set,nonempty" doc:"what may be done; absent means collect and read"`
	Purposes    []string `yaml:"purposes" charter:"set,nonempty" doc:"what the data may be read or exported for; absent means anything"`
	Retention   string   `yaml:"retention" charter:"duration" doc:"the longest time data may be kept; absent means no limit"`
	Labels      Labels   `yaml:"labels" doc:"what must happen to labels"`
	Nodes       []string `yaml:"nodes" charter:"node,set,nonempty" doc:"names, patterns or group:NAME; absent means all nodes"`
	Mode        string   `yaml:"mode" charter:"enum=enforce|warn|shadow" doc:"absent means enforcement.mode; warn and shadow report denials without enforcing them"`
	Protected   bool     `yaml:"protected" doc:"a charter that extends this one can only tighten the clause, and no waiver or override loosens it"`
	// Category is filled in by the loader.
	Category string `yaml:"-"`
}

// Labels says what must happen to labels, by exact name: Drop removes them,
// Hash replaces the value by a keyed hash, Forbid denies the series.
type Labels struct {
	Source `yaml:"-"`
	Drop   []string `yaml:"drop" charter:"label,set" doc:"labels that must be removed"`
	Hash   []string `yaml:"hash" charter:"label,set" doc:"labels whose value must be replaced by a keyed hash"`
	Forbid []string `yaml:"forbid" charter:"label,set" doc:"labels that deny the series"`
}

// Forbidden names what must never be collected, read or exported: metrics by
// pattern, and series that carry a label by pattern.
type Forbidden struct {
	Source       `yaml:"-"`
	ID           string   `yaml:"id" charter:"required,id" doc:"names the entry in decisions, diffs and proposals"`
	Description  string   `yaml:"description" doc:"what is forbidden"`
	Match        []string `yaml:"match" charter:"glob,set,nonempty" doc:"metrics, by exact name or pattern"`
	Labels       []string `yaml:"labels" charter:"glob,set,nonempty" doc:"labels, by exact name or pattern; a series that carries one is forbidden"`
	Severity     string   `yaml:"severity" charter:"required,enum=low|medium|high|critical" doc:"how grave an attempt is"`
	Violation    string   `yaml:"violation" charter:"enum=silent_collection|behavioral_prediction|data_extraction|unauthorized_override|algorithm_manipulation|exploitation" doc:"the type of violation an attempt counts as"`
	Penalty      string   `yaml:"penalty" charter:"enum=warning|suspension|ban_1year|permanent_ban|criminal_referral" doc:"what the community holds appropriate"`
	Reason       string   `yaml:"reason" charter:"required" doc:"why; shown with every denial"`
	Protected    bool     `yaml:"protected" doc:"a charter that extends this one can only tighten the entry; it is always enforced"`
	Droppable    bool     `yaml:"droppable" doc:"a clause that drops the label satisfies this entry although it is protected"`
	AutoShutdown bool     `yaml:"auto_shutdown" doc:"an attempt stops the collector"`
	Mode         string   `yaml:"mode" charter:"enum=enforce|warn|shadow" doc:"absent means enforcement.mode"`
}

// Waiver loosens one unprotected clause for some nodes until a date. Who owns
// it and why are part of it.
type Waiver struct {
	Source `yaml:"-"`
	ID     string   `yaml:"id" charter:"required,id" doc:"names the waiver in decisions"`
	Clause string   `yaml:"clause" charter:"required" doc:"id of the clause it loosens"`
	Nodes  []string `yaml:"nodes" charter:"required,node,set" doc:"names, patterns or group:NAME"`
	Grants Grants   `yaml:"grants" charter:"required" doc:"what it adds to the clause"`
	Owner  string   `yaml:"owner" charter:"required" doc:"who answers for it"`
	Ticket string   `yaml:"ticket" charter:"required" doc:"where it was asked for and agreed"`
	Reason string   `yaml:"reason" doc:"why it is needed"`
	From   string   `yaml:"from" charter:"time" doc:"absent means always until then"`
	Until  string   `yaml:"until" charter:"required,time" doc:"when it lapses"`
}

// Grants is what a waiver adds to a clause.
type Grants struct {
	Source     `yaml:"-"`
	Retention  string   `yaml:"retention" charter:"duration" doc:"a longer retention"`
	Purposes   []string `yaml:"purposes" charter:"set,nonempty" doc:"further purposes"`
	Operations []string `yaml:"operations" charter:"enum=collect|read|export,set,nonempty" doc:"further operations"`
}

// Limit bounds how often its roles and nodes may ask for its clauses; what is
// absent means all. The rate is handed to callers as an obligation.
type Limit struct {
	Source  `yaml:"-"`
	ID      string   `yaml:"id" charter:"required,id" doc:"names the limit"`
	Rate    string   `yaml:"rate" charter:"required,rate" doc:"requests per time, such as 100/1m"`
	Roles   []string `yaml:"roles" charter:"set,nonempty" doc:"absent means all roles"`
	Nodes   []string `yaml:"nodes" charter:"node,set,nonempty" doc:"absent means all nodes"`
	Clauses []string `yaml:"clauses" charter:"set,nonempty" doc:"ids of clauses; absent means all"`
}

// Nodes names groups of nodes and nodes of bad standing.
type Nodes struct {
	Source  `yaml:"-"`
	Groups  []Group     `yaml:"groups" charter:"key=name" doc:"sets of nodes that clauses, waivers and limits refer to as group:NAME"`
	Entries []NodeEntry `yaml:"entries" charter:"key=node" doc:"nodes whose standing this charter fixes"`
}

// Group is a set of nodes: those whose id matches a pattern, and those whose
// labels in the state document equal all of Labels. Clauses refer to it as
// "group:NAME".
type Group struct {
	Source `yaml:"-"`
	Name   string            `yaml:"name" charter:"required,name" doc:"referred to as group:NAME"`
	Match  []string          `yaml:"match" charter:"glob,set,nonempty" doc:"names or patterns of nodes"`
	Labels map[string]string `yaml:"labels" doc:"labels of nodes in the state document, all of them"`
}

// NodeEntry fixes the standing of one node in the charter itself.
type NodeEntry struct {
	Source `yaml:"-"`
	Node   string `yaml:"node" charter:"required,nodename" doc:"exact name"`
	Status string `yaml:"status" charter:"required,enum=revoked|quarantined|suspended" doc:"the standing it has"`
	Until  string `yaml:"until" charter:"time" doc:"absent means until the entry is removed"`
	Reason string `yaml:"reason" charter:"required" doc:"shown with every denial"`
}

// Step is one level of escalation: at the At-th incident of a node within
// Within, Action happens.
type Step struct {
	Source  `yaml:"-"`
	Level   int      `yaml:"level" charter:"required,min=1,max=16" doc:"1 is the mildest"`
	At      int      `yaml:"at" charter:"required,min=1,max=1000000" doc:"the number of incidents that reaches the level"`
	Within  string   `yaml:"within" charter:"required,duration" doc:"the time in which incidents are counted"`
	Action  string   `yaml:"action" charter:"required,enum=log|warn|suspend|quarantine|refer" doc:"what happens to the node"`
	For     string   `yaml:"for" charter:"duration" doc:"how long a suspension lasts"`
	Restore string   `yaml:"restore" charter:"enum=vote|committee" doc:"who lifts a quarantine"`
	Notify  []string `yaml:"notify" charter:"set" doc:"names of receivers"`
}

// Enforcement says how strictly the charter holds. Grace is how long past
// Metadata.Expires collect and export go on. State required denies collect and
// export while the state document is missing or expired.
type Enforcement struct {
	Source  `yaml:"-"`
	Mode    string `yaml:"mode" charter:"enum=enforce|warn|shadow" doc:"default enforce"`
	Unknown string `yaml:"unknown" charter:"enum=deny" hint:"what a charter does not name is always denied" doc:"what a charter does not name is always denied"`
	Grace   string `yaml:"grace" charter:"duration" doc:"how long after metadata.expires nodes go on collecting; default 24h"`
	State   string `yaml:"state" charter:"enum=optional|required" doc:"required denies collect and export without a current state document; default optional"`
}

// Audit says what reaches the ledger and how long it stays.
type Audit struct {
	Source    `yaml:"-"`
	Denied    string `yaml:"denied" charter:"enum=durable|best_effort" doc:"denials; default durable"`
	Allowed   string `yaml:"allowed" charter:"enum=aggregate|durable|none" doc:"allowed requests; default aggregate"`
	Critical  string `yaml:"critical" charter:"enum=witnessed|durable" doc:"attempts of critical severity; default witnessed"`
	Retention string `yaml:"retention" charter:"duration" doc:"how long the ledger is kept; default 7y"`
}

// Committee is who decides between votes.
type Committee struct {
	Source  `yaml:"-"`
	Members []Member `yaml:"members" charter:"key=id" doc:"its people"`
	Quorum  Quorum   `yaml:"quorum" doc:"what it takes to decide"`
}

// Member is one person of the committee; Address is an Ethereum address.
type Member struct {
	Source  `yaml:"-"`
	ID      string  `yaml:"id" charter:"required,name" doc:"names the member"`
	Address string  `yaml:"address" charter:"required,address" doc:"Ethereum address that signs for the member, in quotes"`
	Power   float64 `yaml:"power" charter:"required,min=0,max=1000000" doc:"weight of the voice"`
	Email   string  `yaml:"email" charter:"email" doc:"mail address"`
}

// Quorum is the share of power and the number of people that decide.
type Quorum struct {
	Source `yaml:"-"`
	Power  float64 `yaml:"power" charter:"required,min=0,max=1" doc:"share of all power, between 0 and 1"`
	Heads  int     `yaml:"heads" charter:"required,min=1,max=1000" doc:"number of people"`
}

// Governance is how the charter itself is changed.
type Governance struct {
	Source    `yaml:"-"`
	Space     string    `yaml:"space" charter:"required" doc:"the Snapshot space where proposals are voted on"`
	Delay     string    `yaml:"delay" charter:"duration" doc:"time between a proposal and the start of its vote"`
	Period    string    `yaml:"period" charter:"duration" doc:"how long a vote lasts"`
	Timelock  Timelock  `yaml:"timelock" doc:"how long an approved change waits"`
	Threshold Threshold `yaml:"threshold" doc:"share of votes a change needs"`
	Guardians []string  `yaml:"guardians" charter:"address,set" doc:"addresses that may veto"`
}

// Timelock is how long an approved change waits, by what it does.
type Timelock struct {
	Source         `yaml:"-"`
	Tighten        string `yaml:"tighten" charter:"duration" doc:"for changes that only deny more"`
	Relax          string `yaml:"relax" charter:"duration" doc:"for changes that allow more"`
	Constitutional string `yaml:"constitutional" charter:"duration" doc:"for changes of the rules of governance"`
}

// Threshold is the share of votes a change needs, by what it does.
type Threshold struct {
	Source  `yaml:"-"`
	Tighten float64 `yaml:"tighten" charter:"min=0,max=1" doc:"for changes that only deny more"`
	Relax   float64 `yaml:"relax" charter:"min=0,max=1" doc:"for changes that allow more, and constitutional ones"`
}

// Emergency bounds what a quorum may override at run time, and for how long.
type Emergency struct {
	Source `yaml:"-"`
	Max    string   `yaml:"max" charter:"duration" doc:"how long an override lasts at most"`
	Renew  string   `yaml:"renew" charter:"duration" doc:"after what time it must be renewed"`
	Quorum float64  `yaml:"quorum" charter:"min=0,max=1" doc:"share of the committee's power that declares it"`
	May    []string `yaml:"may" charter:"enum=retention|purposes,set" doc:"what it may loosen"`
}

// Revocation says how long a node whose data access ends may export its data.
type Revocation struct {
	Source       `yaml:"-"`
	ExportWindow string `yaml:"export_window" charter:"duration" doc:"how long the node may still export its own data"`
}

// Receiver is where notifications go; exactly one of Slack, Email and Webhook.
// Secrets are named by file or environment variable, never written here.
type Receiver struct {
	Source  `yaml:"-"`
	Name    string   `yaml:"name" charter:"required,name" doc:"what steps of escalation call it"`
	Slack   *Slack   `yaml:"slack" doc:"an incoming webhook of Slack"`
	Email   *Email   `yaml:"email" doc:"a list of mailboxes"`
	Webhook *Webhook `yaml:"webhook" doc:"an HTTP endpoint that gets signed JSON"`
}

// Slack is an incoming webhook of Slack.
type Slack struct {
	Source  `yaml:"-"`
	Channel string `yaml:"channel" charter:"required" doc:"such as \"#charter\", in quotes"`
	URLFile string `yaml:"url_file" doc:"file that holds the address of the webhook"`
	URLEnv  string `yaml:"url_env" doc:"environment variable that holds the address of the webhook"`
}

// Email is a list of mailboxes.
type Email struct {
	Source `yaml:"-"`
	To     []string `yaml:"to" charter:"required,email,set" doc:"mail addresses"`
}

// Webhook is an HTTP endpoint that gets signed JSON.
type Webhook struct {
	Source     `yaml:"-"`
	URL        string `yaml:"url" charter:"required,url" doc:"where to post"`
	SecretFile string `yaml:"secret_file" doc:"file that holds the signing secret"`
	SecretEnv  string `yaml:"secret_env" doc:"environment variable that holds the signing secret"`
	Retries    int    `yaml:"retries" charter:"min=0,max=100" doc:"attempts after a failure"`
}

// Reports says how people report violations.
type Reports struct {
	Source    `yaml:"-"`
	Anonymous bool      `yaml:"anonymous" doc:"reports are accepted without a name"`
	Channels  []Channel `yaml:"channels" charter:"key=name" doc:"ways to report"`
}

// Channel is one way to report.
type Channel struct {
	Source  `yaml:"-"`
	Name    string `yaml:"name" charter:"required,name" doc:"names the channel"`
	Kind    string `yaml:"kind" charter:"required,enum=web|email|post|cli" doc:"what address is"`
	Address string `yaml:"address" charter:"required" doc:"where reports go"`
}

// Objective is a success criterion or service level the community set itself.
type Objective struct {
	Source `yaml:"-"`
	Name   string `yaml:"name" charter:"required,name" doc:"names the objective"`
	Target string `yaml:"target" charter:"required" doc:"what is to be reached"`
	Window string `yaml:"window" charter:"duration" doc:"over what time it is measured"`
}

// AllClauses returns the clauses of all categories in document order.
func (c *Charter) AllClauses() []*Clause {
	var all []*Clause
	for i := range c.Metrics {
		for j := range c.Metrics[i].Clauses {
			all = append(all, &c.Metrics[i].Clauses[j])
		}
	}
	return all
}
