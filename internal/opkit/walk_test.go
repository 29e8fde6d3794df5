package opkit_test

import (
	"slices"
	"testing"

	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
)

func TestWalk(t *testing.T) {
	g := gorgonia.NewGraph()
	a, b := gorgonia.NewScalar(g, gorgonia.Float64, gorgonia.WithName("a")), gorgonia.NewScalar(g, gorgonia.Float64, gorgonia.WithName("b"))
	sum := gorgonia.Must(gorgonia.Add(a, b))
	out := gorgonia.Must(gorgonia.Mul(sum, gorgonia.Must(gorgonia.Tanh(sum))))
	var left gorgonia.Nodes
	readers := map[*gorgonia.Node]*gorgonia.Node{}
	enter := func(n, reader *gorgonia.Node) (bool, error) {
		readers[n] = reader
		return n.Op() != nil, nil
	}
	leave := func(n *gorgonia.Node, in gorgonia.Nodes) {
		for _, c := range in {
			if c.Op() != nil && !slices.Contains(left, c) {
				t.Errorf("%v before its input %v", n, c)
			}
		}
		left = append(left, n)
	}
	if err := opkit.Walk(out, enter, leave); err != nil {
		t.Fatal(err)
	}
	if len(left) != 3 || left[2] != out || len(readers) != 5 || readers[out] != nil || readers[a] != sum || readers[b] != sum {
		t.Errorf("operations %v, readers %v", left, readers)
	}
	stop := errors.New("stop")
	if err := opkit.Walk(out, func(n, _ *gorgonia.Node) (bool, error) {
		if n == b {
			return false, stop
		}
		return true, nil
	}, func(*gorgonia.Node, gorgonia.Nodes) {}); err != stop {
		t.Errorf("error %v", err)
	}
	if in, err := opkit.InputsOf(sum); err != nil || !slices.Equal(in, gorgonia.Nodes{a, b}) {
		t.Errorf("inputs %v, %v", in, err)
	}
}
