package infer_test

import (
	"fmt"
	"os"
	"slices"

	"github.com/ftprop/ftprop/infer"
)

// A network of sign units that was trained on 8x8 digits, whose pixels are 0 to 16. The logits are these on every processor.
func ExampleLoad() {
	file, err := os.Open("testdata/digits.onnx")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer file.Close()
	net, err := infer.Load(file)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("images of", net.Shape(), "in", net.Classes(), "classes") // fmt.Print(net) prints the layers

	images := []uint8{
		0, 0, 5, 13, 9, 1, 0, 0,
		0, 0, 13, 15, 10, 15, 5, 0,
		0, 3, 15, 2, 0, 11, 8, 0,
		0, 4, 12, 0, 0, 8, 8, 0,
		0, 5, 8, 0, 0, 9, 8, 0,
		0, 4, 11, 0, 1, 12, 7, 0,
		0, 2, 14, 5, 10, 12, 0, 0,
		0, 0, 6, 13, 10, 0, 0, 0,

		0, 0, 0, 12, 13, 5, 0, 0,
		0, 0, 0, 11, 16, 9, 0, 0,
		0, 0, 3, 15, 16, 6, 0, 0,
		0, 7, 15, 16, 16, 2, 0, 0,
		0, 0, 1, 16, 16, 3, 0, 0,
		0, 0, 1, 16, 16, 6, 0, 0,
		0, 0, 1, 16, 16, 6, 0, 0,
		0, 0, 0, 11, 16, 10, 0, 0,
	}
	logits := make([]float32, len(images)/64*net.Classes())
	if err := net.Run(logits, images); err != nil {
		fmt.Println(err)
		return
	}
	for image := range slices.Chunk(logits, net.Classes()) {
		best := slices.Max(image)
		fmt.Println("a", slices.Index(image, best), "with a logit of", best)
	}
	// Output:
	// images of [1 8 8] in 10 classes
	// a 0 with a logit of 15.901072
	// a 1 with a logit of 13.168576
}
