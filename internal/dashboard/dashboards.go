package dashboard

// All returns the dashboards by the name of their file.
func All() map[string]*Dashboard {
	return map[string]*Dashboard{
		"violations.json":  violations(),
		"enforcement.json": enforcement(),
		"governance.json":  governance(),
	}
}

// violations shows what nodes did that the charter forbids.
func violations() *Dashboard {
	b := newBuilder("charter-violations", "Charter: violations and threats",
		"What nodes tried that the charter forbids, what came of it, and who looks into it.")
	b.row("Now")
	b.stats(
		spec{title: "Violations, 24 h", about: "Incidents within 24 hours, whatever their severity.", unit: count, alarm: from(1), asks: []query{since("charter_violations_total", "", "24h")}},
		spec{title: "Forbidden attempts, 24 h", about: "Questions about forbidden metrics within 24 hours. One incident can be thousands of them.", unit: count, alarm: from(1), asks: []query{since("charter_forbidden_metric_attempts_total", "", "24h")}},
		spec{title: "Under investigation", about: "Violations and reports whose investigation is open.", unit: count, alarm: from(11), asks: []query{sum("charter_violations_under_investigation")}},
		spec{title: "Overdue", about: "Open investigations whose time has run out.", unit: count, alarm: from(1), asks: []query{sum("charter_investigations_overdue")}},
		spec{title: "Nodes restricted", about: "Nodes that are suspended or quarantined.", unit: count, alarm: from(1), asks: []query{{`sum(charter_nodes{standing=~"suspended|quarantined", ` + selected + `})`, ""}}},
		spec{title: "Alerts firing", about: "Alerts of the shipped rules that fire, about the charter.", unit: count, alarm: from(1), asks: []query{{`count(ALERTS{alertstate="firing", scope="charter", ` + selected + `}) or 0 * count(charter_build_info{` + selected + `})`, ""}}},
	)
	b.row("Violations")
	b.graphs(
		spec{title: "By severity", about: "Incidents within 5 minutes, by severity.", unit: count, asks: []query{{`sum by (severity) (node_type_severity:charter_violations:increase5m{` + selected + `})`, "{{severity}}"}}},
		spec{title: "By type", about: "Incidents within 5 minutes, by type of violation.", unit: count, asks: []query{{`sum by (violation_type) (node_type_severity:charter_violations:increase5m{` + selected + `})`, "{{violation_type}}"}}},
		spec{title: "Nodes with most violations", about: "Incidents of each node since its server started; `other` stands for nodes that cannot be told apart.", unit: count, table: true, asks: []query{{`topk(20, sum by (node) (charter_violations_total{` + selected + `}))`, "{{node}}"}}},
		spec{title: "Reports", about: "Violations that people reported within an hour. A report is no violation before it is confirmed.", unit: count, asks: []query{since("charter_violation_reports_total", "violation_type", "1h")}},
		spec{title: "Changes of standing", about: "Nodes warned, suspended, quarantined or restored within an hour.", unit: count, asks: []query{since("charter_standing_changes_total", "to", "1h")}},
		spec{title: "Nodes by standing", about: "Nodes that are not in good standing, and nodes whose data access is revoked.", unit: count, asks: []query{sumBy("charter_nodes", "standing"), {`sum(charter_nodes_revoked{` + selected + `})`, "revoked"}}},
	)
	b.row("Attempts")
	b.graphs(
		spec{title: "Forbidden attempts by metric", about: "Attempts a second by what stands for the metric in the charter: its name or a pattern.", unit: perSecond, asks: []query{{`topk(20, sum by (metric) (rate(charter_forbidden_metric_attempts_total{` + selected + `}[$__rate_interval])))`, "{{metric}}"}}},
		spec{title: "Forbidden attempts by node", about: "Attempts a second by node.", unit: perSecond, asks: []query{{`topk(20, sum by (node) (rate(charter_forbidden_metric_attempts_total{` + selected + `}[$__rate_interval])))`, "{{node}}"}}},
		spec{title: "Forbidden attempts by status", about: "Attempts a second that were blocked, or that warn or shadow mode let pass.", unit: perSecond, asks: []query{rates("charter_forbidden_metric_attempts_total", "status")}},
		spec{title: "Denials by outcome", about: "Metric checks a second that were denied, whatever the reason.", unit: perSecond, asks: []query{rates("metric_access_denied_total", "outcome")}},
		spec{title: "Callers turned away", about: "Requests a second without proof of identity, without the scope, or over the limit.", unit: perSecond, asks: []query{{`sum by (identity, result) (rate(charter_http_admissions_total{result!="ok", ` + selected + `}[$__rate_interval]))`, "{{identity}} {{result}}"}}},
		spec{title: "Reaction time", about: "Time from a denial or report to its violation in the ledger, and from a denial to the new standing in force (p99 over an hour).", unit: seconds, asks: []query{
			rare("charter_violation_report_latency_seconds", "violation recorded", 0.99), rare("charter_standing_latency_seconds", "standing in force", 0.99),
		}},
	)
	return &b.d
}

