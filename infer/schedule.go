package infer

// schedule is how many images are computed together. The first operations, on large maps, take a chunk of images at a time, so that values stay in a
// core's cache. The rest, on small ones, take a group of chunks, so that weights are read once for many images.
type schedule struct{ split, chunk, group int }

const (
	chunkBytes = 1 << 20 // of the values of a chunk
	groupBytes = 1 << 19 // of the values of a group
	mostChunk  = 16
	mostGroup  = 64
)

// images is how many images of a value there is memory for.
func (s schedule) images(l *layout) int {
	if l.grouped {
		return s.group
	}
	return s.chunk
}

// schedule returns the one for which the fewest bytes of weights are read for an image.
func (p *plan) schedule() schedule {
	best, bestBytes := schedule{}, 0.0
	for split := 1; split < len(p.operations); split++ {
		p.regroup(split)
		var first, rest int
		for _, l := range p.layouts {
			if l.grouped {
				rest += l.size
			} else {
				first += l.size
			}
		}
		s := schedule{split: split, chunk: max(1, min(mostChunk, chunkBytes/max(1, first)))}
		s.group = max(s.chunk, min(mostGroup, groupBytes/max(1, rest)))
		bytes := float64(weightBytes(p.operations[:split]))/float64(s.chunk) + float64(weightBytes(p.operations[split:]))/float64(s.group)
		if best.split == 0 || bytes < bestBytes {
			best, bestBytes = s, bytes
		}
	}
	return best
}

// regroup marks the values that operations from split on read or make.
func (p *plan) regroup(split int) {
	for _, l := range p.layouts {
		l.grouped = false
	}
	for _, o := range p.operations[split:] {
		for _, l := range o.layouts() {
			l.grouped = true
		}
	}
}

// weightBytes is the packed weights of operations.
func weightBytes(operations []operation) (n int) {
	for _, o := range operations {
		if u, ok := o.(*units); ok {
			for _, p := range u.products {
				n += p.packed
			}
		}
	}
	return n
}

// place gives values their places in a worker's memory.
func (p *plan) place(s schedule) {
	p.regroup(s.split)
	p.memory = 0
	for _, l := range p.layouts {
		l.base = p.memory
		p.memory += s.images(l) * l.size
	}
}
