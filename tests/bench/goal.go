package main

import (
	"fmt"
	"math"
	"strconv"
)

// goal is what a ratio should be; the zero goal is none.
type goal struct {
	sign  string // <= or >=
	bound float64
}

func atLeast(ratio float64) goal { return goal{">=", ratio} }
func atMost(ratio float64) goal  { return goal{"<=", ratio} }

func (g goal) met(ratio float64) bool {
	if g.sign == "<=" {
		return ratio <= g.bound
	}
	return ratio >= g.bound
}

func (g goal) String() string { return fmt.Sprintf("%s %g", g.sign, g.bound) }

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
