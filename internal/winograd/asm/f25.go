package main

// F(2x2, 5x5), in the order of operations of ../f25.go. Tiles of inputs are as large as those of F(4x4, 3x3), and their transform is the same.

var (
	ga3 = constant{"ga3", a * a * a * ga}
	ga4 = constant{"ga4", a * a * a * a * ga}
	gb3 = constant{"gb3", b * b * b * gb}
	gb4 = constant{"gb4", b * b * b * b * gb}
)

var f25 = variant{
	m: 2, r: 5,
	grad: func(x func(int) vector, y func(int, vector)) {
		y0, y1 := x(0), x(1)
		y(0, y0)
		y(5, y1)
		pair(y, 1, y0, mul(y1, a1))
		pair(y, 3, y0, mul(y1, b1))
	},
	output: func(x func(int) vector, y func(int, vector)) {
		m1, m2 := x(1), x(2)
		s, d := add(m1, m2), sub(m1, m2)
		m3, m4 := x(3), x(4)
		s2, d2 := add(m3, m4), sub(m3, m4)
		y(0, add(add(s, s2), x(0)))
		y(1, add(add(mul(d, a1), mul(d2, b1)), x(5)))
	},
	filter: func(x func(int) vector, y func(int, vector)) {
		f0, f2, f4 := x(0), x(2), x(4)
		y(0, mul(f0, g0))
		y(5, f4)
		f1, f3 := x(1), x(3)
		pair(y, 1, add(add(mul(f0, ga0), mul(f2, ga2)), mul(f4, ga4)), add(mul(f1, ga1), mul(f3, ga3)))
		pair(y, 3, add(add(mul(f0, gb0), mul(f2, gb2)), mul(f4, gb4)), add(mul(f1, gb1), mul(f3, gb3)))
	},
	filterGrad: func(x func(int) vector, y func(int, vector)) {
		d1, d2 := x(1), x(2)
		s, d := add(d1, d2), sub(d1, d2)
		d3, d4 := x(3), x(4)
		s2, e := add(d3, d4), sub(d3, d4)
		y(0, add(add(mul(s, ga0), mul(s2, gb0)), mul(x(0), g0)))
		y(1, add(mul(d, ga1), mul(e, gb1)))
		y(2, add(mul(s, ga2), mul(s2, gb2)))
		y(3, add(mul(d, ga3), mul(e, gb3)))
		y(4, add(add(mul(s, ga4), mul(s2, gb4)), x(5)))
	},
}
