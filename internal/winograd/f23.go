package winograd

// The transforms of F(2x2, 3x3) in one dimension, with points 0, 1, -1 and infinity, in the order of operations of the assembly.

var f23 = matrices{2, 3, input23, grad23, output23, filter23, filterGrad23}

// input23 is B^T d.
func input23(d vector) (v vector) {
	v[0] = d[0] - d[2]
	v[1] = d[2] + d[1]
	v[2] = d[2] - d[1]
	v[3] = d[1] - d[3]
	return v
}

// grad23 is A dy.
func grad23(y vector) (d vector) {
	d[0] = y[0]
	d[1] = y[0] + y[1]
	d[2] = y[0] - y[1]
	d[3] = 0 - y[1]
	return d
}

// output23 is A^T m.
func output23(m vector) (y vector) {
	y[0] = m[1] + m[2] + m[0]
	y[1] = m[1] - m[2] - m[3]
	return y
}

// filter23 is G g.
func filter23(g vector) (u vector) {
	sum, mid := (g[0]+g[2])*0.5, float32(g[1]*0.5)
	u[0] = g[0]
	u[1] = sum + mid
	u[2] = sum - mid
	u[3] = g[2]
	return u
}

// filterGrad23 is G^T du.
func filterGrad23(d vector) (g vector) {
	sum := float32((d[1] + d[2]) * 0.5)
	g[0] = sum + d[0]
	g[1] = (d[1] - d[2]) * 0.5
	g[2] = sum + d[3]
	return g
}
