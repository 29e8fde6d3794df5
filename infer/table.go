package infer

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/ftprop/ftprop/internal/intnet"
	"github.com/ftprop/ftprop/internal/tile"
)

// String returns a table of the layers: what they compute, of which shape their results are, by which kernels, with how many
// multiply-adds an image, and how many bytes their packed weights take. Levels between layers are bytes or bits.
func (n *Network) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, kernels %s, threads %d, images at a time %d and %d\n", n.net.Name, n.set.Name, n.threads, n.schedule.chunk, n.schedule.group)
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "layer\tkind\tshape\tlevels\tkernel\tmultiply-adds\tweight bytes\t\n")
	adds, bytes := int64(0), 0
	for i, l := range n.net.Layers {
		r := n.plan.rows[i]
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%d\t%d\t\n", intnet.LayerName(l), r.kind, r.shape, r.levels, r.kernel, r.multiplyAdds, r.bytes)
		adds, bytes = adds+r.multiplyAdds, bytes+r.bytes
	}
	fmt.Fprintf(t, "total\t\t\t\t\t%d\t%d\t\n", adds, bytes)
	t.Flush()
	return b.String()
}

// tableRow is a layer in the table.
type tableRow struct {
	kind, shape, levels, kernel string
	multiplyAdds                int64
	bytes                       int
}

// describe returns the row of layer i.
func (p *planner) describe(i int, u *units) tableRow {
	v := p.known[i+1]
	r := tableRow{kind: strings.TrimPrefix(fmt.Sprintf("%T", p.net.Layers[i]), "*intnet."), shape: fmt.Sprintf("%dx%dx%d", v.C, v.H, v.W)}
	if v.H*v.W == 1 {
		r.shape = fmt.Sprint(v.C)
	}
	var levels []string
	for e, name := range [encodings]string{plain: "bytes", int16s: "int16", bits: "bits"} {
		if p.forms[i+1][e] != nil {
			levels = append(levels, name)
		}
	}
	r.levels = strings.Join(levels, ", ")
	if u == nil {
		return r
	}
	var kernels []string
	for _, q := range u.products {
		name := [tile.Ops]string{tile.Bytes: "bytes", tile.Bits: "bits", tile.Int16: "int16"}[q.op]
		kernels = append(kernels, fmt.Sprintf("%s %dx%d", name, u.sizes[0][0], u.blocks[0].vectors*tile.Lanes))
		r.multiplyAdds += q.multiplyAdds
		r.bytes += q.packed
	}
	r.kernel = strings.Join(kernels, " + ")
	return r
}
