package models_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/models"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/solvers"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

type constructor = func(*gorgonia.Node, models.Config) (*models.Net, error)

func input(dt tensor.Dtype, shape ...int) *gorgonia.Node {
	return gorgonia.NewTensor(gorgonia.NewGraph(), dt, len(shape), gorgonia.WithName("x"), gorgonia.WithShape(shape...))
}

func must(t testing.TB, net *models.Net, err error) *models.Net {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return net
}

// The networks have the names, shapes and layers of the reference's, all of them.
func TestShapes(t *testing.T) {
	if gtest.Race {
		t.Skip("large networks, and no goroutines")
	}
	var file struct {
		Models []struct {
			Model   string
			Input   []int `json:"input_shape"`
			Output  []int `json:"output_shape"`
			Count   int   `json:"param_count"`
			Params  [][2]any
			Buffers [][2]any
			Layers  []struct {
				Name, Type string
				In, Out    []int
			}
		}
	}
	gtest.Golden(t, "testdata/model_shapes.json.gz", &file)
	builders := map[string]constructor{
		"convnet4_mnist": models.ConvNet4, "convnet4_cifar10": models.ConvNet4, "convnet8_bn_32": models.ConvNet8, "convnet8_bn_40": models.ConvNet8,
		"alexnet_dorefa_bn_imagenet": models.AlexNet, "resnet18_cifar": models.ResNet18, "resnet18_imagenet": models.ResNet18ImageNet,
	}
	for _, m := range file.Models {
		build, ok := builders[m.Model]
		if !ok {
			t.Errorf("%s is not tested", m.Model)
			continue
		}
		delete(builders, m.Model)
		net, err := build(input(tensor.Float32, append([]int{2}, m.Input...)...), models.Config{BatchNorm: strings.Contains(m.Model, "_bn_")})
		net = must(t, net, err)
		count := 0
		var got, want []string
		for i, p := range net.Params() {
			count += p.Shape().TotalSize()
			got = append(got, fmt.Sprint(net.ParamNames()[i], " ", []int(p.Shape())))
		}
		for _, b := range net.Buffers() {
			got = append(got, fmt.Sprint(b.Name, " ", b.Shape))
		}
		for _, l := range net.Layers() {
			kind, ok := referenceTypes[l.Type]
			switch {
			case l.Type == "BatchNorm":
				kind = fmt.Sprintf("BatchNorm%dd", max(len(l.In)-1, 1))
			case !ok:
				kind = l.Type
			}
			got = append(got, fmt.Sprint(l.Name, " ", kind, " ", l.In, " ", l.Out))
		}
		for _, p := range append(m.Params, m.Buffers...) {
			want = append(want, fmt.Sprint(p[0], " ", p[1]))
		}
		for _, l := range m.Layers {
			want = append(want, fmt.Sprint(l.Name, " ", l.Type, " ", l.In, " ", l.Out))
		}
		if count != m.Count {
			t.Errorf("%s: %d parameters, want %d", m.Model, count, m.Count)
		}
		if !slices.Equal(got, want) {
			for i := range min(len(got), len(want)) {
				if got[i] != want[i] {
					t.Errorf("%s: entry %d is %q, want %q", m.Model, i, got[i], want[i])
					break
				}
			}
			t.Errorf("%s: %d entries, want %d", m.Model, len(got), len(want))
		}
		if !slices.Equal([]int(net.Logits.Shape()), append([]int{2}, m.Output...)) {
			t.Errorf("%s: logits %v", m.Model, net.Logits.Shape())
		}
	}
	if len(builders) > 0 {
		t.Errorf("not in the fixture: %v", builders)
	}
}

// referenceTypes is the reference's names of the types of layers that have another name here.
var referenceTypes = map[string]string{"MaxPool2D": "MaxPool2d", "GlobalAveragePool2D": "AvgPool2d", "Sign": "Step", "Reshape": "ReshapeBatch", "Dropout2D": "Dropout2d"}

