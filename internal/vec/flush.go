package vec

// leastNormal is the smallest normal number of float32.
const leastNormal = 0x1p-126

// Flush sets the subnormal numbers of x to 0: arithmetic with them takes a hundred times as long.
func Flush[T Float](x []T) {
	var tiny T // the smallest normal number
	switch x := any(x).(type) {
	case []float32:
		if best.flush != nil {
			best.flush.run(x, x, nil, 0, 0, 0)
			return
		}
		tiny = leastNormal
	case []float64:
		smallest := 0x1p-1022
		tiny = T(smallest)
	}
	for i, v := range x {
		if v < tiny && v > -tiny {
			x[i] = 0
		}
	}
}
