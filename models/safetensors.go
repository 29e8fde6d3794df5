package models

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/ftprop/ftprop/internal/floats"
	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/internal/vec"
	"github.com/nlpodyssey/safetensors"
	"github.com/pkg/errors"
	"gorgonia.org/tensor"
)

// entry is a tensor of a network as it goes into a file.
type entry struct {
	name   string
	shape  []int
	get    func() []byte // little-endian, of dtype
	dtype  safetensors.DType
	finite func() bool // nil for integers
	accept func(dt safetensors.DType, b []byte) (set func(), err error)
	// optional entries may be missing from a file.
	optional bool
}

// entries lists parameters, then buffers.
func (n *Net) entries() []entry {
	var out []entry
	dt := safetensors.F32
	if n.Input.Dtype() == tensor.Float64 {
		dt = safetensors.F64
	}
	for i, p := range n.params {
		name := n.paramNames[i]
		data, unread := opkit.ValuesOf(p.Value()) // which makes it neither finite nor got
		out = append(out, entry{
			name: name, shape: p.Shape(), dtype: dt,
			finite: func() bool { return unread == nil && vec.Finite(data.Float32) && vec.Finite(data.Float64) },
			get: func() []byte {
				if data.Float32 != nil {
					return floats.Bytes(data.Float32)
				}
				return floats.Bytes(data.Float64)
			},
			accept: func(dt safetensors.DType, b []byte) (func(), error) {
				to, err := opkit.ValuesInPlace(p.Value())
				if err != nil {
					return nil, err
				}
				x, err := readFloats(dt, b)
				if data.Dtype == tensor.Float32 && err == nil {
					err = floats.CheckSingle(x)
				}
				return func() {
					for i := range to.Float32 {
						to.Float32[i] = float32(x[i])
					}
					copy(to.Float64, x)
				}, err
			},
		})
	}
	for _, norm := range n.norms {
		mean, variance := norm.op.Running()
		stat := func(name string, x []float64, set func(x []float64) error) entry {
			return entry{
				name: norm.name + name, shape: []int{len(x)}, dtype: dt,
				finite: func() bool { return vec.Finite(x) },
				get: func() []byte {
					if dt == safetensors.F64 {
						return floats.Bytes(x)
					}
					return floats.Bytes(floats.Single(x))
				},
				accept: func(dt safetensors.DType, b []byte) (func(), error) {
					x, err := readFloats(dt, b)
					if err != nil {
						return nil, err
					}
					for _, v := range x {
						if v < 0 && name == ".running_var" {
							return nil, errors.Errorf("negative variance %v", v)
						}
					}
					return func() { _ = set(x) }, nil // it has been checked
				},
			}
		}
		out = append(out,
			stat(".running_mean", mean, func(x []float64) error {
				_, v := norm.op.Running()
				return norm.op.SetRunning(x, v)
			}),
			stat(".running_var", variance, func(x []float64) error {
				m, _ := norm.op.Running()
				return norm.op.SetRunning(m, x)
			}),
			entry{
				name: norm.name + ".num_batches_tracked", shape: []int{}, dtype: safetensors.I64, optional: true,
				get: func() []byte { return binary.LittleEndian.AppendUint64(nil, uint64(*norm.batches)) },
				accept: func(dt safetensors.DType, b []byte) (func(), error) {
					if dt != safetensors.I64 {
						return nil, errors.Errorf("it is %v, want I64", dt)
					}
					v := int64(binary.LittleEndian.Uint64(b))
					return func() { *norm.batches = v }, nil
				},
			})
	}
	return out
}

