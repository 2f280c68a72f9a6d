// Package report makes reports for people from the entries of a ledger, and from
// nothing else: the periodic audit report of everything ([NewAudit]), and the
// data-collection report of one node ([NewCollection]).
//
// Give entries in their order to a [Builder], as [ledger.Verify] visits them, or
// let [Make] read them; [Builder.Document] is the report, [Write] gives it as
// JSON, Markdown or HTML.
//
// Guaranteed are: counts are exact, or the report says what is missing from them;
// each figure cites the entries that it was counted from ([Citation]); memory is
// bounded whatever names the entries hold, and what a table has no room to tell
// apart is counted in its row Other; the same entries give the same bytes; names
// that a caller chose change nothing about the form of a report.
package report
