// Package sigstore signs and verifies with a real Sigstore: Fulcio, Rekor v2 and the
// timestamp authority, started by the test in a network namespace of its own that has
// nothing but loopback; and it holds what we sign against cosign, and what cosign signs
// against us. What these servers cannot be made to do, such as certifying in the past,
// is tested beside the code, with a Sigstore in memory.
//
// The servers are judges: `make test-judges` builds them, and without them the tests
// are skipped. The public-good instance and certificate transparency are not tested
// here: neither can be had without the internet.
package sigstore
