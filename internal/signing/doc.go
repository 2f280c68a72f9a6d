// Package signing makes and verifies signatures of releases with Sigstore.
//
// To sign, load a [Key] ([LoadKey], [OpenKMS]) and make a [Signer] of it
// ([NewKeySigner]); package online signs with an identity, or with a key and the help
// of services. A signature is a Sigstore bundle v0.3 with a DSSE envelope in it, about
// a statement of package release; cosign verifies it, and what cosign signs is
// verified here.
//
// To verify, read a trust policy ([ReadTrust]) and ask it ([Trust.Verify],
// [Trust.VerifyState]). Nothing is trusted that the policy does not name. What is
// accepted has passed the verifier of sigstore-go; that verifier tells causes in
// prose alone, so each refusal is looked at again, step by step, for its code. The
// second look decides nothing but the code: no statement is accepted by it.
//
// Nothing here talks to a service. Verifying reads nothing but its arguments: it works
// without a network.
//
// [SignJWT] makes the other kind of signature, which stock OPA understands.
package signing
