// Package ort runs ONNX models with ONNX Runtime, for tests: the independent reader of what this library exports.
//
// It uses the runtime that the npm package onnxruntime-node brings, in a process of its own, so that the module needs neither cgo nor a
// dependency. Tests skip where it is missing. To install it, with a folder outside of the repository:
//
//	npm install --ignore-scripts --prefix <folder> onnxruntime-node@1.21.0
//	FTPROP_ONNXRUNTIME_NODE=<folder> go test ./internal/intnet ./deploy ./models ./examples/export
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
	return r.RunAll(t, []Job{{Model: model, Reals: x, Shape: shape, Batch: batch}})[0]
}

// Job is a model with samples to run it on, Reals or Pixels, of a shape (N, ...), Batch samples at a time.
type Job struct {
	Name   string // for errors
	Model  []byte
	Reals  []float32
	Pixels []uint8
	Shape  []int
	Batch  int
}

// RunAll returns the outputs of all jobs, which share one process: to start it takes longer than to run a small model.
func (r Runtime) RunAll(t testing.TB, jobs []Job) [][]Output {
	t.Helper()
	dir, err := os.MkdirTemp("", "ort") // not the test's: activations of large networks take gigabytes
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	out, err := r.run(dir, jobs)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// fileJob is a job as run_onnx.js reads it.
type fileJob struct {
	Name         string `json:"name"`
	Model        string `json:"model"`
	Input        string `json:"input"`
	Type         string `json:"type"`
	Shape        []int  `json:"shape"`
	Batch        int    `json:"batch"`
	Optimization string `json:"optimization"`
	Out          string `json:"out"`
}

func (r Runtime) run(dir string, jobs []Job) ([][]Output, error) {
	files := map[string][]byte{filepath.Join(dir, "run_onnx.js"): script}
	var all []fileJob
	for i, j := range jobs {
		folder := filepath.Join(dir, strconv.Itoa(i))
		if err := os.Mkdir(folder, 0o755); err != nil {
			return nil, err
		}
		f := fileJob{j.Name, filepath.Join(folder, "model.onnx"), filepath.Join(folder, "input.bin"), "float32", j.Shape, j.Batch, "all", folder}
		if r.Plain {
			f.Optimization = "disabled"
		}
		input := make([]byte, 0, 4*len(j.Reals))
		for _, v := range j.Reals {
			input = binary.LittleEndian.AppendUint32(input, math.Float32bits(v))
		}
		if j.Pixels != nil {
			f.Type, input = "uint8", j.Pixels
		}
		files[f.Model], files[f.Input] = j.Model, input
		all = append(all, f)
	}
	b, err := json.Marshal(all)
	if err != nil {
		return nil, err
	}
	files[filepath.Join(dir, "jobs.json")] = b
	for path, b := range files {
		if err := os.WriteFile(path, b, 0o644); err != nil {
			return nil, err
		}
	}
	if b, err := exec.Command(r.node, filepath.Join(dir, "run_onnx.js"), r.folder, filepath.Join(dir, "jobs.json")).CombinedOutput(); err != nil {
		return nil, errors.Wrapf(err, "ONNX Runtime: %s", b)
	}
	var out [][]Output
	for _, f := range all {
		o, err := outputs(f.Out)
		if err != nil {
			return nil, err
		}
		out = append(out, o)
	}
	return out, nil
}

// outputs reads what a job has written.
func outputs(folder string) ([]Output, error) {
	var names struct {
		Names  []string
		Shapes [][]int
	}
	b, err := os.ReadFile(filepath.Join(folder, "outputs.json"))
	if err == nil {
		err = json.Unmarshal(b, &names)
	}
	if err != nil {
		return nil, err
	}
	var out []Output
	for i, name := range names.Names {
		b, err := os.ReadFile(filepath.Join(folder, strconv.Itoa(i)+".bin"))
		if err != nil {
			return nil, err
		}
		data := make([]float32, len(b)/4)
		for k := range data {
			data[k] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*k:]))
		}
		out = append(out, Output{name, names.Shapes[i], data})
	}
	return out, nil
}
