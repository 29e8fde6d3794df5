package data

// unpacked bounds what a file of size bytes may hold, most at any size. Images pack badly: the public sets that are packed
// most, MNIST and its like, to a fifth. Deflate reaches a thousandth, so that without this a file that is sent around in
// no time would take all memory where it is read.
func unpacked(size, most int64) int64 {
	const free, ratio = 1 << 26, 32
	if size > most/ratio {
		return most
	}
	return min(most, max(free, ratio*size))
}
