package ledger

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// TilePath names a tile as C2SP tlog-tiles does.
type TilePath struct {
	Entries bool   // a bundle of entries; Level is 0 then
	Level   int    // 0 is the level of the entries
	Index   uint64 // of the tile within its level
	Width   int    // hashes or entries in it, 1 to [TileWidth]
}

// ErrPath marks a path that names no tile.
var ErrPath = errors.New("malformed tile path")

// maxTileLevel is the highest level of tiles of a log with 63-bit indices.
const maxTileLevel = 7

// String returns the path, such as tile/0/x001/234.p/5 or tile/entries/000.
// [tlog.Tile.Path] has the layout of the Go checksum database instead.
func (p TilePath) String() string {
	index := fmt.Sprintf("%03d", p.Index%1000)
	for n := p.Index / 1000; n > 0; n /= 1000 {
		index = fmt.Sprintf("x%03d/%s", n%1000, index)
	}
	level := "entries"
	if !p.Entries {
		level = strconv.Itoa(p.Level)
	}
	if p.Width == TileWidth {
		return "tile/" + level + "/" + index
	}
	return fmt.Sprintf("tile/%s/%s.p/%d", level, index, p.Width)
}

// ParseTilePath reads a path without a leading slash. It accepts only what
// [TilePath.String] writes; the error wraps [ErrPath].
func ParseTilePath(path string) (TilePath, error) {
	fail := func() (TilePath, error) { return TilePath{}, fmt.Errorf("%w: %.80q", ErrPath, path) }
	if len(path) > 80 {
		return fail()
	}
	rest, ok := strings.CutPrefix(path, "tile/")
	if !ok {
		return fail()
	}
	level, rest, ok := strings.Cut(rest, "/")
	if !ok {
		return fail()
	}
	p := TilePath{Width: TileWidth}
	if p.Entries = level == "entries"; !p.Entries {
		n, err := parseDecimal(level)
		if err != nil || n > maxTileLevel {
			return fail()
		}
		p.Level = int(n)
	}
	rest, width, partial := strings.Cut(rest, ".p/")
	if partial {
		n, err := parseDecimal(width)
		if err != nil || n == 0 || n >= TileWidth {
			return fail()
		}
		p.Width = int(n)
	}
	for part := range strings.SplitSeq(rest, "/") {
		n, err := strconv.ParseUint(strings.TrimPrefix(part, "x"), 10, 16)
		if err != nil || n > 999 || p.Index > 1<<53 {
			return fail()
		}
		p.Index = p.Index*1000 + n
	}
	if p.String() != path {
		return fail()
	}
	return p, nil
}