// enforcement shows how well the server decides.
func enforcement() *Dashboard {
	b := newBuilder("charter-enforcement", "Charter: enforcement performance",
		"How many questions are decided, how fast, and whether the service levels hold.")
	b.row("Now")
	b.stats(
		spec{title: "Servers up", about: "Servers of the chosen jobs that can be scraped.", unit: count, alarm: from(1), below: true, asks: []query{sum("up")}},
		spec{title: "Questions", about: "Questions answered a second.", unit: perSecond, asks: []query{{`sum(rate(charter_decisions_total{` + selected + `}[$__rate_interval]))`, ""}}},
		spec{title: "Latency, p99", about: "99th percentile of the time to decide, the record in the ledger included. The service level is 50 ms.", unit: seconds, alarm: from(0.05), asks: []query{{`max(job:charter_metric_validation_latency_seconds:p99_5m{` + selected + `})`, ""}}},
		spec{title: "Errors, 1 h", about: "Share of requests for decisions that were not answered, over an hour. The budget is 0.05 %.", unit: ratio, alarm: from(0.0005), asks: []query{{`max(job_slo:charter_errors:ratio_rate1h{slo="availability", ` + selected + `})`, ""}}},
		spec{title: "Cache hits", about: "Share of decisions that came from the cache.", unit: ratio, asks: []query{{`sum(rate(charter_cache_decisions_total{result="hit", ` + selected + `}[$__rate_interval])) / sum(rate(charter_cache_decisions_total{` + selected + `}[$__rate_interval]))`, ""}}},
		spec{title: "Cache mismatches", about: "Cached answers that were not what the policy says. More than 0 is a defect.", unit: count, alarm: from(1), asks: []query{sum("charter_cache_mismatches_total")}},
	)
	b.row("Decisions")
	b.graphs(
		spec{title: "Questions by outcome", about: "Questions answered a second, by outcome.", unit: perSecond, asks: []query{rates("charter_decisions_total", "outcome")}},
		spec{title: "Questions by mode", about: "Questions answered a second, by mode of the deciding clause. In warn and shadow mode nothing is enforced.", unit: perSecond, asks: []query{rates("charter_decisions_total", "mode")}},
		spec{title: "Time to decide", about: "Percentiles of the time from a readable question to its decision.", unit: seconds, asks: quantiles("charter_metric_validation_latency_seconds", 0.5, 0.95, 0.99)},
		spec{title: "Time to decide, by result", about: "99th percentile: denials wait for the ledger, allowances are counted.", unit: seconds, asks: []query{{`job_result:charter_metric_validation_latency_seconds:p99_5m{` + selected + `}`, "{{result}}"}}},
		spec{title: "Cache", about: "Decisions a second by what the cache had to do with them.", unit: perSecond, asks: []query{rates("charter_cache_decisions_total", "result")}},
		spec{title: "Answers in the cache", about: "Answers that are kept, about.", unit: count, asks: []query{sum("charter_cache_entries")}},
	)
	b.row("Service levels")
	b.graphs(
		spec{title: "Burn rate, 1 h", about: "How many times faster than allowed the error budget of 30 days is used up. 1 uses all of it.", unit: count, asks: []query{{`job_slo:charter_errors:ratio_rate1h{` + selected + `} / on (slo) group_left () slo:charter_error_budget:ratio`, "{{slo}}"}}},
		spec{title: "Burn rate, 6 h", about: "The same over 6 hours.", unit: count, asks: []query{{`job_slo:charter_errors:ratio_rate6h{` + selected + `} / on (slo) group_left () slo:charter_error_budget:ratio`, "{{slo}}"}}},
		spec{title: "Budget left", about: "Share of the error budget that would be left if the last 3 days went on for 30. Below 0 it is overdrawn.", unit: ratio, asks: []query{{`1 - job_slo:charter_errors:ratio_rate3d{` + selected + `} / on (slo) group_left () slo:charter_error_budget:ratio`, "{{slo}}"}}},
	)
	b.row("HTTP")
	b.graphs(
		spec{title: "Requests by route", about: "Requests answered a second.", unit: perSecond, asks: []query{rates("charter_http_requests_total", "route")}},
		spec{title: "Requests by status", about: "Requests answered a second, by status code.", unit: perSecond, asks: []query{rates("charter_http_requests_total", "code")}},
		spec{title: "Time to answer, p99", about: "99th percentile by route.", unit: seconds, asks: []query{{`histogram_quantile(0.99, sum by (route, le) (rate(charter_http_request_duration_seconds_bucket{` + selected + `}[$__rate_interval])))`, "{{route}}"}}},
	)
	b.row("Policy and process")
	b.graphs(
		spec{title: "Policy loads", about: "Attempts to load a policy within an hour.", unit: count, asks: []query{since("charter_policy_loads_total", "result", "1h")}},
		spec{title: "Time to load a policy", about: "Mean since the server started.", unit: seconds, asks: []query{{`sum(charter_policy_load_duration_seconds_sum{` + selected + `}) / sum(charter_policy_load_duration_seconds_count{` + selected + `})`, "mean"}}},
		spec{title: "Candidate", about: "Questions that a candidate policy answered, too, within an hour, by how the answers differ; and the percentage of nodes that it answers.", unit: count, asks: []query{since("charter_candidate_decisions_total", "difference", "1h"), {`max(charter_candidate_percent{` + selected + `})`, "percent of nodes"}}},
		spec{title: "Memory", about: "Resident memory and live heap.", unit: memory, asks: []query{{`sum by (instance) (process_resident_memory_bytes{` + selected + `})`, "{{instance}} resident"}, {`sum by (instance) (go_memstats_heap_alloc_bytes{` + selected + `})`, "{{instance}} heap"}}},
		spec{title: "CPU", about: "Cores in use.", unit: count, asks: []query{{`sum by (instance) (rate(process_cpu_seconds_total{` + selected + `}[$__rate_interval]))`, "{{instance}}"}}},
		spec{title: "Goroutines", about: "Goroutines of each server.", unit: count, asks: []query{{`sum by (instance) (go_goroutines{` + selected + `})`, "{{instance}}"}}},
	)
	return &b.d
}

