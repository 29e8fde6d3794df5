package data

import "github.com/pkg/errors"

// Normalization replaces each pixel x of channel c, in [0, 1], by
// (x - Mean[c]) / Std[c]. One value stands for all channels; the zero value leaves
// pixels as they are.
type Normalization struct {
	Mean, Std []float32
}

// NormMNIST is that of MNIST's training images, 0.1307 and 0.3081.
func NormMNIST() Normalization { return Normalization{[]float32{0.1307}, []float32{0.3081}} }

// NormFashionMNIST is that of Fashion-MNIST's training images, 0.2860 and 0.3530
// (a test recomputes them where Debian's package is installed).
func NormFashionMNIST() Normalization { return Normalization{[]float32{0.2860}, []float32{0.3530}} }

// NormCIFAR10 is that of CIFAR-10's training images, as the paper's code has it.
func NormCIFAR10() Normalization {
	return Normalization{
		[]float32{0.49139968, 0.48215841, 0.44653091},
		[]float32{0.24703223, 0.24348513, 0.26158784},
	}
}

// NormCIFAR100 is that of CIFAR-100's training images, the values that
// github.com/kuangliu/pytorch-cifar issue 19 collects. (The paper's code has none
// of its own: its cifar100 loads CIFAR-10.)
func NormCIFAR100() Normalization {
	return Normalization{
		[]float32{0.50707516, 0.48654887, 0.44091784},
		[]float32{0.26733429, 0.25643846, 0.27615047},
	}
}

// NormSVHN is that of SVHN's cropped digits, as the paper's code has it.
func NormSVHN() Normalization {
	return Normalization{[]float32{0.4309, 0.4302, 0.4463}, []float32{0.1965, 0.1983, 0.1994}}
}

// NormImageNet is the one customary for ImageNet (torchvision's, and that of the
// paper's code).
func NormImageNet() Normalization {
	return Normalization{[]float32{0.485, 0.456, 0.406}, []float32{0.229, 0.224, 0.225}}
}

// isZero says whether pixels stay as they are.
func (n Normalization) isZero() bool { return len(n.Mean) == 0 && len(n.Std) == 0 }

// check returns an error unless n fits images of that many channels.
func (n Normalization) check(channels int) error {
	if n.isZero() {
		return nil
	}
	if len(n.Mean) != len(n.Std) || len(n.Mean) != 1 && len(n.Mean) != channels {
		return errors.Errorf("%d means and %d standard deviations, want one each for %d channels, or one of each for all",
			len(n.Mean), len(n.Std), channels)
	}
	for c := range n.Mean {
		if !finite(n.Mean[c]) {
			return errors.Errorf("mean of channel %d is %v, want a finite value", c, n.Mean[c])
		}
		if !(n.Std[c] > 0) || !finite(n.Std[c]) {
			return errors.Errorf("standard deviation of channel %d is %v, want a positive finite value", c, n.Std[c])
		}
	}
	return nil
}

// of returns the mean and standard deviation of a channel.
func (n Normalization) of(channel int) (mean, std float32) {
	switch len(n.Mean) {
	case 0:
		return 0, 1
	case 1:
		return n.Mean[0], n.Std[0]
	}
	return n.Mean[channel], n.Std[channel]
}

// tables returns, for each channel, what becomes of each byte: the same bits as
// scaling to [0, 1] and [Set.Normalize] give.
func (n Normalization) tables(channels int) [][256]float32 {
	t := make([][256]float32, channels)
	for c := range t {
		mean, std := n.of(c)
		for p := range t[c] {
			t[c][p] = (float32(p)/255 - mean) / std
		}
	}
	return t
}
