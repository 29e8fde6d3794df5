package loop

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/gob"
	"io"
	"os"
	"slices"

	"github.com/ftprop/ftprop/internal/atomicfile"
	"github.com/ftprop/ftprop/models"
	"github.com/ftprop/ftprop/ops/nn"
	"github.com/ftprop/ftprop/solvers"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
)

// checkpoint is all that training goes on from. On disk it is
//
//	magic, 16 bytes | length of the rest but the sum, uint64 little-endian | gob | SHA-256 of all before
//
// so that a file that was cut short, damaged or is of another program is told from a whole one before anything is
// decoded.
type checkpoint struct {
	Setup   string // what training on must have in common: see Config.Setup
	Network string // name of the network
	Weights []byte // safetensors
	Layers  []layerState
	Solver  solvers.State

	Epoch, Step int // where to go on
	Sum         tally
	Seconds     float64 // spent on the epoch so far
	GradNorm    float64 // of the epoch's last step, if that is done
	History     []Epoch
}

// layerState is what a layer remembers besides its weights: running statistics, exactly, and a dropout's random state.
type layerState struct {
	Mean, Variance []float64
	Dropout        nn.DropoutState
}

const (
	checkpointMagic = "ftprop checkpt 1"
	headerSize      = len(checkpointMagic) + 8
)

// statefulLayers returns the layers of a graph that remember something, in the order in which they were made.
func statefulLayers(g *gorgonia.ExprGraph) []gorgonia.Op {
	all := slices.Clone(g.AllNodes())
	slices.SortFunc(all, func(a, b *gorgonia.Node) int { return int(a.ID() - b.ID()) })
	var ops []gorgonia.Op
	for _, n := range all {
		switch op := n.Op().(type) {
		case *nn.BatchNorm, *nn.Dropout:
			ops = append(ops, op)
		}
	}
	return ops
}

func layerStates(net *models.Net) []layerState {
	var states []layerState
	for _, op := range statefulLayers(net.Input.Graph()) {
		var s layerState
		switch op := op.(type) {
		case *nn.BatchNorm:
			s.Mean, s.Variance = op.Running()
		case *nn.Dropout:
			s.Dropout = op.State()
		}
		states = append(states, s)
	}
	return states
}

func setLayerStates(net *models.Net, states []layerState) error {
	ops := statefulLayers(net.Input.Graph())
	if len(ops) != len(states) {
		return errors.Errorf("it has states of %d layers, the network has %d", len(states), len(ops))
	}
	for i, op := range ops {
		switch op := op.(type) {
		case *nn.BatchNorm:
			if err := op.SetRunning(states[i].Mean, states[i].Variance); err != nil {
				return err
			}
		case *nn.Dropout:
			op.SetState(states[i].Dropout)
		}
	}
	return nil
}

// write writes the checkpoint to a file: until it is whole, the one of that name before stays.
func (c *checkpoint) write(path string) error {
	var buf bytes.Buffer
	buf.WriteString(checkpointMagic)
	buf.Write(make([]byte, 8))
	if err := gob.NewEncoder(&buf).Encode(c); err != nil {
		return errors.Wrap(err, "loop: checkpoint")
	}
	b := buf.Bytes()
	binary.LittleEndian.PutUint64(b[len(checkpointMagic):], uint64(len(b)-headerSize))
	sum := sha256.Sum256(b)
	return atomicfile.Write(path, func(w io.Writer) error {
		if _, err := w.Write(b); err != nil {
			return err
		}
		_, err := w.Write(sum[:])
		return err
	})
}

func readCheckpoint(path string) (*checkpoint, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, errors.Wrap(err, "loop: checkpoint")
	}
	c, err := decodeCheckpoint(b)
	return c, errors.WithMessagef(err, "loop: checkpoint %s", path)
}

func decodeCheckpoint(b []byte) (*checkpoint, error) {
	if len(b) < headerSize || string(b[:len(checkpointMagic)]) != checkpointMagic {
		return nil, errors.Errorf("it does not begin with %q: not a checkpoint of this program", checkpointMagic)
	}
	n := binary.LittleEndian.Uint64(b[len(checkpointMagic):])
	if have := uint64(len(b) - headerSize); have < sha256.Size || n != have-sha256.Size {
		return nil, errors.Errorf("it is %d bytes long and should be %d: cut short, or something was appended", len(b), uint64(headerSize)+n+sha256.Size)
	}
	end := len(b) - sha256.Size
	if sha256.Sum256(b[:end]) != [sha256.Size]byte(b[end:]) {
		return nil, errors.New("its checksum is wrong: the file is damaged")
	}
	c := new(checkpoint)
	if err := gob.NewDecoder(bytes.NewReader(b[headerSize:end])).Decode(c); err != nil {
		return nil, errors.Wrap(err, "it cannot be decoded")
	}
	return c, nil
}
