// Command asm writes the micro-kernels of package gemm: run it with go generate in that package.
//
// It is a module of its own, so that who uses the library does not depend on the assembler.
package main

import (
	"fmt"
	"math/bits"
	"os"
	"strings"

	"github.com/ftprop/ftprop/internal/asm"
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// isa describes a vector instruction set as the kernels use it.
type isa struct {
	name  string
	bytes int // in a vector
	rows  int // of the largest tile
	cols  int // vectors in the largest tile
	reg   func() reg.VecVirtual
	mask  bool // the last vector of a row is masked
}

var (
	avx512 = isa{"AVX512", 64, 8, 3, ZMM, true}
	avx2   = isa{"AVX2", 32, 4, 3, YMM, false}
)

// element is float32 or float64.
type element struct {
	letter    string
	size      int
	goType    string
	broadcast func(...Op)
	load      func(...Op)
	zero      func(...Op)
	fma       func(...Op)
	add       func(...Op)
}

var elements = []element{
	{"s", 4, "float32", VBROADCASTSS, VMOVUPS, VXORPS, VFMADD231PS, VADDPS},
	{"d", 8, "float64", VBROADCASTSD, VMOVUPD, VXORPD, VFMADD231PD, VADDPD},
}

func main() {
	ConstraintExpr("amd64")
	for _, e := range elements {
		for _, set := range []isa{avx512, avx2} {
			for rows := 1; rows <= set.rows; rows++ {
				for cols := 1; cols <= set.cols; cols++ {
					kernel(e, set, rows, cols)
				}
			}
		}
	}
	for _, set := range []isa{avx512, avx2} {
		dot(set)
	}
	if err := table("../kernels_table_amd64.go"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	Generate()
}

// kernel writes a function for tiles of C of the given rows and vectors of columns, one below the other:
// C = A*B or, unless first, C += A*B, over k. In float32 subnormal numbers count as 0; many tiles share the time that it takes to set the processor so.
func kernel(e element, set isa, rows, cols int) {
	args := fmt.Sprintf("tiles int, k int, a *%[1]s, next, rsa, csa int, b *%[1]s, ldb int, c *%[1]s, ldc int, mask uint64, first bool", e.goType)
	TEXT(fmt.Sprintf("%sgemm%s_%dx%d", e.letter, set.name, rows, cols), NOSPLIT, "func("+args+")")
	Pragma("noescape")
	lanes := set.bytes / e.size
	Doc(fmt.Sprintf("%sgemm%s_%dx%d is the micro-kernel for tiles of %d rows and %d columns.", e.letter, set.name, rows, cols, rows, cols*lanes))

	// param is the value of a parameter; distance that of one in elements, in bytes.
	param := func(name string) reg.Register { return Load(Param(name), GP64()) }
	distance := func(name string) reg.Register {
		r := param(name)
		SHLQ(U8(bits.TrailingZeros(uint(e.size))), r)
		return r
	}
	// What changes from tile to tile is in memory, which leaves the registers to the tile.
	from, to, left := AllocLocal(8), AllocLocal(8), AllocLocal(8)
	MOVQ(param("a"), from)
	MOVQ(param("c"), to)
	MOVQ(param("tiles"), left)
	restore := func() {}
	if e.size == 4 {
		restore = asm.NoSubnormals()
	}
	var m reg.OpmaskVirtual
	if set.mask {
		m = K()
		KMOVW(param("mask").(reg.GP).As32(), m)
	}

	Label("tile")
	a, b, k := GP64(), param("b"), param("k")
	MOVQ(from, a)
	rsa, csa, ldb := distance("rsa"), distance("csa"), distance("ldb")
	aRow := strided(a, rsa, rows)
	acc := make([][]reg.VecVirtual, rows)
	for i := range acc {
		acc[i] = make([]reg.VecVirtual, cols)
		for j := range acc[i] {
			acc[i][j] = set.reg()
			if set.mask {
				VPXORD(acc[i][j], acc[i][j], acc[i][j])
			} else {
				e.zero(acc[i][j], acc[i][j], acc[i][j])
			}
		}
	}
	bs := make([]reg.VecVirtual, cols)
	for j := range bs {
		bs[j] = set.reg()
	}
	TESTQ(k, k)
	JZ(LabelRef("end"))
	Label("loop")
	for j := range bs {
		mem := Mem{Base: b, Disp: j * set.bytes}
		if set.mask && j == cols-1 {
			maskedLoad(e, mem, m, bs[j])
		} else {
			e.load(mem, bs[j])
		}
	}
	for i := range acc {
		x := set.reg()
		e.broadcast(aRow(i), x)
		for j := range bs {
			e.fma(bs[j], x, acc[i][j])
		}
	}
	ADDQ(csa, a)
	ADDQ(ldb, b)
	DECQ(k)
	JNZ(LabelRef("loop"))
	Label("end")

	c := GP64()
	MOVQ(to, c)
	ldc := distance("ldc")
	cRow := strided(c, ldc, rows)
	first := Load(Param("first"), GP8())
	TESTB(first, first)
	JNZ(LabelRef("store"))
	for i := range acc {
		for j := range bs {
			mem := cRow(i)
			mem.Disp += j * set.bytes
			if set.mask && j == cols-1 {
				maskedLoad(e, mem, m, bs[j])
				e.add(bs[j], acc[i][j], acc[i][j])
			} else {
				e.add(mem, acc[i][j], acc[i][j])
			}
		}
	}
	Label("store")
	for i := range acc {
		for j := range bs {
			mem := cRow(i)
			mem.Disp += j * set.bytes
			if set.mask && j == cols-1 {
				maskedStore(e, acc[i][j], m, mem)
			} else {
				e.load(acc[i][j], mem)
			}
		}
	}
	IMUL3Q(U8(rows), ldc, ldc)
	ADDQ(ldc, to)
	ADDQ(distance("next"), from)
	DECQ(left)
	JNZ(LabelRef("tile"))
	restore()
	VZEROUPPER()
	RET()
}

// dot writes the kernel for products of rows with a vector. All sets add up the same sixteen strands, and these in the same order.
func dot(set isa) {
	const rows, strands = 4, 16
	TEXT("sdot"+set.name, NOSPLIT, "func(k int, a *float32, lda int, x *float32, sums *float32)")
	Pragma("noescape")
	Doc("sdot" + set.name + " sets sums to the products of 4 rows with x, of k elements, a positive multiple of 16.")
	k := Load(Param("k"), GP64())
	a := Load(Param("a"), GP64())
	lda := Load(Param("lda"), GP64())
	x := Load(Param("x"), GP64())
	sums := Load(Param("sums"), GP64())
	restore := asm.NoSubnormals()
	SHLQ(U8(2), lda)
	aRow := strided(a, lda, rows)
	parts := 4 * strands / set.bytes
	var acc [rows][]reg.VecVirtual
	for i := range acc {
		for range parts {
			r := set.reg()
			if set.mask {
				VPXORD(r, r, r)
			} else {
				VXORPS(r, r, r)
			}
			acc[i] = append(acc[i], r)
		}
	}
	Label("loop")
	for p := range parts {
		v := set.reg()
		VMOVUPS(Mem{Base: x, Disp: p * set.bytes}, v)
		for i := range acc {
			row := aRow(i)
			row.Disp += p * set.bytes
			VFMADD231PS(row, v, acc[i][p])
		}
	}
	ADDQ(U8(4*strands), x)
	ADDQ(U8(4*strands), a)
	SUBQ(U8(strands), k)
	JNZ(LabelRef("loop"))
	var sum [rows]reg.VecVirtual // of four strands
	for i := range sum {
		low, high := acc[i][0], YMM()
		if set.mask {
			VEXTRACTF64X4(U8(1), low, high)
		} else {
			high = acc[i][1].(reg.VecVirtual)
		}
		half, upper := YMM(), XMM()
		VADDPS(high.AsY(), low.AsY(), half)
		VEXTRACTF128(U8(1), half, upper)
		sum[i] = XMM()
		VADDPS(upper, half.AsX(), sum[i])
	}
	for i := 0; i < rows; i += 2 {
		VHADDPS(sum[i+1], sum[i], sum[i])
	}
	VHADDPS(sum[2], sum[0], sum[0])
	VMOVUPS(sum[0], Mem{Base: sums})
	restore()
	VZEROUPPER()
	RET()
}

func maskedLoad(e element, mem Mem, m, v Op) {
	if e.size == 4 {
		VMOVUPS_Z(mem, m, v)
	} else {
		VMOVUPD_Z(mem, m, v)
	}
}

func maskedStore(e element, v, m Op, mem Mem) {
	if e.size == 4 {
		VMOVUPS(v, m, mem)
	} else {
		VMOVUPD(v, m, mem)
	}
}

// strided returns the addresses of the elements of a column: base + i*stride, with 3, 5 and 7 times the stride in
// registers as far as rows need them.
func strided(base, stride reg.Register, rows int) func(i int) Mem {
	times := map[int]reg.Register{1: stride}
	for _, n := range []int{3, 5, 7} {
		if rows > n || n == 3 && rows > 6 {
			r := GP64()
			// n*stride = stride*(1+2), (1+4); 7 = 8-1
			switch n {
			case 3:
				LEAQ(Mem{Base: stride, Index: stride, Scale: 2}, r)
			case 5:
				LEAQ(Mem{Base: stride, Index: stride, Scale: 4}, r)
			case 7:
				LEAQ(Mem{Base: times[3], Index: stride, Scale: 4}, r)
			}
			times[n] = r
		}
	}
	return func(i int) Mem {
		switch i {
		case 0:
			return Mem{Base: base}
		case 1, 3, 5, 7:
			return Mem{Base: base, Index: times[i], Scale: 1}
		case 2, 4:
			return Mem{Base: base, Index: stride, Scale: uint8(i)}
		case 6:
			return Mem{Base: base, Index: times[3], Scale: 2}
		}
		panic("more than 8 rows")
	}
}

// table writes the Go file that lists the kernels by tile.
func table(path string) error {
	var s strings.Builder
	s.WriteString("// Code generated by asm. DO NOT EDIT.\n\n//go:build amd64\n\npackage gemm\n\n")
	for _, e := range elements {
		for _, set := range []isa{avx512, avx2} {
			fmt.Fprintf(&s, "var %sKernels%s = [][]kernel[%s]{\n", e.letter, set.name, e.goType)
			for rows := 1; rows <= set.rows; rows++ {
				s.WriteString("\t{")
				for cols := 1; cols <= set.cols; cols++ {
					if cols > 1 {
						s.WriteString(", ")
					}
					fmt.Fprintf(&s, "%sgemm%s_%dx%d", e.letter, set.name, rows, cols)
				}
				s.WriteString("},\n")
			}
			s.WriteString("}\n\n")
		}
	}
	return os.WriteFile(path, []byte(strings.TrimRight(s.String(), "\n")+"\n"), 0o644)
}
