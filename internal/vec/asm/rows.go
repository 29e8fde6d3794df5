package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Rows of a convolution's maps are a few vectors long: the kernels keep a whole row, of shortestRow elements to mostVectors vectors, in
// registers. The last vector either ends where the row ends, and overlaps the one before, or is stored under a mask. All of a row
// is loaded before any of it is stored.
//
//   - AVX-512's copies have masks: short stores cross fewer cache lines than overlapping ones.
//   - Sums have none: the next row may begin within a masked vector, outside of the mask, and its load would wait for that store.
//   - AVX2's masked stores are slow.
const (
	mostVectors = 4
	shortestRow = 4
)

// rowShape is how a row is cut into vectors.
type rowShape struct {
	label    string
	shortest int // the least elements of a row of this shape
	lanes    int
	vectors  int
	view     func(v reg.VecVirtual) reg.Register
	masked   bool // the last vector is stored under a mask
}

// rowShapes returns the shapes of rows, the longest first.
func (s isa) rowShapes(masked bool) (shapes []rowShape) {
	whole := func(v reg.VecVirtual) reg.Register { return v }
	for v := mostVectors; v > 0; v-- {
		r := rowShape{fmt.Sprintf("rows%d", v), s.lanes*(v-1) + 1, s.lanes, v, whole, masked}
		if v == 1 {
			r.shortest = s.lanes
			if masked {
				r.shortest = shortestRow
			}
		}
		shapes = append(shapes, r)
	}
	if masked {
		return shapes
	}
	if s.wide {
		shapes = append(shapes, rowShape{"rowsY", 8, 8, 2, func(v reg.VecVirtual) reg.Register { return v.AsY() }, false})
	}
	return append(shapes, rowShape{"rowsX", shortestRow, 4, 2, func(v reg.VecVirtual) reg.Register { return v.AsX() }, false})
}

// overlaps reports whether vector i is the one that ends where the row ends.
func (r rowShape) overlaps(i int) bool { return i == r.vectors-1 && !r.masked }

// at is the operand of vector i of a row at base, whose last vector starts at element last.
func (r rowShape) at(base, last reg.Register, i int) Mem {
	if r.overlaps(i) {
		return Mem{Base: base, Index: last, Scale: 4}
	}
	return Mem{Base: base, Disp: 4 * r.lanes * i}
}

// byShape emits the choice among shapes for rows of n elements, and for each what body emits.
func byShape(shapes []rowShape, n reg.Register, body func(r rowShape, last reg.Register)) {
	shortest := len(shapes) - 1
	for _, r := range shapes[:shortest] {
		CMPQ(n, U32(r.shortest))
		JGE(LabelRef(r.label))
	}
	for i := range shapes {
		r := shapes[shortest-i]
		if i > 0 { // no jump leads to the first
			Label(r.label)
		}
		last := GP64()
		if !r.masked {
			LEAQ(Mem{Base: n, Disp: -r.lanes}, last)
		}
		body(r, last)
		VZEROUPPER()
		RET()
	}
}

// eachRow emits a loop over rows, of bases and strides in elements.
func (r rowShape) eachRow(rows reg.Register, bases, strides []reg.Register, body func()) {
	loop := "each" + r.label
	Label(loop)
	body()
	for i := range bases {
		LEAQ(Mem{Base: bases[i], Index: strides[i], Scale: 4}, bases[i])
	}
	DECQ(rows)
	JNZ(LabelRef(loop))
}

// maskOf returns a mask of the elements from <= i < to of a row, of the lanes of its vector i. Under AVX-512, where no vectors
// overlap, from may be nil, for 0.
func (r rowShape) maskOf(g *gen, from, to, last reg.Register, i int) Op {
	if g.wide {
		ones, m, k := GP64(), GP64(), K()
		MOVQ(I32(-1), ones)
		BZHIQ(to, ones, m)
		if from != nil {
			BZHIQ(from, ones, ones)
			XORQ(ones, m)
		}
		if i > 0 {
			SHRQ(U8(i*r.lanes), m)
		}
		KMOVW(m.As32(), k)
		return k
	}
	iota := words(0, 1, 2, 3, 4, 5, 6, 7)
	below := func(end reg.Register) reg.Register {
		n, x, m := GP64(), XMM(), r.view(YMM())
		MOVQ(end, n)
		if r.overlaps(i) {
			SUBQ(last, n)
		} else if i > 0 {
			SUBQ(U8(i*r.lanes), n)
		}
		VMOVQ(n, x)
		VPBROADCASTD(x, m)
		VPCMPGTD(iota, m, m)
		return m
	}
	m := below(to)
	VPANDN(m, below(from), m)
	return m
}

