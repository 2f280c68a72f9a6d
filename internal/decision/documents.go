package decision

// Severities of answers that no clause gave one to.
const (
	severityLow  = "low"
	severityHigh = "high"
)

// Invalid is the answer to a question that was refused, for callers that parse
// before they evaluate. All problems that err carries become reasons.
func Invalid(err *FieldError, revision string) Decision {
	all := err.All()
	reasons := make([]Reason, len(all))
	for i, e := range all {
		reasons[i] = Reason{Code: e.Code, Clause: ClauseRequest, Severity: severityLow, Message: e.Message, Field: e.Field}
	}
	return refusal(InvalidRequest, revision, reasons...)
}

// Unloaded is the answer while no policy is active: nothing is allowed.
func Unloaded() Decision {
	return refusal(NoPolicy, "", Reason{
		Code: CodeUndetermined, Clause: ClauseDefault, Severity: severityHigh, Message: "no policy is loaded",
	})
}

// Undetermined is the answer when an evaluation gave none, such as after a
// timeout: nothing is allowed.
func Undetermined(revision, message string) Decision {
	return refusal(Denied, revision, Reason{
		Code: CodeUndetermined, Clause: ClauseDefault, Severity: severityHigh, Message: message,
	})
}

// refusal denies for reasons, of which the first decides.
func refusal(outcome, revision string, reasons ...Reason) Decision {
	return Decision{
		Outcome: outcome, Revision: revision, Clause: reasons[0].Clause, Severity: reasons[0].Severity,
		Reasons: reasons, Mode: Enforce,
	}
}
