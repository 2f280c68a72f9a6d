// Package hostile attacks the real charter-server with everything a client can
// do wrong on purpose, while another client asks ordinary questions all the time.
// The other client is answered, in time and right; each bad request gets a 4xx
// that names its fault, or the end of its connection where no answer is possible;
// and afterwards the server has given back what the attackers made it take.
//
// CHARTER_LONG=1 holds 10,000 idle connections instead of 1,000.
package hostile
