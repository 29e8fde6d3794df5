package comm_test

import (
	"fmt"

	"github.com/ftprop/ftprop/comm"
)

// Four ranks add up what they have.
func ExampleLocal() {
	err := comm.Local(4, func(c comm.Comm) error {
		x := []float64{1, float64(c.Rank())}
		if err := c.SumFloat64(x); err != nil {
			return err
		}
		if c.Rank() == 0 {
			fmt.Println(x)
		}
		return nil
	})
	fmt.Println(err)
	// Output:
	// [4 6]
	// <nil>
}
