// Package distribution plays the way of a release from a charter to a running node with
// the real programs, and has it judged by independent ones: docker-registry keeps it,
// cosign and sigstore-go verify and make the signatures, a stock opa and skopeo take it.
//
// What needs no judge always runs, against a registry inside the test.
package distribution
