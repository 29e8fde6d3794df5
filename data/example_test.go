package data_test

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"

	"github.com/ftprop/ftprop/data"
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

// Two epochs of augmented digits. A checkpoint after a batch goes on at its Epoch
// and its Step+1.
func ExampleLoader() {
	set, err := data.Digits()
	if err != nil {
		fmt.Println(err)
		return
	}
	train, held, err := data.Split(set, 0.2, 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	augmented, err := data.Transform{Augment: data.Augment{Pad: 1}}.Apply(train)
	if err != nil {
		fmt.Println(err)
		return
	}
	loader, err := data.NewLoader(augmented, data.LoaderOptions{Batch: 500, Seed: 1, Epochs: 2})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer loader.Close()
	for range 2 {
		for b, err := range loader.Batches(context.Background()) {
			if err != nil {
				fmt.Println(err)
				return
			}
			fmt.Println("epoch", b.Epoch, "step", b.Step, "samples", b.N(), "values", len(b.X))
		}
	}
	fmt.Println(held.N(), "held out")
	// Output:
	// epoch 0 step 0 samples 500 values 32000
	// epoch 0 step 1 samples 500 values 32000
	// epoch 0 step 2 samples 438 values 28032
	// epoch 1 step 0 samples 500 values 32000
	// epoch 1 step 1 samples 500 values 32000
	// epoch 1 step 2 samples 438 values 28032
	// 359 held out
}

// A crop out of one pixel of padding, or a mirror image: what is random comes from
// the generator, and nothing is without one.
func ExampleAugment() {
	images, err := data.NewImages(bytes.Repeat([]uint8{51, 102, 153, 204}, 3), []int{0}, 1, 3, 4, 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	src, err := data.Transform{Augment: data.Augment{Pad: 1, Flip: true}}.Apply(images)
	if err != nil {
		fmt.Println(err)
		return
	}
	x := make([]float32, 3*4)
	if _, err := src.Sample(0, nil, x); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(x[4:8]) // the middle row
	var pcg rand.PCG
	for epoch := range 5 {
		data.SampleSeed(&pcg, 1, epoch, 0)
		if _, err := src.Sample(0, rand.New(&pcg), x); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(x[4:8]) // the middle row
	}
	// Output:
	// [0.2 0.4 0.6 0.8]
	// [0 0.8 0.6 0.4]
	// [0.6 0.4 0.2 0]
	// [0.4 0.6 0.8 0]
	// [0.4 0.6 0.8 0]
	// [0.2 0.4 0.6 0.8]
}

// Fashion-MNIST's shape made that of CIFAR's networks.
func ExampleTransform() {
	images, err := data.NewImages(make([]uint8, 28*28), []int{7}, 1, 28, 28, 10)
	if err != nil {
		fmt.Println(err)
		return
	}
	src, err := data.Transform{Height: 32, Width: 32, Channels: 3, Norm: data.NormFashionMNIST()}.Apply(images)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(src.Shape())
	x := make([]float32, 3*32*32)
	label, err := src.Sample(0, nil, x)
	fmt.Printf("%.4f %d %v\n", x[0], label, err)
	// Output:
	// 3 32 32
	// -0.8102 7 <nil>
}

// A folder of images, a sub-folder a class.
func ExampleImageFolder() {
	dir, err := os.MkdirTemp("", "folder")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	for _, class := range []string{"cat", "dog"} {
		var b bytes.Buffer
		err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 300, 400)))
		if err == nil {
			err = os.Mkdir(filepath.Join(dir, class), 0o755)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, class, "1.png"), b.Bytes(), 0o644)
		}
		if err != nil {
			fmt.Println(err)
			return
		}
	}
	f, err := data.ImageFolder(dir, data.FolderOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(f.N(), f.Classes())
	fmt.Println(f.Shape())
	src, err := data.Transform{Norm: data.NormImageNet()}.Apply(f)
	if err != nil {
		fmt.Println(err)
		return
	}
	x := make([]float32, 3*224*224)
	label, err := src.Sample(1, nil, x)
	fmt.Printf("%.3f %d %v\n", x[0], label, err)
	// Output:
	// 2 [cat dog]
	// 3 224 224
	// -2.118 1 <nil>
}

func ExampleDatasets() {
	fmt.Println(data.Datasets())
	// Output: [mnist fashion-mnist cifar10 cifar100 svhn]
}

// CIFAR-10, fetched once, with a line of progress a tenth.
func ExampleDownload() {
	last := int64(-1)
	err := data.Download(context.Background(), "cifar10", "cifar", func(file string, done, total int64) {
		if tenth := 10 * done / total; tenth != last {
			last = tenth
			fmt.Println(file, tenth*10, "%")
		}
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	train, test, err := data.CIFAR10("cifar")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(train.N(), test.N())
}
