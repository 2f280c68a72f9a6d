package charter

// Limits bound what one Load may cost. Charters may come from people nobody
// knows; beyond a limit the charter is refused with a diagnostic.
type Limits struct {
	// DocumentBytes is the size of one file, TotalBytes of a charter with
	// everything it extends.
	DocumentBytes, TotalBytes int
	// Nodes counts the YAML values of one file, aliases written out.
	Nodes int
	// Depth is how deep values may nest.
	Depth int
	// Extends is the number of files in a chain of extends, the first included.
	Extends int
	// Findings is the number of diagnostics after which reading stops.
	Findings int
}

// DefaultLimits returns the limits that [Load], [LoadFS] and [Parse] apply:
// 1 MiB a document, 4 MiB a chain of at most 8, 500,000 values, 32 levels, 1,000
// findings.
func DefaultLimits() Limits {
	return Limits{
		DocumentBytes: 1 << 20,
		TotalBytes:    4 << 20,
		Nodes:         500_000,
		Depth:         32,
		Extends:       8,
		Findings:      1000,
	}
}

// orDefault replaces what was left zero by the default.
func (l Limits) orDefault() Limits {
	d := DefaultLimits()
	for _, f := range []struct{ have, want *int }{
		{&l.DocumentBytes, &d.DocumentBytes},
		{&l.TotalBytes, &d.TotalBytes},
		{&l.Nodes, &d.Nodes},
		{&l.Depth, &d.Depth},
		{&l.Extends, &d.Extends},
		{&l.Findings, &d.Findings},
	} {
		if *f.have <= 0 {
			*f.have = *f.want
		}
	}
	return l
}
