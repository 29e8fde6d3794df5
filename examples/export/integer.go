package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"github.com/ftprop/ftprop/data"
	"github.com/ftprop/ftprop/deploy"
	"github.com/ftprop/ftprop/examples/command"
	"github.com/ftprop/ftprop/examples/setup"
	"github.com/ftprop/ftprop/infer"
	"github.com/ftprop/ftprop/internal/atomicfile"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/train"
	"github.com/pkg/errors"
)

// integers is what the command line says of a network in integers.
type integers struct {
	on     bool
	bits   int
	images int
	data   setup.Data
}

func (o *integers) flags(f *flag.FlagSet) {
	f.BoolVar(&o.on, "integer", false, "write the network in integers, and measure its accuracy and speed on the test images of -data")
	f.IntVar(&o.bits, "bits", 8, "`bits` of weights, with -integer")
	f.IntVar(&o.images, "images", 0, "use only so many test `images`, with -integer: drawn at random, always the same")
	o.data.Flags(f)
}

// check returns an error for flags that have no meaning beside each other.
func (o *integers) check(given map[string]bool) error {
	if !o.on {
		for _, name := range append(setup.DataFlags(), "bits", "images") {
			if given[name] {
				return errors.Errorf("-%s is for -integer", name)
			}
		}
		return nil
	}
	for _, name := range []string{"fixed-point", "input-max", "input-bits", "qonnx", "activations", "sign-weights", "without-latent"} {
		if given[name] {
			return errors.Errorf("-%s is not for -integer", name)
		}
	}
	for _, name := range []string{"classes", "shape"} {
		if given[name] {
			return errors.Errorf("-%s: with -integer the images of -data say it", name)
		}
	}
	if err := o.data.Check(); err != nil {
		return err
	}
	return command.Check(command.Count{Flag: "bits", N: o.bits, Least: 2, Most: 16}, command.Count{Flag: "images", N: o.images, Least: 0, Most: 100_000_000})
}

// run writes the model and prints what it costs: how many images it gets wrong that the network of the weights does not.
func (o *integers) run(ctx context.Context, weights, model string, network *setup.Network, given map[string]bool, out, log io.Writer) (err error) {
	defer func() { err = setup.Explain(err) }()
	if _, err := os.Stat(weights); err != nil { // before images are fetched and read
		return errors.Wrap(err, "-eval")
	}
	sets, err := o.data.Open(ctx, command.DownloadBar(log))
	if err != nil {
		return err
	}
	defer func() { sets.ReportBad(log) }()
	if o.images > 0 && o.images < sets.Test.N() {
		// Not evenly spaced: some files have their classes in turns.
		if sets.Test, err = data.Subset(sets.Test, data.Permutation(sets.Test.N(), 1)[:o.images]); err != nil {
			return err
		}
	}
	test, err := o.data.Still(sets).Apply(sets.Test)
	if err != nil {
		return err
	}
	c, h, w := test.Shape()
	net, err := load(weights, network, given, setup.Images{Batch: 1, Shape: []int{c, h, w}, Classes: test.NumClasses(), Fixed: true})
	if err != nil {
		return errors.WithMessagef(err, "-eval %s", weights)
	}
	quantised, err := net.Quantise(deploy.QuantiseOptions{Bits: o.bits, Pixels: sets.Pixels()})
	if err != nil {
		return errors.WithMessage(err, "-integer")
	}
	var file bytes.Buffer
	if _, err := quantised.WriteTo(&file); err != nil {
		return err
	}
	if err := atomicfile.Write(model, func(w io.Writer) error {
		_, err := w.Write(file.Bytes())
		return err
	}); err != nil {
		return errors.WithMessage(err, "-out")
	}
	batch := 0 // the evaluator's own
	if h > 64 {
		batch = 25
	}
	e, err := train.NewEvaluator(net, nodes.CrossEntropy, batch)
	if err != nil {
		return err
	}
	defer e.Close()
	before, err := e.Evaluate(ctx, test, 0)
	if err != nil {
		return err
	}
	size := file.Len()
	loaded, err := infer.Load(&file)
	if err != nil {
		return err
	}
	after, err := o.data.Score(ctx, loaded, sets, 0)
	if err != nil {
		return err
	}
	info, err := os.Stat(weights)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%v\n", quantised)
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "\tbytes\ttop-1, %%\ttop-5, %%\timages/s\t\n")
	fmt.Fprintf(t, "as trained\t%d\t%.2f\t%.2f\t\t\n", info.Size(), before.Top1, before.Top5)
	fmt.Fprintf(t, "in integers, %d bits\t%d\t%.2f\t%.2f\t%.0f\t\n", o.bits, size, after.Top1, after.Top5, after.PerSecond)
	if err := t.Flush(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "On %d test images of %s. Wrote %s: opset %d, \"input\" (N,%d,%d,%d) of uint8, pixels from 0 to %d, to \"logits\".\n",
		after.Images, o.data.Name, model, deploy.ONNXOpset, c, h, w, sets.White)
	return err
}
