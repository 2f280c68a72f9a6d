package main

import (
	"fmt"
	"math"
	"strconv"
)

// goal is what a ratio should be; the zero goal is none.
type goal struct {
	least, most float64
}

func atLeast(ratio float64) goal { return goal{least: ratio} }
func atMost(ratio float64) goal  { return goal{most: ratio} }

func (g goal) met(ratio float64) bool {
	if g.most > 0 {
		return ratio <= g.most
	}
	return ratio >= g.least
}

func (g goal) String() string {
	if g.most > 0 {
		return fmt.Sprintf("<= %g", g.most)
	}
	return fmt.Sprintf(">= %g", g.least)
}

// round keeps four significant digits, more than the noise leaves, and all
// digits before the point. What is not a number becomes 0: JSON has none for it.
func round(v float64) float64 {
	if math.IsInf(v, 0) || math.IsNaN(v) {
		return 0
	}
	if math.Abs(v) >= 1000 {
		return math.Round(v)
	}
	short, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 4, 64), 64)
	if err != nil {
		return 0 // a number that was just written is one
	}
	return short
}
