package data_test

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/ftprop/ftprop/examples/data"
)

func ExampleDigits() {
	s, err := data.Digits()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%d images of %dx%d pixels, %d classes; the first is a %d\n", s.N(), s.Height, s.Width, s.Classes, s.Y[0])
	// Output: 1797 images of 8x8 pixels, 10 classes; the first is a 0
}

// One epoch over shuffled batches, in buffers that are reused.
func ExampleSet_Batch() {
	set, err := data.Digits()
	if err != nil {
		fmt.Println(err)
		return
	}
	const batch = 500
	x, y := make([]float32, batch*set.Features()), make([]int, batch)
	for idx := range slices.Chunk(data.Permutation(set.N(), 1), batch) {
		n := len(idx)
		if err := set.Batch(x[:n*set.Features()], y[:n], idx); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(n, "images")
	}
	// Output:
	// 500 images
	// 500 images
	// 500 images
	// 297 images
}

// A fifth of the digits set apart for the test.
func ExampleSet_Split() {
	set, err := data.Digits()
	if err != nil {
		fmt.Println(err)
		return
	}
	train, test, err := set.Split(0.2, 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(train.N(), test.N())
	// Output: 1438 359
}

func ExampleReadIDXLabels() {
	file := []byte{0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1}
	fmt.Println(data.ReadIDXLabels(bytes.NewReader(file)))
	_, err := data.ReadIDXLabels(bytes.NewReader(file[:10]))
	fmt.Println(err)
	// Output:
	// [7 2 1] <nil>
	// data: idx labels: truncated: got 2 bytes after the header, which announces 3 (dimensions [3]): unexpected EOF
}

// Fashion-MNIST from Debian's package, with the usual normalisation.
func ExampleMNIST() {
	train, test, err := data.MNIST("/usr/share/datasets/fashion-mnist")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, set := range []*data.Set{train, test} {
		if err := set.Normalize([]float32{0.2860}, []float32{0.3530}); err != nil {
			fmt.Println(err)
			return
		}
	}
}
