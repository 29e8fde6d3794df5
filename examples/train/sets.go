package main

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ftprop/ftprop/examples/data"
	"github.com/pkg/errors"
)

// sets is the images to train and test on, as they are read: neither normalised nor augmented.
type sets struct {
	train, test data.Source
	norm        data.Normalization
	folders     []*data.Folder // of image files, whose faults show when they are read
}

// reportBad says how many image files could not be used.
func (s sets) reportBad(log io.Writer) {
	for _, f := range s.folders {
		if n := f.Bad(); n > 0 {
			names := f.BadFiles(3)
			more := ""
			if n > len(names) {
				more = ", ..."
			}
			fmt.Fprintf(log, "%d files are no images, others took their place: %s%s\n", n, strings.Join(names, ", "), more)
		}
	}
}

// debianFashion is where Debian's package dataset-fashion-mnist has its files.
const debianFashion = "/usr/share/datasets/fashion-mnist"

// folder is where the data set is.
func (o *options) folder() string {
	if o.dir != "" {
		return o.dir
	}
	dir := filepath.Join("data", o.data)
	if o.data == "fashion-mnist" && !o.download {
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			if _, err := os.Stat(debianFashion); err == nil {
				return debianFashion
			}
		}
	}
	return dir
}

// open reads the data set, after it has fetched it if asked.
func (o *options) open(ctx context.Context, progress data.Progress) (s sets, err error) {
	dir := o.folder()
	if o.download {
		if err := data.Download(ctx, o.data, dir, progress); err != nil {
			return s, err
		}
	}
	var train, test *data.Images
	switch o.data {
	case "digits":
		all, err := data.Digits()
		if err != nil {
			return s, err
		}
		s.train, s.test, err = data.Split(all, 0.2, 1)
		s.norm = data.Normalization{Mean: []float32{0.305}, Std: []float32{0.376}}
		return s, err
	case "mnist":
		s.norm = data.NormMNIST()
		train, test, err = data.MNISTImages(dir)
	case "fashion-mnist":
		s.norm = data.NormMNIST() // as the reference does, to which Fashion-MNIST is just another MNIST
		train, test, err = data.MNISTImages(dir)
	case "cifar10":
		s.norm = data.NormCIFAR10()
		train, test, err = data.CIFAR10(dir)
	case "cifar100":
		s.norm = data.NormCIFAR100()
		train, test, err = data.CIFAR100(dir)
	case "svhn":
		s.norm = data.NormSVHN()
		train, test, err = data.SVHN(dir, data.SVHNOptions{Size: o.size})
	case "folder":
		s.norm = data.NormImageNet()
		how := data.FolderOptions{Crop: o.crop, Resize: o.crop * 256 / 224, MaxPixels: o.maxPixels}
		train, err := data.ImageFolder(filepath.Join(dir, "train"), how)
		if err != nil {
			return s, err
		}
		how.Classes = train.Classes()
		test, err := data.ImageFolder(filepath.Join(dir, "val"), how)
		if err != nil {
			return s, err
		}
		s.train, s.test, s.folders = train, test, []*data.Folder{train, test}
		return s, nil
	default:
		return s, errors.Errorf("-data %q: want digits, mnist, fashion-mnist, cifar10, cifar100, svhn or folder", o.data)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return s, errors.WithMessagef(err, "%s is not in %s: name its folder with -dir, or fetch it with -download", o.data, dir)
	}
	s.train, s.test = train, test
	return s, err
}

// parts are the sources that training takes: normalised, the first of them augmented if asked.
type parts struct{ train, validation, test data.Source }

func (o *options) parts(s sets) (p parts, err error) {
	p.train, p.test = s.train, s.test
	if o.limit > 0 && o.limit < p.train.N() {
		if p.train, err = data.Subset(p.train, data.Spread(o.limit, p.train.N())); err != nil {
			return p, err
		}
	}
	if o.validation > 0 {
		if p.train, p.validation, err = data.Split(p.train, o.validation, o.seed); err != nil {
			return p, err
		}
	}
	still := data.Transform{Channels: o.channels, Norm: s.norm}
	if o.data != "svhn" && o.data != "folder" {
		still.Height, still.Width = o.size, o.size
	}
	moving := still
	if o.augment {
		moving.Augment = data.AugmentCIFAR()
	}
	if p.train, err = moving.Apply(p.train); err != nil {
		return p, err
	}
	if p.test, err = still.Apply(p.test); err != nil {
		return p, err
	}
	if p.validation != nil {
		p.validation, err = still.Apply(p.validation)
	}
	return p, err
}
