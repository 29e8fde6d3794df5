package models

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/ftprop/ftprop/ops"
	"github.com/nlpodyssey/safetensors"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Keys of the metadata that Save writes into a file's header: text for text. A key of a later version is not read by an earlier one.
const (
	metaFormat     = "format" // "pt", which tells Python's readers whose conventions the names follow
	metaNetwork    = "ftprop.network"
	metaInput      = "ftprop.input"
	metaWidths     = "ftprop.widths"
	metaClasses    = "ftprop.classes"
	metaBatchNorm  = "ftprop.batch_norm"
	metaActivation = "ftprop.activation"
	metaLevels     = "ftprop.levels"
	metaRule       = "ftprop.rule"
	metaFixedPoint = "ftprop.fixed_point"
	metaOrder      = "ftprop.order" // not there for PaperOrder, which is all that earlier files have

	metaWeights     = "ftprop.weights"
	metaAllWeights  = "ftprop.all_weights"
	metaWeightsRule = "ftprop.weights_rule"
	metaQuantised   = "ftprop.quantised"
)

// Identity is what weights belong to, as Save writes it into a file's header and ReadIdentity reads it.
type Identity struct {
	Network   string // the constructor's name, or that of a network of Define
	Input     []int  // shape of a sample
	Widths    []int
	Classes   int
	BatchNorm bool
	// Activation is read from the graph: all of a single operation of this library's, as in "Sign{}", "Staircase{Steps: 3, Lo: 0, Hi: 1}" or
	// "LeakyReLU(0.1)", of others their names. Where layers have others than each other, all are listed.
	Activation string
	// Levels and Rule describe threshold activations for the reader of a file. Load does not compare them: levels are part of Activation, and
	// with which rule weights were trained changes nothing of what they compute.
	Levels, Rule string
	// FixedPoint is how inputs are rounded, of a Net.FixedPoint; nil for other networks.
	FixedPoint *ops.Round
	// Weights is Config.Weights without its rule, as in "SignWeights{}" or "QuantWeights{Bits: 4}"; "" for none. AllWeights is Config.AllWeights.
	// Load does not compare WeightsRule.
	Weights, WeightsRule string
	AllWeights           bool
	Order                Order
	Quantised            bool // the weights are quantised, not latent: those of a Net.WithoutLatent

	elements int // that the weights have at most; 0 means any number
}

// Identity returns what the network's weights belong to; nothing of a Net that no constructor has made.
func (n *Net) Identity() Identity {
	if n.made() != nil {
		return Identity{}
	}
	id := Identity{
		Network: n.name, Input: sample(n.Input), Widths: slices.Clone(n.config.Widths), Classes: n.config.Classes, BatchNorm: n.config.BatchNorm,
		Activation: "none", Order: n.config.Order,
	}
	if len(n.acts) > 0 {
		id.Activation = n.acts[0]
	}
	for i, act := range n.acts {
		if act != n.acts[0] {
			id.Activation = ""
			for i, act := range n.acts {
				id.Activation += fmt.Sprintf("%s %s; ", n.hiddenNames[i], act)
			}
			break
		}
		if a, ok := n.Hidden[i].Op().(ops.Activation); ok {
			l := a.Threshold()
			id.Levels = fmt.Sprintf("%d from %v to %v", l.Levels.Steps+1, l.Levels.Lo, l.Levels.Hi)
			id.Rule = ruleName(l)
		}
	}
	if q := n.config.Weights; q != nil {
		id.Weights, id.WeightsRule, id.AllWeights, id.Quantised = weightsName(q), weightsRule(q), n.config.AllWeights, n.withLevels
	}
	if n.fixed != nil {
		input := n.fixed.input
		id.FixedPoint = &input
	}
	return id
}

func ruleName(l ops.Threshold) string {
	s := fmt.Sprintf("%#v", l.Rule)
	if p, ok := l.Rule.(fmt.Stringer); ok {
		s = p.String()
	}
	if l.Unweighted {
		s += ", unweighted"
	}
	return s
}

// maxSize is more than any width, and any image, that a file may ask for.
const maxSize = 1 << 28

// metadata is the identity as text.
func (id *Identity) metadata() map[string]string {
	m := map[string]string{
		metaFormat: "pt", metaNetwork: id.Network, metaInput: commas(id.Input), metaWidths: commas(id.Widths), metaClasses: strconv.Itoa(id.Classes),
		metaBatchNorm: strconv.FormatBool(id.BatchNorm), metaActivation: id.Activation,
	}
	if id.Levels != "" {
		m[metaLevels], m[metaRule] = id.Levels, id.Rule
	}
	if id.FixedPoint != nil {
		m[metaFixedPoint] = id.FixedPoint.String()
	}
	if id.Order != PaperOrder {
		m[metaOrder] = id.Order.String()
	}
	if id.Weights != "" {
		m[metaWeights], m[metaWeightsRule], m[metaAllWeights] = id.Weights, id.WeightsRule, strconv.FormatBool(id.AllWeights)
		m[metaQuantised] = strconv.FormatBool(id.Quantised)
	}
	return m
}

