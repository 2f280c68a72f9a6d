package space

// automaton is the deterministic automaton of one glob over characters. Taking
// the leftmost place for every literal run makes it deterministic, so that a
// state is a single number:
//
//	0..len(prefix)     the prefix up to here has been read
//	then, per run      how much of the run the text read so far ends in
//	dead               nothing can match any more
//
// Behind the prefix it moves within one run as Knuth, Morris and Pratt do.
type automaton struct {
	runs  [][]rune // prefix, inner runs, suffix; one run for an exact glob
	fail  [][]int  // per run, the failure function
	base  []int    // first state of each run
	exact bool
}

const dead = -1

func newAutomaton(g Glob) *automaton {
	a := &automaton{exact: g.Exact()}
	next := 0
	for _, part := range g.parts {
		run := []rune(part)
		a.runs = append(a.runs, run)
		a.fail = append(a.fail, failure(run))
		a.base = append(a.base, next)
		next += len(run) + 1
	}
	return a
}

// failure is the classic table: fail[j] is the length of the longest proper
// prefix of run that run[:j] ends in.
func failure(run []rune) []int {
	fail := make([]int, len(run)+1)
	for j := 2; j <= len(run); j++ {
		k := fail[j-1]
		for k > 0 && run[k] != run[j-1] {
			k = fail[k]
		}
		if run[k] == run[j-1] {
			k++
		}
		fail[j] = k
	}
	return fail
}

// start is the state before anything is read.
func (a *automaton) start() int { return a.settle(0, 0) }

// settle turns "j characters of run i are read" into a state: a complete run,
// unless it is the last one, is the beginning of the next.
func (a *automaton) settle(i, j int) int {
	for i < len(a.runs)-1 && j == len(a.runs[i]) {
		i, j = i+1, 0
	}
	return a.base[i] + j
}

// locate is the inverse of settle.
func (a *automaton) locate(state int) (i, j int) {
	for i = len(a.base) - 1; a.base[i] > state; i-- {
	}
	return i, state - a.base[i]
}

func (a *automaton) step(state int, r rune) int {
	if state == dead {
		return dead
	}
	i, j := a.locate(state)
	run := a.runs[i]
	if i == 0 {
		if j == len(run) || run[j] != r {
			return dead
		}
		return a.settle(i, j+1)
	}
	if j == len(run) {
		if j == 0 {
			return state // everything ends in an empty suffix
		}
		j = a.fail[i][j]
	}
	for j > 0 && run[j] != r {
		j = a.fail[i][j]
	}
	if run[j] == r {
		j++
	}
	return a.settle(i, j)
}

// accepts reports whether what was read matches.
func (a *automaton) accepts(state int) bool {
	last := len(a.runs) - 1
	return state != dead && state == a.base[last]+len(a.runs[last])
}

// final reports whether the glob matches whatever follows.
func (a *automaton) final(state int) bool {
	return !a.exact && len(a.runs[len(a.runs)-1]) == 0 && a.accepts(state)
}
