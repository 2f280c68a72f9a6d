// Package committee is what members of a committee sign, and what their signatures
// amount to. [Request] is one of a closed list of acts; its [Request.Digest] is an
// EIP-712 hash in the domain {name: "charter", version: "1"}, so a member signs with
// [Key.Sign] or with any Ethereum wallet, which shows the fields of
// [Request.TypedData]. [Decode] reads a request with signatures, [Authorize] says
// whether a charter lets it have effect.
//
// Guaranteed: every field of a request is signed, and a signature for one kind of
// request, or for a message of another domain, is worth nothing for another. Only
// members of the committee count, each once, whatever the form of their signature.
// Shares of power are compared as the decimal numbers that the charter has, without
// rounding.
//
// Not here: that a request has effect once only. Requests carry a nonce and live for
// [MaxLife] at most; whoever lets them have effect keeps the nonces that long.
package committee