func commas(x []int) string {
	s := make([]string, len(x))
	for i, v := range x {
		s[i] = strconv.Itoa(v)
	}
	return strings.Join(s, ",")
}

// parseIdentity reads metadata. ok is false where there is none: files of PyTorch, or of an earlier version of this library.
func parseIdentity(m map[string]string) (id Identity, ok bool, err error) {
	if m[metaNetwork] == "" || m[metaActivation] == "" {
		return id, false, nil
	}
	id = Identity{Network: m[metaNetwork], Activation: m[metaActivation], Levels: m[metaLevels], Rule: m[metaRule]}
	bad := func(key string) (Identity, bool, error) {
		return Identity{}, false, errors.Errorf("%s is %.100q", key, m[key])
	}
	for key, to := range map[string]*[]int{metaInput: &id.Input, metaWidths: &id.Widths} {
		if key == metaWidths && m[key] == "" {
			continue // a network of Define may do without
		}
		for _, s := range strings.Split(m[key], ",") {
			v, err := strconv.Atoi(s)
			if err != nil || v < 1 || v > maxSize {
				return bad(key)
			}
			*to = append(*to, v)
		}
	}
	pixels := 1
	for _, d := range id.Input {
		if pixels *= d; pixels > maxSize {
			return bad(metaInput)
		}
	}
	if id.Classes, err = strconv.Atoi(m[metaClasses]); err != nil || id.Classes < 1 || id.Classes > maxSize {
		return bad(metaClasses)
	}
	if id.BatchNorm, err = strconv.ParseBool(m[metaBatchNorm]); err != nil {
		return bad(metaBatchNorm)
	}
	if s := m[metaFixedPoint]; s != "" {
		id.FixedPoint = new(ops.Round)
		if _, err := fmt.Sscanf(s, "Round{Unit: %g, Max: %g}", &id.FixedPoint.Unit, &id.FixedPoint.Max); err != nil || id.FixedPoint.String() != s {
			return bad(metaFixedPoint)
		}
	}
	if s := m[metaOrder]; s != "" {
		var known bool
		if id.Order, known = orderByName(s); !known || id.Order == PaperOrder {
			return bad(metaOrder)
		}
	}
	if id.Weights = m[metaWeights]; id.Weights != "" {
		id.WeightsRule = m[metaWeightsRule]
		for key, to := range map[string]*bool{metaAllWeights: &id.AllWeights, metaQuantised: &id.Quantised} {
			if *to, err = strconv.ParseBool(m[key]); err != nil {
				return bad(key)
			}
		}
	}
	return id, true, nil
}

// differences says what a file that was written for of belongs to that id does not: what its tensors show, too, or only what they do not.
func (id *Identity) differences(of *Identity, all bool) string {
	if (id.FixedPoint == nil) != (of.FixedPoint == nil) {
		if of.FixedPoint == nil {
			return "the network is in fixed point, the file's is not: load it into the network that Net.FixedPoint was called on, and call that again"
		}
		return "the file's network is in fixed point: load it into the Net.FixedPoint of this, with the same options, or into what ReadIdentity and Identity.New make of the file"
	}
	if id.Weights != "" && id.Weights == of.Weights && id.Quantised != of.Quantised {
		if id.Quantised {
			return "the network's weights are quantised, the file's are latent: load it into the network that Net.WithoutLatent was called on, and call that again"
		}
		return "the file's weights are quantised, and what they were made of is not in it: load it into the Net.WithoutLatent of this, or into what ReadIdentity and Identity.New make of the file"
	}
	var out []string
	own, file := id.metadata(), of.metadata()
	if id.Order != of.Order {
		own[metaOrder], file[metaOrder] = id.Order.String(), of.Order.String()
	}
	keys := []string{metaNetwork, metaOrder, metaActivation, metaFixedPoint, metaWeights, metaAllWeights}
	if all {
		keys = append(keys, metaBatchNorm, metaWidths, metaClasses, metaInput)
	}
	for _, k := range keys {
		if own[k] != file[k] {
			out = append(out, fmt.Sprintf("%s is %s, here %s", strings.TrimPrefix(k, "ftprop."), cmp.Or(file[k], "none"), cmp.Or(own[k], "none")))
		}
	}
	return strings.Join(out, "; ")
}

