//go:build !race

package notebooks_test

import (
	"context"
	"fmt"
	"io"

	"github.com/ftprop/ftprop/examples/compare/experiment"
	"github.com/ftprop/ftprop/examples/notebooks"
)

/*
# 2. Straight-through estimator against feasible target propagation

Which of the two trains sign units better? One training each tells little: on 359 test images a difference of one point is 3 or 4
images. So every method runs with several seeds, which set the first weights and the order of the images, and all numbers come
with a 95 % interval by Student's t.

The package behind `go run ./examples/compare` does the work. SSTE is the saturating straight-through estimator, FTP-SH feasible
target propagation with the SoftHinge layer loss.
*/

// comparison is sign units with both rules, and ReLU.
func comparison(epochs int) *experiment.Config {
	train, test, err := notebooks.Digits()
	notebooks.Check(err)
	return &experiment.Config{
		Methods: notebooks.Must(experiment.Choices{Acts: []string{"sign", "relu"}, Rules: []string{"SSTE", "SoftHinge"}}.Methods()),
		Seeds:   5, Workers: 2,
		Training: experiment.MLP{Train: train, Test: test, Hidden: []int{128, 128}, Epochs: epochs, Batch: 64, LearnRate: 1e-3, WeightDecay: 5e-4},
	}
}

/*
The bands of the picture run from the lowest seed to the highest. The last line is what answers the question: seeds are pairs, as
both methods begin with the same weights, so it is their differences that are averaged.
*/

func Example_compareSeeds() {
	c := comparison(20)
	runs := notebooks.Must(experiment.Compare(context.Background(), c, notebooks.Quiet{}))
	report(func(w io.Writer) error { return experiment.Table(w, c, runs) })
	show(func(w io.Writer) error {
		return experiment.Plot(w, c, runs, "Sign units on digits: mean and range of 5 seeds")
	})
	mean, half := experiment.Difference(runs, c.Methods[1], c.Methods[0])
	say("\nFTP-SH minus SSTE: %+.2f ± %.2f points", mean, half)
	if mean-half <= 0 && mean+half >= 0 {
		say("The interval contains 0: five seeds on these digits do not tell which is better.")
	}
	fmt.Println("within 3 points of each other:", mean > -3 && mean < 3)
	// Output: within 3 points of each other: true
}

/*
Where the methods do differ is inside. A unit agrees with its target when its pre-activation is already on the side of zero that
the layer above asks for.
*/

func Example_compareAgreement() {
	c := comparison(10)
	c.Methods, c.Seeds = c.Methods[:2], 3
	runs := notebooks.Must(experiment.Compare(context.Background(), c, notebooks.Quiet{}))
	report(func(w io.Writer) error { return experiment.AgreementTable(w, c, runs) })
	more := 0
	for _, r := range runs {
		if r.Agreement[1] > r.Agreement[0] {
			more++
		}
	}
	fmt.Printf("the upper layer agrees more often in %d of %d runs\n", more, len(runs))
	// Output: the upper layer agrees more often in 6 of 6 runs
}
