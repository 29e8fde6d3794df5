package infer

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/ftprop/ftprop/internal/intnet"
	"github.com/ftprop/ftprop/internal/intnet/intnettest"
)

// Files that were written on another day, by another machine maybe, give the logits that they gave then, to the bit: by every set of kernels, on
// every processor. testdata/README.md says where they are from.
func TestGoldenBits(t *testing.T) {
	for _, name := range []string{"digits", "mlp", "convnet8"} {
		file, err := os.ReadFile(filepath.Join("testdata", name+".onnx"))
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join("testdata", name+".logits"))
		if err != nil {
			t.Fatal(err)
		}
		var want []float32
		for _, s := range strings.Fields(string(text)) {
			v, err := strconv.ParseFloat(s, 32)
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, float32(v))
		}
		definition, err := intnet.ReadONNX(bytes.NewReader(file))
		if err != nil {
			t.Fatal(err)
		}
		const images = 4
		pixels, _ := intnettest.Images(definition, images, 1)
		for _, kernels := range Kernels() {
			for threads := 1; threads <= 2; threads++ {
				n, err := Options{Threads: threads, Kernels: kernels}.Load(bytes.NewReader(file))
				if err != nil {
					t.Fatal(err)
				}
				if len(want) != images*n.Classes() {
					t.Fatalf("%s: %d logits, want %d", name, len(want), images*n.Classes())
				}
				for _, batch := range []int{images, 1} {
					size, got := len(pixels)/images, make([]float32, len(want))
					for i := 0; i < images; i += batch {
						if err := n.Run(got[i*n.Classes():(i+batch)*n.Classes()], pixels[i*size:(i+batch)*size]); err != nil {
							t.Fatal(err)
						}
					}
					for i := range want {
						if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
							t.Errorf("%s, %s, %d threads, %d at a time: logit %d is %x, want %x", name, kernels, threads, batch, i, got[i], want[i])
							break
						}
					}
				}
			}
		}
	}
}
