package main

// F(4x4, 3x3), in the order of operations of ../f43.go.

const (
	a = 5. / 8
	b = 3. / 2

	ga = 1 / (2 * a * a * (a*a - b*b))
	gb = 1 / (2 * b * b * (b*b - a*a))
)

var (
	a1 = constant{"a1", a}
	b1 = constant{"b1", b}
	a2 = constant{"a2", a * a}
	b2 = constant{"b2", b * b}
	a3 = constant{"a3", a * a * a}
	b3 = constant{"b3", b * b * b}

	g0  = constant{"g0", 1 / (a * a * b * b)}
	ga0 = constant{"ga0", ga}
	ga1 = constant{"ga1", a * ga}
	ga2 = constant{"ga2", a * a * ga}
	gb0 = constant{"gb0", gb}
	gb1 = constant{"gb1", b * gb}
	gb2 = constant{"gb2", b * b * gb}
)

// pair gives even + odd and even - odd.
func pair(y func(int, vector), i int, even, odd vector) {
	y(i, add(even, odd))
	y(i+1, sub(even, odd))
}

var f43 = variant{
	m: 4, r: 3,
	input: func(x func(int) vector, y func(int, vector)) {
		d1, d2, d3, d4 := x(1), x(2), x(3), x(4)
		even, odd := sub(d4, mul(d2, b2)), sub(d3, mul(d1, b2))
		pair(y, 1, even, mul(odd, a1))
		y(0, sub(even, mul(sub(d2, mul(x(0), b2)), a2)))
		y(5, sub(sub(x(5), mul(d3, b2)), mul(odd, a2)))
		even = sub(d4, mul(d2, a2))
		pair(y, 3, even, mul(sub(d3, mul(d1, a2)), b1))
	},
	grad: func(x func(int) vector, y func(int, vector)) {
		y0, y1, y2, y3 := x(0), x(1), x(2), x(3)
		y(0, y0)
		y(5, y3)
		pair(y, 1, add(y0, mul(y2, a2)), add(mul(y1, a1), mul(y3, a3)))
		pair(y, 3, add(y0, mul(y2, b2)), add(mul(y1, b1), mul(y3, b3)))
	},
	output: func(x func(int) vector, y func(int, vector)) {
		m1, m2 := x(1), x(2)
		s, d := add(m1, m2), sub(m1, m2)
		m3, m4 := x(3), x(4)
		s2, d2 := add(m3, m4), sub(m3, m4)
		y(0, add(add(s, s2), x(0)))
		y(1, add(mul(d, a1), mul(d2, b1)))
		y(2, add(mul(s, a2), mul(s2, b2)))
		y(3, add(add(mul(d, a3), mul(d2, b3)), x(5)))
	},
	filter: func(x func(int) vector, y func(int, vector)) {
		f0, f1, f2 := x(0), x(1), x(2)
		y(0, mul(f0, g0))
		y(5, f2)
		pair(y, 1, add(mul(f0, ga0), mul(f2, ga2)), mul(f1, ga1))
		pair(y, 3, add(mul(f0, gb0), mul(f2, gb2)), mul(f1, gb1))
	},
	filterGrad: func(x func(int) vector, y func(int, vector)) {
		d1, d2 := x(1), x(2)
		s, d := add(d1, d2), sub(d1, d2)
		d3, d4 := x(3), x(4)
		s2, e := add(d3, d4), sub(d3, d4)
		y(0, add(add(mul(s, ga0), mul(s2, gb0)), mul(x(0), g0)))
		y(1, add(mul(d, ga1), mul(e, gb1)))
		y(2, add(add(mul(s, ga2), mul(s2, gb2)), x(5)))
	},
}
