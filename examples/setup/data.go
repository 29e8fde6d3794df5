package setup

import (
	"context"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/ftprop/ftprop/data"
	"github.com/ftprop/ftprop/examples/command"
	"github.com/pkg/errors"
)

// Data is a data set as the command line names it. Flags sets the defaults.
type Data struct {
	Name, Dir       string
	Download        bool
	Size, Channels  int
	Crop, MaxPixels int
}

// Flags defines the flags -data, -dir, -download, -size, -channels, -crop and -max-pixels.
func (d *Data) Flags(f *flag.FlagSet) {
	f.StringVar(&d.Name, "data", "digits", "data `set`: digits (embedded), mnist, fashion-mnist, cifar10, cifar100, svhn, folder (ImageNet's layout: train and val with a folder a class)")
	f.StringVar(&d.Dir, "dir", "", "`folder` of the data set (default data/ and the set's name)")
	f.BoolVar(&d.Download, "download", false, "fetch the data set into -dir first, if it is not there")
	f.IntVar(&d.Size, "size", 0, "pad images to so many `pixels` on each side, for svhn resize to them (default the set's own size; svhn 40)")
	f.IntVar(&d.Channels, "channels", 0, "repeat the channel of grey images so many `times`")
	f.IntVar(&d.Crop, "crop", 224, "side of the crops of a folder of images, in `pixels`")
	f.IntVar(&d.MaxPixels, "max-pixels", 1<<20, fmt.Sprintf("most `pixels` of an image of a folder, as it is in its file: each takes up to 24 bytes of every goroutine that reads (ImageNet, whose recipes say so: %d)", data.ImageNetMaxPixels))
}

// DataFlags returns the names of the flags that Data defines.
func DataFlags() []string {
	return []string{"data", "dir", "download", "size", "channels", "crop", "max-pixels"}
}

// Check returns an error for numbers beyond any use.
func (d *Data) Check() error {
	return command.Check(
		command.Count{Flag: "size", N: d.Size, Least: 0, Most: 1024}, command.Count{Flag: "crop", N: d.Crop, Least: 1, Most: 2048},
		command.Count{Flag: "max-pixels", N: d.MaxPixels, Least: 1, Most: 1 << 29}, command.Count{Flag: "channels", N: d.Channels, Least: 0, Most: 1024},
	)
}

// Explain names the flag of an error that comes of a flag's value when images are read.
func Explain(err error) error {
	if errors.Is(err, data.ErrMaxPixels) {
		return errors.WithMessage(err, "-max-pixels")
	}
	return err
}

// Sets is the images to train and test on, as they are read: neither normalised nor augmented.
type Sets struct {
	Train, Test data.Source
	Norm        data.Normalization
	White       int            // of images whose pixels are whole numbers: the largest
	folders     []*data.Folder // of image files, whose faults show when they are read
}

// ReportBad says how many image files could not be used.
func (s Sets) ReportBad(log io.Writer) {
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
func (d *Data) folder() string {
	if d.Dir != "" {
		return d.Dir
	}
	dir := filepath.Join("data", d.Name)
	if d.Name == "fashion-mnist" && !d.Download {
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			if _, err := os.Stat(debianFashion); err == nil {
				return debianFashion
			}
		}
	}
	return dir
}

// Open reads the data set, after it has fetched it if asked.
func (d *Data) Open(ctx context.Context, progress data.Progress) (s Sets, err error) {
	dir := d.folder()
	s.White = math.MaxUint8
	if d.Download {
		if err := data.Download(ctx, d.Name, dir, progress); err != nil {
			return s, err
		}
	}
	var train, test *data.Images
	switch d.Name {
	case "digits":
		all, err := data.Digits()
		if err != nil {
			return s, err
		}
		s.Train, s.Test, err = data.Split(all, 0.2, 1)
		s.Norm = data.Normalization{Mean: []float32{0.30460602}, Std: []float32{0.37580502}} // of the images to train on, by data.Standardize
		s.White = 16
		return s, err
	case "mnist":
		s.Norm = data.NormMNIST()
		train, test, err = data.MNISTImages(dir)
	case "fashion-mnist":
		s.Norm = data.NormMNIST() // as the reference does, to which Fashion-MNIST is just another MNIST
		train, test, err = data.MNISTImages(dir)
	case "cifar10":
		s.Norm = data.NormCIFAR10()
		train, test, err = data.CIFAR10(dir)
	case "cifar100":
		s.Norm = data.NormCIFAR100()
		train, test, err = data.CIFAR100(dir)
	case "svhn":
		s.Norm = data.NormSVHN()
		train, test, err = data.SVHN(dir, data.SVHNOptions{Size: d.Size})
	case "folder":
		s.Norm = data.NormImageNet()
		how := data.FolderOptions{Crop: d.Crop, Resize: d.Crop * 256 / 224, MaxPixels: d.MaxPixels}
		train, err := data.ImageFolder(filepath.Join(dir, "train"), how)
		if err != nil {
			return s, err
		}
		how.Classes = train.Classes()
		test, err := data.ImageFolder(filepath.Join(dir, "val"), how)
		if err != nil {
			return s, err
		}
		s.Train, s.Test, s.folders = train, test, []*data.Folder{train, test}
		return s, nil
	default:
		return s, errors.Errorf("-data %q: want digits, mnist, fashion-mnist, cifar10, cifar100, svhn or folder", d.Name)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return s, errors.WithMessagef(err, "%s is not in %s: name its folder with -dir, or fetch it with -download", d.Name, dir)
	}
	s.Train, s.Test = train, test
	return s, err
}

// Still returns what is done to images but for augmentation: padding, repeated channels and the set's normalisation.
func (d *Data) Still(s Sets) data.Transform {
	still := data.Transform{Channels: d.Channels, Norm: s.Norm}
	if d.Name != "svhn" && d.Name != "folder" {
		still.Height, still.Width = d.Size, d.Size
	}
	return still
}
