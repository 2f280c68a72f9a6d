package committee

import (
	"time"

	"github.com/westworld-charter/charter/internal/charter"
)

// Attested says whether the charter let the request have effect at a time that the
// caller was not there: it is [Authorize] for the last second of the request's life. Its
// expiry alone is not looked at; what it brought about may have ended since.
func Attested(c *charter.Charter, s Signed) (Tally, error) {
	last := s.Request.Expires
	if until := s.Request.Until; !until.IsZero() && until.Before(last) {
		last = until
	}
	return Authorize(c, s, last.Add(-time.Second))
}
