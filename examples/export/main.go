// Command export writes trained weights as an ONNX model, and prints what the network costs to run.
//
//	go run ./examples/train -recipe digits
//	go run ./examples/export -eval train-out/best.safetensors -out digits.onnx
//
// The file says what network its weights belong to. Files of PyTorch do not: they need the network's flags, which are those of
// examples/train, -classes and -shape. The model takes normalised images, as
// training does: "input", float32 (N, C, H, W); it returns "logits", float32 (N, classes).
//
// With -integer it writes a network of threshold units in integers, and prints its accuracy beside that of the weights, on the test
// images of a data set that is named as for examples/train:
//
//	go run ./examples/export -eval train-out/best.safetensors -integer -out integer.onnx
//
// That model takes pixels, of uint8: the set's normalisation is in it.
//
// With -without-latent it also writes the weights that are deployed, where those of -eval are latent ones that a quantiser goes over:
//
//	go run ./examples/export -eval train-out/best.safetensors -out binary.onnx -without-latent binary.safetensors
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/ftprop/ftprop/deploy"
	"github.com/ftprop/ftprop/examples/command"
	"github.com/ftprop/ftprop/examples/setup"
	"github.com/ftprop/ftprop/internal/atomicfile"
	"github.com/ftprop/ftprop/internal/regular"
	"github.com/ftprop/ftprop/models"
	"github.com/pkg/errors"
)

func main() { command.Short("export", run) }

// forms are the values of -qonnx.
func forms() map[string]deploy.ThresholdForm {
	return map[string]deploy.ThresholdForm{"": deploy.StandardOperators, "multithreshold": deploy.MultiThreshold, "quant": deploy.Quant}
}

// run is the program: the table goes to out, usage to log.
func run(args []string, out, log io.Writer) error {
	var (
		network setup.Network
		fixed   setup.FixedPoint
		f       = flag.NewFlagSet("export", flag.ContinueOnError)
		weights = f.String("eval", "", "`file` with the weights (safetensors), as examples/train and PyTorch write them")
		classes = f.Int("classes", 10, "number of `classes`")
		shape   = f.String("shape", "1,28,28", "channels, height and width of the images, as `C,H,W`")
		model   = f.String("out", "model.onnx", "`file` to write")
		qonnx   = f.String("qonnx", "", "write the thresholds as QONNX has them: `form` multithreshold or quant (default standard ONNX)")
		hidden  = f.Bool("activations", false, "let the model return the activations of the hidden layers as well")
		signs   = f.String("sign-weights", "", "`names` of parameters, separated by commas, that the table counts as signs")
		bare    = f.String("without-latent", "", "`file` for the quantised weights in place of the latent ones (safetensors), of networks with -weights")
		integer integers
	)
	network.Flags(f)
	fixed.Flags(f)
	integer.flags(f)
	if err := command.Parse(f, args, log); err != nil {
		return err
	}
	given := setup.Given(f)
	if err := integer.check(given); err != nil {
		return err
	}
	if err := command.Check(command.Count{Flag: "classes", N: *classes, Least: 1, Most: 1 << 16}); err != nil {
		return err
	}
	form, ok := forms()[*qonnx]
	if !ok {
		return errors.Errorf("-qonnx %q: want multithreshold or quant", *qonnx)
	}
	if *weights == "" {
		return errors.New("-eval: want the file with the weights")
	}
	chw, err := setup.Numbers("shape", *shape)
	if err != nil {
		return err
	}
	if len(chw) != 3 {
		return errors.Errorf("-shape %q: want three numbers C,H,W", *shape)
	}
	if n := chw[0] * chw[1] * chw[2]; n > setup.MostValues {
		return errors.Errorf("-shape %q: images of %d values, want at most %d", *shape, n, setup.MostValues)
	}
	if err := atomicfile.Check(*model); err != nil {
		return errors.WithMessage(err, "-out")
	}
	if *bare != "" {
		if err := apart(*bare, *weights, *model); err != nil {
			return errors.WithMessage(err, "-without-latent")
		}
	}
	if _, err := setup.Numbers("hidden", network.Hidden); err != nil {
		return err
	}
	if integer.on {
		return integer.run(context.Background(), *weights, *model, &network, given, out, log)
	}
	net, err := load(*weights, &network, given, setup.Images{Batch: 1, Shape: chw, Classes: *classes})
	if err != nil {
		return errors.WithMessagef(err, "-eval %s", *weights)
	}
	if *bare != "" {
		deployed, err := net.WithoutLatent()
		if err != nil {
			return errors.WithMessage(err, "-without-latent")
		}
		if err := atomicfile.Write(*bare, deployed.Save); err != nil {
			return errors.WithMessage(err, "-without-latent")
		}
	}
	if net, err = fixed.Apply(net); err != nil {
		return errors.WithMessage(err, "-fixed-point")
	}
	var names []string
	if *signs != "" {
		names = strings.Split(*signs, ",")
	}
	summary, err := net.Summary(names...)
	if err != nil {
		return err
	}
	if err := atomicfile.Write(*model, func(w io.Writer) error {
		return net.ExportONNX(w, deploy.ONNXOptions{Thresholds: form, Hidden: *hidden})
	}); err != nil {
		return err
	}
	if _, err := summary.WriteTo(out); err != nil {
		return err
	}
	if *bare != "" {
		fmt.Fprintf(out, "Wrote %s: weights as they are deployed.\n", *bare)
	}
	_, err = fmt.Fprintf(out, "Wrote %s: opset %d, %q (N%s) to %q.\n", *model, deploy.ONNXOpset, models.ONNXInput, sizes(net), models.ONNXOutput)
	return err
}

// apart returns an error unless a file can be written that is none of others.
func apart(path string, others ...string) error {
	if err := atomicfile.Check(path); err != nil {
		return err
	}
	info, err := os.Stat(path)
	for _, other := range others {
		same := filepath.Clean(path) == filepath.Clean(other)
		if of, otherErr := os.Stat(other); err == nil && otherErr == nil {
			same = same || os.SameFile(info, of)
		}
		if same {
			return errors.Errorf("%s is the file of another flag", path)
		}
	}
	return nil
}

// sizes is the shape of a sample.
func sizes(net *models.Net) (s string) {
	for _, d := range net.Input.Shape()[1:] {
		s += fmt.Sprintf(",%d", d)
	}
	return s
}

func load(file string, network *setup.Network, given map[string]bool, images setup.Images) (*models.Net, error) {
	f, _, err := regular.Open(file, setup.MostBytes)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return network.Load(f, given, images)
}
