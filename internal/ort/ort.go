// Package ort runs ONNX models with ONNX Runtime, for tests: the independent reader of what this library exports.
//
// It uses the runtime that the npm package onnxruntime-node brings, in a process of its own, so that the module needs neither cgo nor a
// dependency. Tests skip where it is missing. To install it, with a folder outside of the repository:
//
//	npm install --ignore-scripts --prefix <folder> onnxruntime-node@1.21.0
//	FTPROP_ONNXRUNTIME_NODE=<folder> go test ./deploy ./models ./examples/export
package ort

import (
	_ "embed"
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/pkg/errors"
)

// Env is the environment variable that names the folder that has node_modules/onnxruntime-node.
const Env = "FTPROP_ONNXRUNTIME_NODE"

//go:embed run_onnx.js
var script []byte

// Runtime is an ONNX Runtime.
type Runtime struct {
	folder, node string
	// Plain turns the runtime's graph optimisations off, which fuse layers and so change roundings.
	Plain bool
}

// Output is an output of a model for all samples.
type Output struct {
	Name  string
	Shape []int // of one sample
	Data  []float32
}

// Find returns the runtime, or skips the test and says how to get it.
func Find(t testing.TB) Runtime {
	t.Helper()
	folder := os.Getenv(Env)
	if folder == "" {
		t.Skipf("SKIPPED: no comparison with ONNX Runtime. Set %s to a folder in which `npm install --ignore-scripts onnxruntime-node` has run.", Env)
	}
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skipf("SKIPPED: no comparison with ONNX Runtime: %v", err)
	}
	if _, err := os.Stat(filepath.Join(folder, "node_modules", "onnxruntime-node")); err != nil {
		t.Fatalf("%s: %v", Env, err)
	}
	return Runtime{folder: folder, node: node}
}

// Run returns the outputs of a model for samples x of a shape (N, ...), batch samples at a time.
func (r Runtime) Run(t testing.TB, model []byte, x []float32, shape []int, batch int) []Output {
	t.Helper()
	dir, err := os.MkdirTemp("", "ort") // not the test's: activations of large networks take gigabytes
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	out, err := r.run(dir, model, x, shape, batch)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (r Runtime) run(dir string, model []byte, x []float32, shape []int, batch int) ([]Output, error) {
	input := make([]byte, 0, 4*len(x))
	for _, v := range x {
		input = binary.LittleEndian.AppendUint32(input, math.Float32bits(v))
	}
	path := func(name string) string { return filepath.Join(dir, name) }
	optimization := "all"
	if r.Plain {
		optimization = "disabled"
	}
	job, err := json.Marshal(map[string]any{
		"model": path("model.onnx"), "input": path("input.bin"), "shape": shape, "batch": batch, "optimization": optimization, "out": dir,
	})
	if err != nil {
		return nil, err
	}
	for name, b := range map[string][]byte{"model.onnx": model, "input.bin": input, "job.json": job, "run_onnx.js": script} {
		if err := os.WriteFile(path(name), b, 0o644); err != nil {
			return nil, err
		}
	}
	if b, err := exec.Command(r.node, path("run_onnx.js"), r.folder, path("job.json")).CombinedOutput(); err != nil {
		return nil, errors.Wrapf(err, "ONNX Runtime: %s", b)
	}
	var outputs struct {
		Names  []string
		Shapes [][]int
	}
	b, err := os.ReadFile(path("outputs.json"))
	if err == nil {
		err = json.Unmarshal(b, &outputs)
	}
	if err != nil {
		return nil, err
	}
	var out []Output
	for i, name := range outputs.Names {
		b, err := os.ReadFile(path(strconv.Itoa(i) + ".bin"))
		if err != nil {
			return nil, err
		}
		data := make([]float32, len(b)/4)
		for k := range data {
			data[k] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*k:]))
		}
		out = append(out, Output{name, outputs.Shapes[i], data})
	}
	return out, nil
}
