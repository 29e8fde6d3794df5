package experiment

import "testing"

// Layers of one shape have weights of their own hash, by which Gorgonia tells nodes apart: in it is the name that they were made with.
func TestMiniBatchHashes(t *testing.T) {
	task := Task{In: 3, Widths: []int{3, 3}, Out: 1, N: 4}
	s, params, err := newStepper(task, Rules()[0], newLayers(task, 1), task.N, 1e-2)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	hashes := map[uint32]string{}
	for _, p := range params {
		if other := hashes[p.Hashcode()]; other != "" {
			t.Errorf("%s has the hash of %s", p.Name(), other)
		}
		hashes[p.Hashcode()] = p.Name()
	}
}
