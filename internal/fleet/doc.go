// Package fleet knows which node runs which release, and decides which release a node
// is offered.
//
// Start with [Open]. Nodes say what they run in a [Report], which [Fleet.Report] takes;
// [Fleet.Nodes] tells who is behind, degraded, silent or went back. A release that
// somebody has verified is taken by [Fleet.Publish], together with its rollback, which
// was signed at the same time: nothing here signs. [Fleet.Begin] rolls it out in stages
// and [Fleet.Offer] answers which release a node gets; [Fleet.Run] goes on to the next
// stage, or rolls back, by what the nodes report.
//
// Guaranteed is: no node is offered a release with a lower sequence than it ever
// reported or was given; a stage reaches no more than its share of node ids, the same
// ones after a restart and on every machine; a rollout that was halted or rolled back
// stays so until a person acts, whatever is restarted in between. What is decided is on
// disk before it is acted upon, and in the ledger soon afterwards, once.
//
// What is in force is read from files and not from the ledger: a server whose ledger
// is kept elsewhere, is pruned or was restored to an earlier day must not go on with a
// rollout that was halted. The ledger is the record of it.
package fleet
