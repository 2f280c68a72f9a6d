package engine

import (
	"encoding/binary"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// newID returns a UUID of version 7 (RFC 9562) for a time in nanoseconds since 1970.
// It begins with the time to a quarter of a microsecond (48 bits of milliseconds and
// 12 of what is left, method 3 of section 6.2), so that ids sort by time in logs; the
// other 62 bits are random. They have to be unique and not secret: the generator of
// math/rand/v2, seeded by the system, costs a fraction of asking the system each time.
func newID(now int64) string {
	const version, variant, perMilli = 7 << 12, 2 << 62, int64(time.Millisecond)
	high := uint64(now/perMilli)<<16 | version | uint64(now%perMilli<<12/perMilli)
	low := variant | rand.Uint64()>>2

	var text [36]byte
	binary.BigEndian.PutUint64(text[0:], digitsOf(uint32(high>>32)))
	middle := digitsOf(uint32(high))
	binary.BigEndian.PutUint32(text[9:], uint32(middle>>32))
	binary.BigEndian.PutUint32(text[14:], uint32(middle))
	middle = digitsOf(uint32(low >> 32))
	binary.BigEndian.PutUint32(text[19:], uint32(middle>>32))
	binary.BigEndian.PutUint32(text[24:], uint32(middle))
	binary.BigEndian.PutUint64(text[28:], digitsOf(uint32(low)))
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return string(text[:])
}

// digitsOf is x in eight hexadecimal digits, one a byte, all of them at once: the bits
// are spread so that each byte has four, and those above nine become letters.
func digitsOf(x uint32) uint64 {
	const each = 0x0101010101010101
	b := uint64(x)
	b = (b | b<<16) & 0x0000ffff0000ffff
	b = (b | b<<8) & 0x00ff00ff00ff00ff
	b = (b | b<<4) & (each * 0x0f)
	letters := (b + each*6) >> 4 & each // 1 where a letter is due
	return b + each*'0' + letters*('a'-'9'-1)
}

// clock tells the time of day for the price of the time since it was last looked up,
// which is half of that. When the time of day is set it follows a second later at
// most. The zero value is ready; it is safe for concurrent use.
type clock struct{ last atomic.Pointer[timeOfDay] }

type timeOfDay struct {
	time.Time
	ns int64 // since 1970
}

// now is the time in nanoseconds since 1970.
func (c *clock) now() int64 {
	if last := c.last.Load(); last != nil {
		if since := time.Since(last.Time); since < time.Second {
			return last.ns + int64(since)
		}
	}
	now := time.Now()
	c.last.Store(&timeOfDay{now, now.UnixNano()})
	return now.UnixNano()
}
