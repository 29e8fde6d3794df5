package pictures_test

import (
	"bytes"
	"fmt"

	"github.com/ftprop/ftprop/examples/pictures"
)

func ExampleLines() {
	var png bytes.Buffer
	err := pictures.Lines(&png, "Two networks", pictures.Panel{
		X: "Epoch", Y: "Test accuracy (%)",
		Lines: []pictures.Series{{Name: "sign", Y: []float64{91, 95, 97}}, {Name: "ReLU", Y: []float64{93, 97, 98}}},
	})
	fmt.Println(err, png.Len() > 10000)
	// Output: <nil> true
}
