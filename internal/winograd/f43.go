package winograd

// The transforms of F(4x4, 3x3) in one dimension, with points 0, a1, -a1, b1, -b1 and infinity, in the order of operations of the assembly. Products of constants
// are exact in float32, but for those with the reciprocals in G. Conversions keep compilers from fusing products with sums.

const (
	a1 = 5. / 8
	b1 = 3. / 2
	a2 = a1 * a1
	b2 = b1 * b1
	a3 = a1 * a1 * a1
	b3 = b1 * b1 * b1

	// The rows of G are 1, x, x^2 of each point x, over the product of its distances from the other points.
	g0  = 1 / (a2 * b2)
	ga0 = 1 / (2 * a2 * (a2 - b2))
	ga1 = a1 * ga0
	ga2 = a2 * ga0
	gb0 = 1 / (2 * b2 * (b2 - a2))
	gb1 = b1 * gb0
	gb2 = b2 * gb0
)

var f43 = matrices{4, 3, input43, grad43, output43, filter43, filterGrad43}

// input43 is B^T d: for each point, the coefficients of the product of (x - y) for all other points y.
func input43(d vector) (v vector) {
	even, odd := d[4]-float32(b2*d[2]), d[3]-float32(b2*d[1])
	x := float32(a1 * odd)
	v[1], v[2] = even+x, even-x
	v[0] = even - float32(a2*(d[2]-float32(b2*d[0])))
	v[5] = d[5] - float32(b2*d[3]) - float32(a2*odd)
	even = d[4] - float32(a2*d[2])
	x = float32(b1 * (d[3] - float32(a2*d[1])))
	v[3], v[4] = even+x, even-x
	return v
}

// grad43 is A dy: values of polynomials of degree 3.
func grad43(y vector) (d vector) {
	d[0], d[5] = y[0], y[3]
	even, odd := y[0]+float32(a2*y[2]), float32(a1*y[1])+float32(a3*y[3])
	d[1], d[2] = even+odd, even-odd
	even, odd = y[0]+float32(b2*y[2]), float32(b1*y[1])+float32(b3*y[3])
	d[3], d[4] = even+odd, even-odd
	return d
}

// output43 is A^T m.
func output43(m vector) (y vector) {
	s, d := m[1]+m[2], m[1]-m[2]
	s2, d2 := m[3]+m[4], m[3]-m[4]
	y[0] = s + s2 + m[0]
	y[1] = float32(a1*d) + float32(b1*d2)
	y[2] = float32(a2*s) + float32(b2*s2)
	y[3] = float32(a3*d) + float32(b3*d2) + m[5]
	return y
}

// filter43 is G g.
func filter43(g vector) (u vector) {
	u[0], u[5] = g0*g[0], g[2]
	even, odd := float32(ga0*g[0])+float32(ga2*g[2]), float32(ga1*g[1])
	u[1], u[2] = even+odd, even-odd
	even, odd = float32(gb0*g[0])+float32(gb2*g[2]), float32(gb1*g[1])
	u[3], u[4] = even+odd, even-odd
	return u
}

// filterGrad43 is G^T du.
func filterGrad43(d vector) (g vector) {
	s, x := d[1]+d[2], d[1]-d[2]
	s2, x2 := d[3]+d[4], d[3]-d[4]
	g[0] = float32(ga0*s) + float32(gb0*s2) + float32(g0*d[0])
	g[1] = float32(ga1*x) + float32(gb1*x2)
	g[2] = float32(ga2*s) + float32(gb2*s2) + d[5]
	return g
}
