package train

import (
	"bytes"
	"context"
	"path/filepath"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/models"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"github.com/ftprop/ftprop/solvers"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// annealing is a training of 3 steps an epoch with annealed rules of activations and weights.
func annealing(t testing.TB, rule ops.Rule, epochs int) Config {
	t.Helper()
	c := small(t)
	in := gorgonia.NewTensor(gorgonia.NewGraph(), tensor.Float32, 4, gorgonia.WithName("x"), gorgonia.WithShape(4, 1, 2, 2))
	net, err := models.MLP(in, models.Config{Widths: []int{6, 5}, Classes: 2, Act: nodes.Act(ops.Sign{Rule: rule}), Weights: ops.SignWeights{Rule: rule}, Seed: 1, BatchNorm: true})
	if err != nil {
		t.Fatal(err)
	}
	c.Net, c.Epochs, c.Solver = net, epochs, &solvers.Adam{LearnRate: 0.05}
	return c
}

func progressNow(t testing.TB, net *models.Net) float64 {
	t.Helper()
	n, err := ops.Progress(net.Input.Graph())
	if err != nil {
		t.Fatal(err)
	}
	return gtest.Floats(t, n.Value())[0]
}

func saved(t testing.TB, net *models.Net) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := net.Save(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Before step k of n the progress is k/n, whatever is beside training has its own, and the annealed rule trains other weights than where it begins.
func TestTrainerAnneals(t *testing.T) {
	c := annealing(t, ops.EDE{}, 4)
	beside := annealing(t, ops.EDE{}, 4)
	var got []float64
	c.OnStep = func(Step) { got = append(got, progressNow(t, c.Net)) }
	if err := trained(t, c).Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	if len(got) != 12 {
		t.Fatalf("%d steps", len(got))
	}
	for k, p := range got {
		if p != float64(k)/12 {
			t.Errorf("step %d: progress %v, want %v", k, p, float64(k)/12)
		}
	}
	if p := progressNow(t, beside.Net); p != 0 {
		t.Errorf("another network stands at %v", p)
	}
	still := annealing(t, ops.EDE{From: 0.1, To: 0.1}, 4)
	if err := trained(t, still).Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	if same, other := paramsOf(t, c.Net), paramsOf(t, still.Net); bytes.Equal(same, other) {
		t.Error("an annealed rule has trained what one that stays as it begins has")
	}
}

func paramsOf(t testing.TB, net *models.Net) []byte {
	t.Helper()
	var out bytes.Buffer
	for _, p := range net.Params() {
		if err := writeNumbers(&out, gtest.Floats(t, p.Value())); err != nil {
			t.Fatal(err)
		}
	}
	return out.Bytes()
}

// Training that goes on from a checkpoint, of whatever step, ends with the same weights bit for bit; with other epochs or other rules it is refused.
func TestAnnealedResume(t *testing.T) {
	for _, rule := range []ops.Rule{ops.EDE{}, ops.AnnealedReSTE{}, ops.AnnealedSoftHinge{}} {
		whole := annealing(t, rule, 3)
		if err := trained(t, whole).Run(context.Background()); err != nil {
			t.Fatal(err)
		}
		want := saved(t, whole.Net)
		for _, stop := range []int{1, 3, 5, 8} {
			c := annealing(t, rule, 3)
			c.Dir = t.TempDir()
			ctx, cancel := context.WithCancel(context.Background())
			steps := 0
			c.OnStep = func(Step) {
				if steps++; steps == stop {
					cancel()
				}
			}
			err := trained(t, c).Run(ctx)
			cancel()
			if !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			file := filepath.Join(c.Dir, CheckpointFile)
			rest := annealing(t, rule, 3)
			tr := trained(t, rest)
			if err := tr.Resume(file); err != nil {
				t.Fatal(err)
			}
			if err := tr.Run(context.Background()); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(saved(t, rest.Net), want) {
				t.Errorf("%v: stopped after step %d the weights differ", rule, stop)
			}
			if stop > 1 {
				continue
			}
			gtest.WantError(t, "other epochs", trained(t, annealing(t, rule, 4)).Resume(file), "annealed rules", "3 epochs", "of 4")
			gtest.WantError(t, "a plain rule", trained(t, annealing(t, ops.SSTE{}, 3)).Resume(file), "annealed rules", "3 epochs", "of 0")
		}
	}
}
