package fleet

// Offer returns the release that a node is given in a channel, with its content. Changed
// is closed when that may be another one. Node is who proved to be it, "" for anybody
// else, who is given what everybody gets. Ok is false where there is nothing to give:
// published tells whether the channel has releases at all.
//
// When Offer returns a release that not everybody gets, it is on disk that the node got
// it.
func (f *Fleet) Offer(channel, node string) (r Release, changed <-chan struct{}, published, ok bool) {
	f.mu.Lock()
	c, changed := f.channels[channel], f.waiting(node)
	if c == nil || c.Rollout == nil {
		f.mu.Unlock()
		return Release{}, changed, c != nil, false
	}
	var had int64
	var labels map[string]string
	n := f.nodes[node]
	if n != nil {
		had, labels = n.marked(channel).had(), n.labels()
	}
	sequence := c.want(node, labels, had)
	if node != "" && sequence > had {
		n, sequence = f.give(channel, c, node, sequence)
	}
	rel := c.release(sequence)
	if rel == nil {
		f.mu.Unlock()
		return Release{}, changed, true, false
	}
	r = *rel
	r.Content = f.content[place{channel, sequence}]
	var unsaved uint64
	if n != nil && sequence > c.Rollout.Before { // or it is what everybody gets
		unsaved = n.unsaved
	}
	f.mu.Unlock()
	if err := f.save(unsaved); err != nil {
		f.Logger.Error("a node is not given its release, since that could not be kept on disk", "node", node, "error", err.Error())
		return Release{}, changed, true, false
	}
	return r, changed, true, true
}

// give notes that a node is given a sequence. One for which there is no room is nil, and
// gets what everybody has. It needs mu.
func (f *Fleet) give(channel string, c *channel, name string, sequence int64) (n *node, given int64) {
	now := f.now()
	n, err := f.node(name, now)
	if err != nil {
		return nil, c.want("", nil, 0)
	}
	m := n.mark(channel)
	m.Offered, m.OfferedAt = sequence, now
	n.unsaved = f.touch()
	return n, sequence
}

// Channels returns the names of the channels in which something was published, sorted.
func (f *Fleet) Channels() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return sortedKeys(f.channels)
}

// Releases returns what is known of the releases of a channel, the newest first.
func (f *Fleet) Releases(channel string) []Release {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := []Release{}
	if c := f.channels[channel]; c != nil {
		for i := len(c.Releases) - 1; i >= 0; i-- {
			list = append(list, *c.Releases[i])
		}
	}
	return list
}
