package winograd

import "unsafe"

// The portable kernels, in the order of operations of the assembly.

func goInput(src *float32, ld int, dst *float32, plane, groups int) {
	s := unsafe.Slice(src, 3*ld+2*lanes*groups+2)
	v := unsafe.Slice(dst, 15*plane+lanes*groups)
	for t := range lanes * groups {
		for i, r := range [4][2]int{{0, 2}, {1, 2}, {2, 1}, {1, 3}} {
			a, b := s[r[0]*ld+2*t:][:4], s[r[1]*ld+2*t:][:4]
			var x [4]float32
			for j := range x {
				if x[j] = a[j] - b[j]; i == 1 {
					x[j] = a[j] + b[j]
				}
			}
			v[(4*i+0)*plane+t] = x[0] - x[2]
			v[(4*i+1)*plane+t] = x[2] + x[1]
			v[(4*i+2)*plane+t] = x[2] - x[1]
			v[(4*i+3)*plane+t] = x[1] - x[3]
		}
	}
}

func goGrad(src *float32, ld int, dst *float32, plane, groups int) {
	s := unsafe.Slice(src, ld+2*lanes*groups)
	v := unsafe.Slice(dst, 15*plane+lanes*groups)
	for t := range lanes * groups {
		y0, y1 := s[2*t:][:2], s[ld+2*t:][:2]
		for i := range 4 {
			var x [2]float32
			for j := range x {
				switch i {
				case 0:
					x[j] = y0[j]
				case 1:
					x[j] = y0[j] + y1[j]
				case 2:
					x[j] = y0[j] - y1[j]
				default:
					x[j] = 0 - y1[j]
				}
			}
			v[(4*i+0)*plane+t] = x[0]
			v[(4*i+1)*plane+t] = x[0] + x[1]
			v[(4*i+2)*plane+t] = x[0] - x[1]
			v[(4*i+3)*plane+t] = 0 - x[1]
		}
	}
}

func goOutput(src *float32, plane int, dst *float32, ld, groups int, bias float32) {
	m := unsafe.Slice(src, 15*plane+lanes*groups)
	y := unsafe.Slice(dst, ld+2*lanes*groups)
	for t := range lanes * groups {
		var s [2][4]float32
		for j := range 4 {
			m0, m1, m2, m3 := m[j*plane+t], m[(4+j)*plane+t], m[(8+j)*plane+t], m[(12+j)*plane+t]
			s[0][j], s[1][j] = m1+m2+m0, m1-m2-m3
		}
		for i, r := range s {
			y[i*ld+2*t] = r[0] + r[1] + r[2] + bias
			y[i*ld+2*t+1] = r[1] - r[2] - r[3] + bias
		}
	}
}

func goFilter(src, dst *float32, plane, groups int) {
	g := unsafe.Slice(src, 9*lanes*groups)
	u := unsafe.Slice(dst, 15*plane+lanes*groups)
	for t := range lanes * groups {
		var w [4][3]float32
		for j := range 3 {
			g0, g1, g2 := g[9*t+j], g[9*t+3+j], g[9*t+6+j]
			sum, mid := (g0+g2)*0.5, g1*0.5
			w[0][j], w[1][j], w[2][j], w[3][j] = g0, sum+mid, sum-mid, g2
		}
		for i, r := range w {
			sum, mid := (r[0]+r[2])*0.5, r[1]*0.5
			u[(4*i+0)*plane+t] = r[0]
			u[(4*i+1)*plane+t] = sum + mid
			u[(4*i+2)*plane+t] = sum - mid
			u[(4*i+3)*plane+t] = r[2]
		}
	}
}

func goFilterGrad(src *float32, plane int, dst *float32, groups int) {
	d := unsafe.Slice(src, 15*plane+lanes*groups)
	g := unsafe.Slice(dst, 9*lanes*groups)
	for t := range lanes * groups {
		var w [3][4]float32
		for j := range 4 {
			d0, d1, d2, d3 := d[j*plane+t], d[(4+j)*plane+t], d[(8+j)*plane+t], d[(12+j)*plane+t]
			sum := (d1 + d2) * 0.5
			w[0][j], w[1][j], w[2][j] = sum+d0, (d1-d2)*0.5, sum+d3
		}
		for i, r := range w {
			sum := (r[1] + r[2]) * 0.5
			g[9*t+3*i+0] = r[0] + sum
			g[9*t+3*i+1] = (r[1] - r[2]) * 0.5
			g[9*t+3*i+2] = r[3] + sum
		}
	}
}
