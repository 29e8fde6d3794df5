package setup

import (
	"github.com/ftprop/ftprop/data"
	"github.com/ftprop/ftprop/deploy"
	"github.com/ftprop/ftprop/infer"
)

// Pixels is a normalisation as Quantise takes it, for pixels from 0 to white: what was trained on is (p/white - mean)/std, which
// with p/255 for p/white has mean and standard deviation times white/255.
func Pixels(n data.Normalization, white int) *deploy.PixelInput {
	p := &deploy.PixelInput{}
	scale := float64(white) / 255
	for _, m := range n.Mean {
		p.Mean = append(p.Mean, float64(m)*scale)
	}
	for _, s := range n.Std {
		p.Std = append(p.Std, float64(s)*scale)
	}
	return p
}

// TakesPixels says whether a network takes uint8, not real numbers.
func TakesPixels(net *infer.Network) bool {
	return net.Run(nil, nil) == nil // of no images; on real numbers it is an error all the same
}
