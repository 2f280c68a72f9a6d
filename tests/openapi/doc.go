// Package openapi holds the API to its description: every example of the
// OpenAPI document is sent to the real handler over a real policy, and what
// comes back must be the documented answer and fit the documented schema. An
// example with x-situation is sent by the caller, or to the server in the
// trouble, that it names. Run the tests with -update to write the answers into
// the document.
package openapi