// copyRows writes the kernel of CopyRows.
func copyRows(s isa) {
	TEXT("copyRows"+s.name, NOSPLIT, "func(dst *float32, dstStride int, src *float32, srcStride, rows, left, width, total, ahead int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("copyRows%s sets rows of total elements to left zeros, width elements of src and zeros, %d <= total <= %d. It fetches into the cache what lies ahead elements further in src.", s.name, shortestRow, mostVectors*s.lanes))
	g := &gen{isa: s}
	dst, dstStride := Load(Param("dst"), GP64()), Load(Param("dstStride"), GP64())
	src, srcStride := Load(Param("src"), GP64()), Load(Param("srcStride"), GP64())
	rows, total, ahead := Load(Param("rows"), GP64()), Load(Param("total"), GP64()), Load(Param("ahead"), GP64())
	left, right := Load(Param("left"), GP64()), Load(Param("width"), GP64())
	ADDQ(left, right) // where the zeros on the right begin
	back := GP64()
	MOVQ(left, back)
	SHLQ(U8(2), back)
	LEAQ(Mem{Base: src, Index: ahead, Scale: 4}, ahead)
	SUBQ(back, src) // as if src's rows had the zeros, which the masks do not read
	byShape(s.rowShapes(s.wide), total, func(r rowShape, last reg.Register) {
		masks, v := make([]Op, r.vectors), make([]reg.VecVirtual, r.vectors)
		for i := range masks {
			masks[i], v[i] = r.maskOf(g, left, right, last, i), s.reg()
		}
		var stored Op
		if r.masked {
			stored = r.maskOf(g, nil, total, last, r.vectors-1)
		}
		r.eachRow(rows, []reg.Register{dst, src, ahead}, []reg.Register{dstStride, srcStride, srcStride}, func() {
			for i := 0; i < r.vectors; i += 16 / r.lanes {
				PREFETCHT0(Mem{Base: ahead, Disp: 4 * r.lanes * i})
			}
			for i := range v {
				g.maskedLoad(r.at(src, last, i), masks[i], r.view(v[i]))
			}
			for i := range v {
				if to := r.at(dst, last, i); r.masked && i == r.vectors-1 {
					g.maskedStore(v[i], stored, to)
				} else {
					VMOVUPS(r.view(v[i]), to)
				}
			}
		})
	})
}

// addRows writes the kernel of AddRows.
func addRows(s isa) {
	TEXT("addRows"+s.name, NOSPLIT, "func(dst *float32, dstStride int, src *float32, srcStride, rows, width int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("addRows%s adds to rows of width elements those of src, %d <= width <= %d.", s.name, shortestRow, mostVectors*s.lanes))
	dst, dstStride := Load(Param("dst"), GP64()), Load(Param("dstStride"), GP64())
	src, srcStride := Load(Param("src"), GP64()), Load(Param("srcStride"), GP64())
	rows, width := Load(Param("rows"), GP64()), Load(Param("width"), GP64())
	byShape(s.rowShapes(false), width, func(r rowShape, last reg.Register) {
		v := make([]reg.Register, r.vectors)
		for i := range v {
			v[i] = r.view(s.reg())
		}
		r.eachRow(rows, []reg.Register{dst, src}, []reg.Register{dstStride, srcStride}, func() {
			for i := range v {
				VMOVUPS(r.at(dst, last, i), v[i])
				VADDPS(r.at(src, last, i), v[i], v[i])
			}
			for i := range v {
				VMOVUPS(v[i], r.at(dst, last, i))
			}
		})
	})
}
