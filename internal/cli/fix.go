package cli

import (
	"github.com/westworld-charter/charter/internal/activation"
	"github.com/westworld-charter/charter/internal/distribution"
	"github.com/westworld-charter/charter/internal/signing"
)

// fixOf says what to do about a release that is refused with that code, "" when there
// is nothing more to say than the error does.
func fixOf(code string) string { return fixes()[code] }

func fixes() map[string]string {
	return map[string]string{
		string(signing.CodeUnsigned):             "sign it: charter-admin sign --key KEY FILE; or fetch FILE.sigstore.json, too",
		string(signing.CodeMalformed):            "fetch the statements again, or sign again",
		string(signing.CodeUntrustedKey):         "was it signed with the right key? If so, add its public half under signers of trust.yaml",
		string(signing.CodeUntrustedIssuer):      "was it signed by the right identity? If so, add it under signers of trust.yaml",
		string(signing.CodeUntrustedIdentity):    "was it signed by the right identity? If so, add it under signers of trust.yaml",
		string(signing.CodeInvalidSignature):     "do not use it: somebody changed a statement after it was signed",
		string(signing.CodeNoTimestamp):          "sign it again with --timestamp-url",
		string(signing.CodeUntrustedTimestamp):   "sign it again with a --timestamp-url whose authority is in the trusted root",
		string(signing.CodeUntrustedCertificate): "sign it again with a --fulcio-url whose authority is in the trusted root",
		string(signing.CodeCertificateExpired):   "sign it again; look at the clocks, and whether the trusted root is up to date",
		string(signing.CodeNoSCT):                "use a Fulcio with a certificate transparency log, or insecure_ignore_sct in trust.yaml for a private one",
		string(signing.CodeNoLogEntry):           "sign it again with --rekor-url",
		string(signing.CodeInvalidLogEntry):      "do not use it: the proof from the log is forged, or the log is not in the trusted root",
		string(signing.CodeSubjectMismatch):      "the statements are about another bundle: take the ones made for this one, or sign it",
		string(signing.CodeMissingStatement):     "make the statement: charter-admin sign --channel, or charter-admin attest",
		string(signing.CodeTooFewSigners):        "let another signer of trust.yaml state the same: charter-admin sign or attest with their key",
		string(signing.CodeNoStateKey):           "name the state key under state.keys of trust.yaml",
		string(signing.CodeTooManyStatements):    "remove statements that are not yours from the registry",
		activation.CodeWrongChannel:              "take the release of the channel that trust.yaml names, or release this one to it: charter-admin sign --channel",
		activation.CodeExpired:                   "release it again with a later --expires, or take the newest release",
		activation.CodeRevisionMismatch:          "build and sign again: the statement was made for another bundle",
		activation.CodeCharterMismatch:           "build and sign again: the statement was made for another bundle",
		activation.CodeNotReproducible:           "do not trust its rules unless you know that another version of charter-admin made it: verify with that version",
		activation.CodeSelfTest:                  "do not activate it; charter-admin test shows what the charter means",
		distribution.CodeLayerDigestMismatch:     "fetch it again; if that does not help, push it again",
		distribution.CodeManifestDigestMismatch:  "the registry answers with something else than was asked for: do not use it",
		distribution.CodeUnauthorized:            "log in (docker login, skopeo login, oras login), or give --docker-config or --registry-token-file",
		distribution.CodeUnreachable:             "is the address right, and is it up? A proxy is taken from HTTPS_PROXY",
		distribution.CodeInsecureTransport:       "use TLS, or --insecure-plain-http when nobody else is on the wire",
		distribution.CodeNotFound:                "charter-admin inspect shows what is there",
	}
}