// Save writes parameters and running statistics in the safetensors format, under the names of the reference's state_dict: float32
// or float64 as the network is. Weights that are not finite are an error, so that what was saved can be loaded.
//
// The file's header says what they belong to, as text: metadata that other readers of the format show, and leave alone.
//
//	ftprop.network      the constructor: ConvNet4
//	ftprop.input        shape of a sample: 1,28,28
//	ftprop.widths       32,64,1024
//	ftprop.classes      10
//	ftprop.batch_norm   true or false
//	ftprop.activation   Sign{}, Staircase{Steps: 3, Lo: 0, Hi: 1}, ReLU(), ...: see Identity
//	ftprop.levels       of threshold activations: 4 from 0 to 1
//	ftprop.rule         of threshold activations: SoftHinge{}
//	ftprop.fixed_point  of a Net.FixedPoint, how its inputs are rounded: Round{Unit: 0.0078125, Max: 4}
//	ftprop.weights      Config.Weights, if there are: SignWeights{}; with ftprop.weights_rule and ftprop.all_weights
//	ftprop.quantised    with them, true of a Net.WithoutLatent: weights as layers compute with them, not latent ones
//
// ReadIdentity reads it back. What is not known to a version of this library it does not read.
//
// Call it between two steps of training, not while a machine runs the network or one that At has made of it.
//
// In PyTorch: net.load_state_dict(safetensors.torch.load_file("weights.safetensors")).
func (n *Net) Save(w io.Writer) error {
	if err := n.made(); err != nil {
		return errors.WithMessage(err, "models: saving")
	}
	views := map[string]view{}
	for _, e := range n.entries() {
		shape := make([]uint64, len(e.shape))
		for i, d := range e.shape {
			shape[i] = uint64(d)
		}
		if e.finite != nil && !e.finite() {
			_, err := readFloats(e.dtype, e.get()) // says which
			return errors.WithMessagef(err, "models: saving %s: %s", n.name, e.name)
		}
		views[e.name] = view{e.dtype, shape, e.get}
	}
	id := n.Identity()
	err := safetensors.SerializeToWriter(views, id.metadata(), w)
	return errors.Wrapf(err, "models: saving %s", n.name)
}

// view is a tensor for the library, whose own view takes no scalars. Its bytes are made when they are written: not all tensors' at once.
type view struct {
	dtype safetensors.DType
	shape []uint64
	data  func() []byte
}

func (v view) DType() safetensors.DType { return v.dtype }
func (v view) Shape() []uint64          { return v.shape }
func (v view) Data() []byte             { return v.data() }
func (v view) DataLen() uint64 {
	n := v.dtype.Size()
	for _, d := range v.shape {
		n *= d
	}
	return n
}

// Load sets parameters and running statistics to those in a safetensors file, as Save or PyTorch writes it: F32 or F64, converted
// if the network has the other. num_batches_tracked may be missing.
//
// It is an error, and the network stays as it was, if the file is cut short or damaged, or of another network: names that are
// missing or too many, other shapes or types, numbers that are not finite; or if it says that its weights belong to another network than
// this, one with another activation or other quantised weights, or one that is in fixed point or without latent weights where this is not, and
// the other way round. Files that do not say it, as PyTorch's, are taken at their tensors. Height and width of the input are not compared:
// where weights depend on them, shapes tell.
//
// It reads no more than the network's parameters take as F64 and 64 KiB for what else the header says, so that a file can ask for no more
// memory than the network has itself.
//
// As Save it is not to be called while a machine runs the network, or one that At has made of it.
func (n *Net) Load(r io.Reader) error {
	if err := n.made(); err != nil {
		return errors.WithMessage(err, "models: loading")
	}
	entries := n.entries()
	header, data := need(entries)
	most := 8 + header + data
	b, err := io.ReadAll(io.LimitReader(r, most+1))
	if err != nil {
		return errors.Wrapf(err, "models: loading %s", n.name)
	}
	return errors.WithMessagef(n.load(b, entries, header, most), "models: loading %s", n.name)
}

// need returns the most bytes that a file of the entries has in its header, with room for metadata and for padding, and behind it.
func need(entries []entry) (header, data int64) {
	header = 1 << 16
	for _, e := range entries {
		header += int64(len(e.name)) + 128 + 24*int64(len(e.shape)) // type, two offsets and the shape as text
		size := int64(8)
		for _, d := range e.shape {
			size *= int64(d)
		}
		data += size
	}
	return header, data
}