// governance shows who decided what, and whether the record of it is whole.
func governance() *Dashboard {
	b := newBuilder("charter-governance", "Charter: governance and ledger",
		"The charter in force, its committee, what was overridden and revoked, who was told, and the ledger that records it.")
	b.row("Now")
	b.stats(
		spec{title: "Time until the charter expires", about: "Until metadata.expires and enforcement.grace are over; then nothing is collected or exported. None for a charter without an end.", unit: seconds, alarm: from(14 * 86400), below: true, asks: []query{{`min(charter_policy_stale_timestamp_seconds{` + selected + `}) - time()`, ""}}},
		spec{title: "Since the last load", about: "Since the active policy was loaded, or found to be what is on disk.", unit: seconds, alarm: from(86400), asks: []query{{`time() - min(charter_policy_last_load_timestamp_seconds{` + selected + `})`, ""}}},
		spec{title: "Committee members", about: "Members of the audit committee.", unit: count, asks: []query{{`max(charter_audit_committee_size{` + selected + `})`, ""}}},
		spec{title: "Overrides in force", about: "Emergency overrides in force.", unit: count, alarm: from(1), asks: []query{{`max(charter_emergency_override_active{` + selected + `})`, ""}}},
		spec{title: "Ledger up", about: "1 while all ledgers can be written.", unit: state, alarm: from(1), below: true, asks: []query{{`min(charter_ledger_up{` + selected + `})`, ""}}},
		spec{title: "Denials lost", about: "Denials that were answered and are not in the ledger, or may not be.", unit: count, alarm: from(1), asks: []query{sum("charter_ledger_lost_total")}},
	)
	b.row("Policy")
	b.graphs(
		spec{title: "Charters in force", about: "The charter and version of every server.", unit: state, table: true, asks: []query{{`sum by (instance, charter, version) (charter_policy_version{` + selected + `})`, ""}}},
		spec{title: "Revisions in force", about: "The bundle of every server. Nodes of one mesh should have the same.", unit: state, table: true, asks: []query{{`sum by (instance, charter, revision) (charter_policy_info{` + selected + `})`, ""}}},
		spec{title: "State of the server", about: "1 while an older policy answers than the one on disk, while a candidate is out, and while denials have their consequences.", unit: state, asks: []query{
			{`max(charter_policy_degraded{` + selected + `})`, "policy degraded"}, {`max(charter_candidate_stopped{` + selected + `})`, "candidate stopped"}, {`min(charter_enforcement_up{` + selected + `})`, "enforcement up"},
		}},
	)
	b.row("Committee")
	b.graphs(
		spec{title: "Open investigations", about: "Violations and reports under investigation, by severity.", unit: count, asks: []query{sumBy("charter_violations_under_investigation", "severity")}},
		spec{title: "Investigations opened", about: "Within an hour, by who opened them.", unit: count, asks: []query{since("charter_investigation_initiated_total", "initiated_by", "1h")}},
		spec{title: "Outcomes", about: "Investigations resolved, dismissed or out of time, within an hour.", unit: count, asks: []query{since("charter_investigation_outcomes_total", "outcome", "1h")}},
		spec{title: "Overrides", about: "Emergency overrides that began, were renewed or ended, within an hour.", unit: count, asks: []query{since("charter_emergency_override_total", "action", "1h")}},
		spec{title: "Data access revoked", about: "Data access of nodes revoked or given back, within an hour.", unit: count, asks: []query{since("charter_data_revocation_events_total", "reason", "1h")}},
		spec{title: "Time to revoke", about: "99th percentile over an hour from an accepted revocation until decisions obey it. The service level is 5 s.", unit: seconds, asks: []query{rare("charter_data_revocation_latency_seconds", "p99", 0.99)}},
	)
	b.row("Notifications")
	b.graphs(
		spec{title: "Messages", about: "Messages to receivers of the charter within an hour, by what became of them.", unit: count, asks: []query{since("charter_audit_committee_notifications_total", "status", "1h")}},
		spec{title: "Time to notify", about: "99th percentile over an hour from an event until a receiver accepted its message. The service level of critical ones is 1 s; digests wait on purpose.", unit: seconds, asks: []query{{`histogram_quantile(0.99, sum by (severity, le) (increase(charter_committee_notification_latency_seconds_bucket{` + selected + `}[1h])))`, "{{severity}}"}}},
		spec{title: "Waiting and given up", about: "Messages that wait, receivers that fail, and deliveries that were given up or found no room.", unit: count, asks: []query{
			{`sum(charter_notification_queue_length{` + selected + `})`, "waiting"},
			{`sum(charter_notification_receivers_failing{` + selected + `})`, "receivers failing"},
			{`sum(charter_notification_dead_letters_total{` + selected + `})`, "given up"},
			{`sum(charter_notifications_dropped_total{` + selected + `})`, "dropped"},
		}},
		spec{title: "Failed attempts", about: "Attempts to deliver a message that failed, a second, by channel.", unit: perSecond, asks: []query{rates("charter_notification_failures_total", "channel")}},
		spec{title: "Outbox", about: "1 while messages that wait survive a crash.", unit: state, asks: []query{{`min(charter_notification_outbox_up{` + selected + `})`, "outbox"}}},
		spec{title: "Alerts recorded", about: "Alerts that Alertmanager told of and that are in the ledger, within an hour.", unit: count, asks: []query{since("charter_alerts_received_total", "status", "1h")}},
	)
	b.row("Ledger")
	b.graphs(
		spec{title: "Size", about: "Entries in the ledger, and those that a quorum of witnesses has cosigned.", unit: count, asks: []query{
			{`sum by (instance) (charter_ledger_size{` + selected + `})`, "{{instance}} entries"}, {`sum by (instance) (charter_ledger_witnessed_size{` + selected + `})`, "{{instance}} witnessed"},
		}},
		spec{title: "Entries", about: "Entries appended a second, by kind.", unit: perSecond, asks: []query{rates("charter_ledger_entries_total", "kind")}},
		spec{title: "Time to commit", about: "Percentiles of the time to make a group of entries durable. The service level is 50 ms.", unit: seconds, asks: quantiles("charter_ledger_commit_seconds", 0.5, 0.99)},
		spec{title: "Queue", about: "Entries that wait to be written.", unit: count, asks: []query{sum("charter_ledger_queue_length")}},
		spec{title: "Failures", about: "Attempts to record that failed or came too late, and entries for which the clock had gone back.", unit: count, asks: []query{
			{`sum(charter_ledger_failures_total{` + selected + `})`, "failures"}, {`sum(charter_ledger_clock_back_total{` + selected + `})`, "clock back"}, {`sum(charter_enforcement_late_total{` + selected + `})`, "consequences late"},
		}},
	)
	fleetRows(b)
	return &b.d
}