// small is every constructor at a size that tests can afford.
var small = map[string]func(dt tensor.Dtype, batch int) (*models.Net, error){
	"MLP": func(dt tensor.Dtype, n int) (*models.Net, error) {
		return models.MLP(input(dt, n, 12), models.Config{Widths: []int{6, 5}, BatchNorm: true, Seed: 3})
	},
	"ConvNet4": func(dt tensor.Dtype, n int) (*models.Net, error) {
		return models.ConvNet4(input(dt, n, 2, 9, 8), models.Config{Widths: []int{3, 4, 6}, BatchNorm: true, Seed: 3, Classes: 4})
	},
	"ConvNet8": func(dt tensor.Dtype, n int) (*models.Net, error) {
		return models.ConvNet8(input(dt, n, 3, 32, 32), models.Config{Widths: []int{3, 4, 3, 4, 3, 4, 5}, BatchNorm: true, Dropout: 0.5, Seed: 3})
	},
	"AlexNet": func(dt tensor.Dtype, n int) (*models.Net, error) {
		return models.AlexNet(input(dt, n, 3, 68, 70), models.Config{Widths: []int{3, 4, 3, 4, 3, 4, 5}, BatchNorm: true, Seed: 3, Classes: 7})
	},
	"ResNet18": func(dt tensor.Dtype, n int) (*models.Net, error) {
		return models.ResNet18(input(dt, n, 3, 8, 9), models.Config{Widths: []int{3, 4, 5, 6}, Seed: 3})
	},
	"ResNet34": func(dt tensor.Dtype, n int) (*models.Net, error) {
		return models.ResNet34(input(dt, n, 1, 8, 8), models.Config{Widths: []int{3, 4, 5, 6}, Seed: 3, Act: nodes.ReLU})
	},
	"ResNet18ImageNet": func(dt tensor.Dtype, n int) (*models.Net, error) {
		return models.ResNet18ImageNet(input(dt, n, 3, 32, 33), models.Config{Widths: []int{3, 4, 5, 6}, Seed: 3, Classes: 5})
	},
}

// logits runs a network on x.
func logits(t testing.TB, net *models.Net, x []float64, opts ...gorgonia.VMOpt) []float64 {
	t.Helper()
	if err := gorgonia.Let(net.Input, gtest.Dense(net.Input.Dtype(), x, net.Input.Shape()...)); err != nil {
		t.Fatal(err)
	}
	var out gorgonia.Value
	gorgonia.Read(net.Logits, &out)
	vm := gorgonia.NewTapeMachine(net.Input.Graph(), opts...)
	defer vm.Close()
	if err := vm.RunAll(); err != nil {
		t.Fatal(err)
	}
	return gtest.Floats(t, out)
}

func normals(n int) []float64 {
	rng := rand.New(rand.NewPCG(4, 4))
	x := make([]float64, n)
	for i := range x {
		x[i] = rng.NormFloat64()
	}
	return x
}

// At sees what training changes, weights and running statistics, and leaves training alone.
func TestAtShares(t *testing.T) {
	for name, build := range small {
		for _, dt := range gtest.Dtypes() {
			if gtest.Race && dt == tensor.Float64 && name != "ConvNet4" { // which has the layers of most
				continue
			}
			net, err := build(dt, 6)
			net = must(t, net, err)
			x := normals(net.Input.Shape().TotalSize())
			one := len(x) / 6
			same, err := net.At(6)
			same = must(t, same, err)
			two, err := net.At(2)
			two = must(t, two, err)
			if net.Name() != name || two.Name() != name || len(two.Params()) != len(net.Params()) || len(two.Hidden) != len(net.Hidden) {
				t.Fatalf("%s: At is another network", name)
			}

			labels := gorgonia.NewMatrix(net.Input.Graph(), dt, gorgonia.WithName("y"), gorgonia.WithShape(net.Logits.Shape()...))
			y := make([]float64, net.Logits.Shape().TotalSize())
			for i := range 6 {
				y[i*len(y)/6+i%(len(y)/6)] = 1
			}
			for n, v := range map[*gorgonia.Node][]float64{labels: y, net.Input: x} {
				if err := gorgonia.Let(n, gtest.Dense(dt, v, n.Shape()...)); err != nil {
					t.Fatal(err)
				}
			}
			cost := gorgonia.Must(nodes.CrossEntropy(net.Logits, labels))
			if _, err := gorgonia.Grad(cost, net.Params()...); err != nil {
				t.Fatal(err)
			}
			var trained gorgonia.Value
			gorgonia.Read(net.Logits, &trained)
			vm := gorgonia.NewTapeMachine(net.Input.Graph(), gorgonia.BindDualValues(net.Params()...))
			solver := &solvers.SGD{LearnRate: 0.1}
			before := logits(t, two, x[:2*one])
			for range 3 {
				if err := vm.RunAll(); err != nil {
					t.Fatal(err)
				}
				if err := solver.Step(gorgonia.NodesToValueGrads(net.Params())); err != nil {
					t.Fatal(err)
				}
				vm.Reset()
				logits(t, two, x[:2*one]) // makes machines, in training mode too
			}
			vm.Close()
			after := logits(t, two, x[:2*one])
			if slices.Equal(before, after) {
				t.Errorf("%s %v: training does not show", name, dt)
			}
			// Evaluation is the same in any batch, and as the training graph gives in evaluation mode.
			all := logits(t, same, x)
			gtest.Compare(t, name+": batch of 2 and of 6", after, all[:len(after)])
			gtest.Compare(t, name+": training graph in evaluation mode", logits(t, net, x, gorgonia.EvalMode()), all)
			if _, err := net.At(0); err == nil {
				t.Errorf("%s: no error for a batch of 0", name)
			}
		}
	}
}