// load loads a file of which b is the beginning, if it has more than most bytes.
func (n *Net) load(b []byte, entries []entry, headerMost, most int64) error {
	if err := checkHeader(b, headerMost); err != nil {
		return err
	}
	size, header, err := safetensors.ReadMetadata(b)
	long := int64(len(b)) > most
	if long && len(b) >= 8 {
		// What it is of says more than that it is too long.
		size = binary.LittleEndian.Uint64(b)
		err = json.Unmarshal(b[8:8+size], &header)
	}
	if err != nil {
		return errors.Wrap(err, "not a whole safetensors file")
	}
	of, ok, err := parseIdentity(header.Metadata())
	if err != nil {
		return err
	}
	own := n.Identity()
	differences := func(all bool) string {
		if !ok {
			return ""
		}
		return own.differences(&of, all)
	}
	var sets []func()
	if err = match(entries, header.Tensors()); err == nil && !long {
		sets, err = accept(entries, header.Tensors(), b[8+size:])
	}
	if err != nil {
		if d := differences(true); d != "" {
			err = errors.WithMessage(err, d) // what it comes of
		}
		return err
	}
	if d := differences(false); d != "" {
		return errors.Errorf("the file is of another network: %s", d)
	}
	if long {
		return errors.Errorf("the file has more than the %d bytes that the network takes", most)
	}
	for _, set := range sets {
		set()
	}
	return nil
}

// match returns an error unless a file has the entries, in their shapes, and nothing else.
func match(entries []entry, file map[string]*safetensors.TensorInfo) error {
	var missing, surplus []string
	known := map[string]bool{}
	for _, e := range entries {
		known[e.name] = true
		if file[e.name] == nil && !e.optional {
			missing = append(missing, e.name)
		}
	}
	for name := range file {
		if !known[name] {
			surplus = append(surplus, name)
		}
	}
	if len(missing)+len(surplus) > 0 {
		return errors.Errorf("the file is of another network%s%s", list("; it lacks ", missing), list("; it has besides ", surplus))
	}
	for _, e := range entries {
		t := file[e.name]
		if t == nil {
			continue
		}
		shape := make([]int, len(t.Shape))
		for i, d := range t.Shape {
			shape[i] = int(d)
		}
		if !slices.Equal(shape, e.shape) {
			return errors.Errorf("%s has shape %v, want %v", e.name, shape, e.shape)
		}
	}
	return nil
}

// accept returns what sets parameters and running statistics to those in a file that matches, of which data is what follows its header.
func accept(entries []entry, file map[string]*safetensors.TensorInfo, data []byte) (sets []func(), err error) {
	for _, e := range entries {
		t := file[e.name]
		if t == nil {
			continue
		}
		set, err := e.accept(t.DType, data[t.DataOffsets[0]:t.DataOffsets[1]])
		if err != nil {
			return nil, errors.WithMessage(err, e.name)
		}
		sets = append(sets, set)
	}
	return sets, nil
}

// list prints the first few names after a heading; nothing if there are none.
func list(heading string, names []string) string {
	if len(names) == 0 {
		return ""
	}
	slices.Sort(names)
	const most = 4
	if len(names) > most {
		return fmt.Sprintf("%s%s and %d more", heading, strings.Join(names[:most], ", "), len(names)-most)
	}
	return heading + strings.Join(names, ", ")
}

// readFloats decodes F32 or F64, all finite.
func readFloats(dt safetensors.DType, b []byte) ([]float64, error) {
	var x []float64
	switch dt {
	case safetensors.F32:
		x = make([]float64, len(b)/4)
		for i := range x {
			x[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:])))
		}
	case safetensors.F64:
		x = make([]float64, len(b)/8)
		for i := range x {
			x[i] = math.Float64frombits(binary.LittleEndian.Uint64(b[8*i:]))
		}
	default:
		return nil, errors.Errorf("it is %v, want F32 or F64", dt)
	}
	return x, floats.CheckFinite(x)
}
