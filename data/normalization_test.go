package data

import (
	"slices"
	"testing"
)

// Bytes through the tables are, bit for bit, what the long way gives.
func TestNormalizationIsSetNormalize(t *testing.T) {
	m := gradient(t, 3, 3, 9, 7, 2)
	for _, n := range []Normalization{NormCIFAR10(), NormCIFAR100(), NormSVHN(), NormImageNet()} {
		out, err := Transform{Norm: n}.Apply(m)
		if err != nil {
			t.Fatal(err)
		}
		s := m.Set()
		if err := s.Normalize(n.Mean, n.Std); err != nil {
			t.Fatal(err)
		}
		for i := range m.N() {
			if !slices.Equal(sample(t, out, i, nil), s.Image(i)) {
				t.Fatalf("%+v: image %d differs", n, i)
			}
		}
	}
	for _, n := range []Normalization{NormMNIST(), NormFashionMNIST(), {}} {
		if err := n.check(1); err != nil {
			t.Error(err)
		}
		if err := n.check(3); err != nil { // repeated channels
			t.Error(err)
		}
	}
	NormMNIST().Mean[0] = 7
	if NormMNIST().Mean[0] != 0.1307 {
		t.Error("a caller can alter the values for others")
	}
}