// What Save writes, an independent reader of the format reads, and Load gives a network of other weights the same ones.
func TestSaveLoad(t *testing.T) {
	for name, build := range small {
		for _, dt := range gtest.Dtypes() {
			net, err := build(dt, 2)
			net = must(t, net, err)
			var file bytes.Buffer
			if err := net.Save(&file); err != nil {
				t.Fatal(err)
			}
			b := file.Bytes()
			n := binary.LittleEndian.Uint64(b)
			var header map[string]json.RawMessage
			if err := json.Unmarshal(b[8:8+n], &header); err != nil {
				t.Fatal(err)
			}
			for i, p := range net.Params() {
				var info struct {
					Dtype   string
					Shape   []int
					Offsets [2]int `json:"data_offsets"`
				}
				if err := json.Unmarshal(header[net.ParamNames()[i]], &info); err != nil {
					t.Fatalf("%s: %s: %v", name, net.ParamNames()[i], err)
				}
				data, want := b[8+int(n)+info.Offsets[0]:8+int(n)+info.Offsets[1]], gtest.Floats(t, p.Value())
				for k, w := range want {
					got := 0.0
					if info.Dtype == "F32" {
						got = float64(math.Float32frombits(binary.LittleEndian.Uint32(data[4*k:])))
					} else {
						got = math.Float64frombits(binary.LittleEndian.Uint64(data[8*k:]))
					}
					if got != w {
						t.Fatalf("%s: %s[%d] is %v in the file, want %v", name, net.ParamNames()[i], k, got, w)
					}
				}
			}
			for _, to := range gtest.Dtypes() {
				other, err := build(to, 2)
				other = must(t, other, err)
				for _, p := range other.Params() {
					if err := p.Value().(*tensor.Dense).Memset(map[tensor.Dtype]any{tensor.Float32: float32(0.5), tensor.Float64: 0.5}[to]); err != nil {
						t.Fatal(err)
					}
				}
				if err := other.Load(bytes.NewReader(b)); err != nil {
					t.Fatal(err)
				}
				for i, p := range other.Params() {
					gtest.Compare(t, name, gtest.Floats(t, p.Value()), gtest.Floats(t, net.Params()[i].Value()))
				}
			}
		}
	}
}

