// Package notify tells people what happened: it delivers messages to the receivers
// of a charter over Slack, e-mail and signed webhooks (Standard Webhooks).
//
// Start with [New], give it messages with [Notifier.Send], and keep [Notifier.Run]
// running; [Try] sends one message without any of this.
//
// Guaranteed are: Send never waits, for a disk no more than for a receiver; what is
// in the outbox survives a crash and is delivered at least once, under an id that
// stays the same over attempts; a burst becomes a few messages with counts, so that
// neither memory nor disk nor a reader drowns; what is critical never waits behind
// what is not; what cannot be delivered is kept as a dead letter; secrets come from
// files and the environment, are read anew for every attempt, and are in no log, no
// error, no file and no entry of the ledger.
package notify
