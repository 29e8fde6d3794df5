package tensorboard_test

import (
	"fmt"
	"os"

	"github.com/ftprop/ftprop/tensorboard"
)

func Example() {
	dir, err := os.MkdirTemp("", "runs")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	w, err := tensorboard.Create(dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	for step, loss := range []float64{2.3, 0.9, 0.4} {
		if err := w.Scalar("loss/training", step+1, loss); err != nil {
			fmt.Println(err)
			return
		}
	}
	if err := w.Histogram("z/layer1", 3, tensorboard.HistogramOf([]float64{-1.5, -0.2, 0.1, 0.4})); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(w.Close())
	// Output: <nil>
}