// PyTorch's weights, running statistics included, give PyTorch's logits: see testdata/make_pytorch.py.
func TestPyTorch(t *testing.T) {
	var want struct {
		Widths        []int
		Input, Logits []float64
	}
	gtest.Golden(t, "testdata/pytorch_convnet8.json.gz", &want)
	for _, dt := range gtest.Dtypes() {
		net, err := models.ConvNet8(input(dt, 2, 3, 32, 32), models.Config{Widths: want.Widths, BatchNorm: true, Seed: 9})
		net = must(t, net, err)
		f, err := os.Open("testdata/pytorch_convnet8.safetensors")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := net.Load(f); err != nil {
			t.Fatal(err)
		}
		got := logits(t, net, want.Input, gorgonia.EvalMode())
		for i := range got {
			if d := math.Abs(got[i] - want.Logits[i]); !(d <= 1e-4) {
				t.Errorf("%v: logit %d is %v, want %v", dt, i, got[i], want.Logits[i])
			}
		}
		// The way back is checked by hand: the command is in the script.
		if dir := os.Getenv("FTPROP_PYTORCH_DIR"); dir != "" && dt == tensor.Float32 {
			var file bytes.Buffer
			if err := net.Save(&file); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "net.safetensors"), file.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A file that cannot be right changes nothing.
func TestLoadRejects(t *testing.T) {
	build := small["ConvNet4"]
	net, err := build(tensor.Float32, 2)
	net = must(t, net, err)
	var file bytes.Buffer
	if err := net.Save(&file); err != nil {
		t.Fatal(err)
	}
	good := file.Bytes()
	edit := func(f func(b []byte) []byte) []byte { return f(bytes.Clone(good)) }
	other, err := models.ConvNet4(input(tensor.Float32, 2, 2, 9, 8), models.Config{Widths: []int{3, 4, 7}, BatchNorm: true, Classes: 4})
	other = must(t, other, err)
	var otherFile, resFile bytes.Buffer
	if err := other.Save(&otherFile); err != nil {
		t.Fatal(err)
	}
	res, err := small["ResNet18"](tensor.Float32, 2)
	res = must(t, res, err)
	if err := res.Save(&resFile); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		file  []byte
		words []string
	}{
		{"empty", nil, []string{"not a whole safetensors file"}},
		{"cut in the header", good[:20], []string{"not a whole safetensors file"}},
		{"cut in the data", good[:len(good)-1], []string{"not a whole safetensors file"}},
		{"appended", append(bytes.Clone(good), 0), []string{"not a whole safetensors file"}},
		{"huge header", edit(func(b []byte) []byte { binary.LittleEndian.PutUint64(b, 1<<60); return b }), []string{"not a whole safetensors file"}},
		{"not the format", []byte("PK\x03\x04 some other file altogether"), []string{"not a whole safetensors file"}},
		{"NaN", edit(func(b []byte) []byte {
			for i := range 4 {
				b[len(b)-1-i] = 0xff
			}
			return b
		}), []string{"NaN", "finite"}},
		{"widths", otherFile.Bytes(), []string{"block3.fc1", "want ["}},
		{"another network", resFile.Bytes(), []string{"another network", "lacks all_modules.", "besides"}},
	} {
		before := gtest.Floats(t, net.Params()[0].Value())
		gtest.WantError(t, c.name, net.Load(bytes.NewReader(c.file)), append(c.words, "models: loading ConvNet4")...)
		if !slices.Equal(before, gtest.Floats(t, net.Params()[0].Value())) {
			t.Errorf("%s: the weights have changed", c.name)
		}
	}
	if err := net.Load(bytes.NewReader(good)); err != nil {
		t.Error(err)
	}
}

// Weights that are no numbers are not saved: the file could not be loaded. Two networks in one graph would be one.
func TestNotSaved(t *testing.T) {
	net, err := models.MLP(input(tensor.Float32, 2, 3), models.Config{})
	net = must(t, net, err)
	net.Params()[0].Value().Data().([]float32)[1] = float32(math.NaN())
	gtest.WantError(t, "NaN", net.Save(new(bytes.Buffer)), "fc1.weight", "NaN")
	x := gorgonia.NewMatrix(net.Input.Graph(), tensor.Float32, gorgonia.WithName("x2"), gorgonia.WithShape(2, 3))
	_, err = models.MLP(x, models.Config{})
	gtest.WantError(t, "second network", err, "fc1.weight", "one network")
}

func TestConstructorsReject(t *testing.T) {
	img := func(shape ...int) *gorgonia.Node { return input(tensor.Float32, shape...) }
	for _, c := range []struct {
		name  string
		build constructor
		x     *gorgonia.Node
		cfg   models.Config
		words []string
	}{
		{"nil", models.ConvNet4, nil, models.Config{}, []string{"no input"}},
		{"integers", models.MLP, input(tensor.Int, 2, 3), models.Config{}, []string{"float32 or float64"}},
		{"matrix", models.ConvNet4, img(2, 3), models.Config{}, []string{"(N, C, H, W)"}},
		{"result", models.MLP, gorgonia.Must(nodes.ReLU(img(2, 3))), models.Config{}, []string{"variable"}},
		{"small", models.AlexNet, img(2, 3, 67, 68), models.Config{}, []string{"68x68"}},
		{"channels", models.ConvNet8, img(2, 1, 32, 32), models.Config{}, []string{"1 channels, want 3"}},
		{"36 pixels", models.ConvNet8, img(2, 3, 36, 36), models.Config{}, []string{"32x32 or 40x40"}},
		{"widths", models.ResNet18, img(2, 3, 32, 32), models.Config{Widths: []int{1, 2}}, []string{"want 4"}},
		{"width 0", models.MLP, img(2, 3), models.Config{Widths: []int{0}}, []string{"positive"}},
		{"no widths", models.MLP, img(2, 3), models.Config{Widths: []int{}}, []string{"no hidden layers"}},
		{"classes", models.ConvNet4, img(2, 3, 32, 32), models.Config{Classes: -1}, []string{"-1 classes"}},
		{"dropout", models.ConvNet8, img(2, 3, 32, 32), models.Config{Dropout: 1}, []string{"dropout 1"}},
		{"activation", models.MLP, img(2, 3), models.Config{Act: func(x *gorgonia.Node) (*gorgonia.Node, error) { return gorgonia.Sum(x) }}, []string{"nonlin1", "shape"}},
	} {
		net, err := c.build(c.x, c.cfg)
		gtest.WantError(t, c.name, err, append(c.words, "models: ")...)
		if net != nil {
			t.Errorf("%s: a network beside the error", c.name)
		}
	}
}

// Weights are uniform within PyTorch's bound, depend on the seed, and not on the other layers.
func TestInitialisation(t *testing.T) {
	if gtest.Race {
		t.Skip("SKIPPED: random numbers are drawn on one goroutine")
	}
	a, err := models.ConvNet4(input(tensor.Float64, 2, 3, 32, 32), models.Config{Seed: 1})
	a = must(t, a, err)
	for i, p := range a.Params() {
		fanIn := map[bool]int{true: 1, false: p.Shape().TotalSize() / p.Shape()[0]}[p.Dims() == 1]
		if p.Dims() == 1 {
			fanIn = a.Params()[i-1].Shape().TotalSize() / a.Params()[i-1].Shape()[0]
		}
		b := 1 / math.Sqrt(float64(fanIn))
		v := gtest.Floats(t, p.Value())
		var sum, squares float64
		for _, x := range v {
			if math.Abs(x) > b {
				t.Fatalf("%s: %v is beyond %v", a.ParamNames()[i], x, b)
			}
			sum += x
			squares += x * x
		}
		n := float64(len(v))
		if sd := math.Sqrt(squares / n); n > 1000 && (math.Abs(sum/n) > 4*b/math.Sqrt(3*n) || math.Abs(sd*math.Sqrt(3)/b-1) > 0.05) {
			t.Errorf("%s: mean %v, standard deviation %v, want 0 and %v", a.ParamNames()[i], sum/n, sd, b/math.Sqrt(3))
		}
	}
	b, err := models.ConvNet4(input(tensor.Float64, 2, 3, 32, 32), models.Config{Seed: 1, BatchNorm: true})
	b = must(t, b, err)
	c, err := models.ConvNet4(input(tensor.Float64, 2, 3, 32, 32), models.Config{Seed: 2})
	c = must(t, c, err)
	const name = "all_modules.block3.fc1.weight"
	if !slices.Equal(gtest.Floats(t, a.Param(name).Value()), gtest.Floats(t, b.Param(name).Value())) {
		t.Error("another layer changes the weights")
	}
	if slices.Equal(gtest.Floats(t, a.Param(name).Value()), gtest.Floats(t, c.Param(name).Value())) {
		t.Error("another seed does not change the weights")
	}
	if a.Param("no such name") != nil {
		t.Error("a parameter of no name")
	}
}

func FuzzLoad(f *testing.F) {
	build := func(bn bool) *models.Net {
		net, err := models.MLP(input(tensor.Float32, 1, 1), models.Config{Widths: []int{1}, BatchNorm: bn, Classes: 1})
		if err != nil {
			f.Fatal(err)
		}
		return net
	}
	nets := []*models.Net{build(true), build(false)}
	var files [][]byte
	for i, net := range nets {
		var file bytes.Buffer
		if err := net.Save(&file); err != nil {
			f.Fatal(err)
		}
		files = append(files, file.Bytes())
		f.Add(uint8(i), uint8(i), uint16(0), uint16(0), []byte{})
		f.Add(uint8(1-i), uint8(i), uint16(0), uint16(0), []byte{})
		f.Add(uint8(i), uint8(i), uint16(100), uint16(file.Len()), []byte{})
		f.Add(uint8(i), uint8(i), uint16(file.Len()-4), uint16(4), []byte{0, 0, 0xc0, 0x7f}) // NaN
	}
	f.Fuzz(func(t *testing.T, network, base uint8, at, drop uint16, patch []byte) {
		if len(patch) > 128 {
			return
		}
		net := nets[int(network)%len(nets)]
		if err := net.Load(bytes.NewReader(gtest.Splice(files[int(base)%len(files)], at, drop, patch))); err != nil {
			return
		}
		for _, p := range net.Params() { // what was loaded is sound
			for _, v := range p.Value().Data().([]float32) {
				if v-v != 0 {
					t.Fatalf("loaded %v", v)
				}
			}
		}
	})
}
