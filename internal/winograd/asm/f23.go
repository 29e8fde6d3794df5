package main

import . "github.com/mmcloughlin/avo/build"

// F(2x2, 3x3), in the order of operations of ../f23.go.

var half = constant{"half", 0.5}

// minus returns -x, and 0 of 0.
func minus(x vector) vector {
	zero := YMM()
	VXORPS(zero, zero, zero)
	return sub(zero, x)
}

var f23 = variant{
	m: 2, r: 3,
	input: func(x func(int) vector, y func(int, vector)) {
		d1, d2 := x(1), x(2)
		y(0, sub(x(0), d2))
		y(1, add(d2, d1))
		y(2, sub(d2, d1))
		y(3, sub(d1, x(3)))
	},
	grad: func(x func(int) vector, y func(int, vector)) {
		y0, y1 := x(0), x(1)
		y(0, y0)
		y(1, add(y0, y1))
		y(2, sub(y0, y1))
		y(3, minus(y1))
	},
	output: func(x func(int) vector, y func(int, vector)) {
		m1, m2 := x(1), x(2)
		y(0, add(add(m1, m2), x(0)))
		y(1, sub(sub(m1, m2), x(3)))
	},
	filter: func(x func(int) vector, y func(int, vector)) {
		g0, g2 := x(0), x(2)
		y(0, g0)
		y(3, g2)
		sum, mid := mul(add(g0, g2), half), mul(x(1), half)
		y(1, add(sum, mid))
		y(2, sub(sum, mid))
	},
	filterGrad: func(x func(int) vector, y func(int, vector)) {
		d1, d2 := x(1), x(2)
		sum := mul(add(d1, d2), half)
		y(0, add(sum, x(0)))
		y(1, mul(sub(d1, d2), half))
		y(2, add(sum, x(3)))
	},
}