// fleetRows show what nodes run, what they are told, and the copies of their ledgers.
func fleetRows(b *builder) {
	b.row("Nodes and releases")
	b.graphs(
		spec{title: "Nodes by condition", about: "Nodes that run releases, by their gravest condition.", unit: count, asks: []query{sumBy("charter_fleet_nodes", "state")}},
		spec{title: "Sequences", about: "Sequence of the release that everybody gets in the end, and the lowest that a node runs; 0 without one.", unit: state, asks: []query{
			{`max(charter_fleet_newest_sequence{` + selected + `})`, "newest"}, {`min(charter_fleet_oldest_sequence{` + selected + `})`, "oldest"},
		}},
		spec{title: "Rollout", about: "Stage that the latest rollout has reached, of how many, and the percentage of nodes that it reaches.", unit: state, asks: []query{
			{`max(charter_rollout_stage{` + selected + `})`, "stage"}, {`max(charter_rollout_stages{` + selected + `})`, "of"}, {`max(charter_rollout_stage_percent{` + selected + `})`, "percent"},
		}},
		spec{title: "Rollouts by state", about: "Latest rollouts of channels. One that is halted or rolled back waits for a person; steps that wait for the ledger are in force.", unit: count, asks: []query{
			sumBy("charter_rollouts", "state"), {`sum(charter_rollout_unrecorded_steps{` + selected + `})`, "steps not in the ledger"},
		}},
		spec{title: "Stopped and alarms", about: "Rollouts that were halted or rolled back within a day, by cause, and nodes that went back to an older release.", unit: count, asks: []query{
			since("charter_rollout_halts_total", "cause", "1d"), {`sum(increase(charter_fleet_backwards_total{` + selected + `}[1d]))`, "nodes went back"},
		}},
		spec{title: "Reports", about: "Reports of nodes a second by what became of them.", unit: perSecond, asks: []query{rates("charter_fleet_reports_total", "result")}},
		spec{title: "Clock skew", about: "By how much the clock of a node differs from the server's, of the one that differs most.", unit: seconds, asks: []query{{`max(charter_fleet_clock_skew_seconds{` + selected + `})`, "skew"}}},
	)
	b.row("What nodes are told, and their ledgers")
	b.graphs(
		spec{title: "State bundle", about: "Time until the state bundle ends that was signed last; the next one comes at half of its time. None without --state-key.", unit: seconds, asks: []query{{`min(charter_state_bundle_expiry_timestamp_seconds{` + selected + `}) - time()`, "left"}}},
		spec{title: "State bundles signed", about: "Attempts to sign a state bundle within an hour, by result.", unit: count, asks: []query{since("charter_state_bundles_total", "result", "1h")}},
		spec{title: "Copies of ledgers", about: "Nodes by the copy of their ledger. Those that are neither current nor behind were found out: their disk was put back, or there are two histories.", unit: count, asks: []query{sumBy("charter_mirrors", "state")}},
		spec{title: "Entries in copies", about: "Entries of nodes that their server holds.", unit: count, asks: []query{sum("charter_mirror_entries")}},
		spec{title: "Uploads of ledgers", about: "Uploads of nodes a second by what became of them.", unit: perSecond, asks: []query{rates("charter_mirror_uploads_total", "result")}},
	)
}
