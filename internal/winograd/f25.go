package winograd

// The transforms of F(2x2, 5x5) in one dimension, in the order of operations of the assembly. It has the points of F(4x4, 3x3), and so the same B and p(x).

const (
	a4 = a2 * a2
	b4 = b2 * b2

	ga3 = a3 * ga0
	ga4 = a4 * ga0
	gb3 = b3 * gb0
	gb4 = b4 * gb0
)

var f25 = matrices{2, 5, input43, grad25, output25, filter25, filterGrad25}

// grad25 is A dy.
func grad25(y vector) (d vector) {
	d[0], d[5] = y[0], y[1]
	x := float32(a1 * y[1])
	d[1], d[2] = y[0]+x, y[0]-x
	x = float32(b1 * y[1])
	d[3], d[4] = y[0]+x, y[0]-x
	return d
}

// output25 is A^T m.
func output25(m vector) (y vector) {
	y[0] = (m[1] + m[2]) + (m[3] + m[4]) + m[0]
	y[1] = float32(a1*(m[1]-m[2])) + float32(b1*(m[3]-m[4])) + m[5]
	return y
}

// filter25 is G g.
func filter25(g vector) (u vector) {
	u[0], u[5] = g0*g[0], g[4]
	even, odd := float32(ga0*g[0])+float32(ga2*g[2])+float32(ga4*g[4]), float32(ga1*g[1])+float32(ga3*g[3])
	u[1], u[2] = even+odd, even-odd
	even, odd = float32(gb0*g[0])+float32(gb2*g[2])+float32(gb4*g[4]), float32(gb1*g[1])+float32(gb3*g[3])
	u[3], u[4] = even+odd, even-odd
	return u
}

// filterGrad25 is G^T du.
func filterGrad25(d vector) (g vector) {
	s, x := d[1]+d[2], d[1]-d[2]
	s2, x2 := d[3]+d[4], d[3]-d[4]
	g[0] = float32(ga0*s) + float32(gb0*s2) + float32(g0*d[0])
	g[1] = float32(ga1*x) + float32(gb1*x2)
	g[2] = float32(ga2*s) + float32(gb2*s2)
	g[3] = float32(ga3*x) + float32(gb3*x2)
	g[4] = float32(ga4*s) + float32(gb4*s2) + d[5]
	return g
}
