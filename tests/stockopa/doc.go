// Package stockopa runs an unmodified opa beside a charter-server: it downloads the
// policy, follows its changes, decides like ourselves and uploads what it decided, with
// servers that are killed and answers that are lost on the way.
package stockopa
