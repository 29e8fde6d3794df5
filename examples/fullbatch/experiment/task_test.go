package experiment

import (
	"testing"
)

// Tasks are what they say: some rows worked out by hand.
func TestTasks(t *testing.T) {
	tasks, err := Tasks([]string{"rule30", "mux6", "multiplier", "parity5", "autoencoder", "digits"})
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		if len(task.X) != task.N*task.In || len(task.Y) != task.N*task.Out {
			t.Errorf("%s: %d inputs and %d labels for %d samples", task.Name, len(task.X), len(task.Y), task.N)
		}
	}
	bits := func(task Task, row int) (y string) {
		for _, v := range task.Y[row*task.Out : (row+1)*task.Out] {
			y += map[float64]string{-1: "0", 1: "1"}[v]
		}
		return y
	}
	for _, c := range []struct {
		task Task
		row  int // bit k of the row's number is input k
		want string
	}{
		{tasks[0], 0b00100, "01110"}, // rule 30's first step from one cell
		{tasks[0], 0b00000, "00000"},
		{tasks[0], 0b11111, "00000"},
		{tasks[1], 0b10_0100, "1"},  // select 2, which is set
		{tasks[1], 0b01_1101, "0"},  // select 1, which is not
		{tasks[2], 0b11_11, "1001"}, // 3 x 3 = 9, lowest bit first
		{tasks[2], 0b10_11, "0110"}, // 3 x 2 = 6
		{tasks[3], 0b10110, "1"},
		{tasks[4], 2, "00100000"},
	} {
		if got := bits(c.task, c.row); got != c.want {
			t.Errorf("%s, row %b: %s, want %s", c.task.Name, c.row, got, c.want)
		}
	}
}