// maxHeader is the bytes of a header that ReadIdentity, which knows no network, reads: those of ResNet34 are 30 000, and each takes thirty
// times as much while it is decoded.
const maxHeader = 1 << 18

// checkHeader returns an error if a file's first 8 bytes announce a header of more than most bytes.
func checkHeader(b []byte, most int64) error {
	if len(b) >= 8 {
		if n := binary.LittleEndian.Uint64(b); n > uint64(most) {
			return errors.Errorf("not a whole safetensors file, or of another network: its header is %d bytes long, want %d at most", n, most)
		}
	}
	return nil
}

// ReadIdentity reads a file that Save has written, and returns what its weights belong to. ok is false, without an error, for safetensors
// files that do not say it: PyTorch's, and those of earlier versions.
//
//	id, ok, err := models.ReadIdentity(file)
//	net, err := id.New(tensor.Float32, 1)
//	err = net.Load(again)
func ReadIdentity(r io.Reader) (id Identity, ok bool, err error) {
	defer func() { err = errors.WithMessage(err, "models: identity of weights") }()
	const not = "not a whole safetensors file"
	var size [8]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return id, false, errors.Wrap(err, not)
	}
	if err := checkHeader(size[:], maxHeader); err != nil {
		return id, false, err
	}
	b := make([]byte, binary.LittleEndian.Uint64(size[:]))
	if _, err := io.ReadFull(r, b); err != nil {
		return id, false, errors.Wrap(err, not)
	}
	var header safetensors.Metadata
	if err := json.Unmarshal(b, &header); err != nil {
		return id, false, errors.Wrap(err, not)
	}
	// The weights themselves are of no interest here, but that they are there.
	have, err := io.Copy(io.Discard, r)
	if err != nil {
		return id, false, errors.WithStack(err)
	}
	var want uint64
	for _, t := range header.Tensors() {
		want = max(want, t.DataOffsets[1])
	}
	if uint64(have) != want {
		return id, false, errors.Errorf("%s: %d bytes behind its header, which announces %d", not, have, want)
	}
	id, ok, err = parseIdentity(header.Metadata())
	// The header cannot ask for more memory than the file has, itself included.
	id.elements = int(min((int64(len(size)+len(b))+have)/4, math.MaxInt))
	return id, ok, err
}

// constructors are the networks by name.
func constructors() map[string]func(*gorgonia.Node, Config) (*Net, error) {
	return map[string]func(*gorgonia.Node, Config) (*Net, error){
		"MLP": MLP, "ConvNet4": ConvNet4, "ConvNet8": ConvNet8, "AlexNet": AlexNet,
		"ResNet18": ResNet18, "ResNet34": ResNet34, "ResNet18ImageNet": ResNet18ImageNet,
	}
}

// New builds the network that the weights belong to, for evaluation, in a graph of its own and with a batch size: Load fills it. Fields may
// be changed before, as Input for a ResNet on images of another size. An activation of several operations, or of others than this library's,
// is an error: such a network is built by its constructor. A rule that ops.RuleNames does not have becomes the default.
func (id Identity) New(dt tensor.Dtype, batch int) (*Net, error) {
	net, err := id.build(dt, batch)
	return net, errors.WithMessagef(err, "models: a network as %s", id.Network)
}

func (id *Identity) build(dt tensor.Dtype, batch int) (*Net, error) {
	build, ok := constructors()[id.Network]
	if !ok {
		return nil, errors.New("there is none of this name in the package: build it as it was, by Define or Wrap, and Load the weights")
	}
	if dt != tensor.Float32 && dt != tensor.Float64 {
		return nil, errors.Errorf("of %v, want float32 or float64", dt)
	}
	act, err := id.activation()
	if err != nil {
		return nil, err
	}
	weights, err := id.quantiser()
	if err != nil {
		return nil, err
	}
	shape := append([]int{1}, id.Input...)
	x := gorgonia.NewTensor(gorgonia.NewGraph(), dt, len(shape), gorgonia.WithName("x"), gorgonia.WithShape(shape...))
	net, err := build(x, Config{Classes: id.Classes, Act: act, BatchNorm: id.BatchNorm, Widths: id.Widths, Weights: weights, AllWeights: id.AllWeights, Order: id.Order, elements: id.elements})
	if err != nil {
		return nil, err
	}
	net.withLevels = id.Quantised && weights != nil
	if id.FixedPoint != nil {
		a, ok := id.threshold()
		if !ok {
			return nil, errors.Errorf("in fixed point with activation %q", id.Activation)
		}
		net.fixed = &fixedPoint{input: *id.FixedPoint, acts: slices.Repeat([]ops.Activation{a}, len(net.Hidden))}
	}
	return net.At(batch)
}
