// Package experiment compares ways of training the same network: threshold activations with several rules, weights of several levels, and
// full-precision baselines. The command examples/compare is a front for it. All training is package train's.
package experiment

import (
	"sync"

	"github.com/ftprop/ftprop/comm"
	"github.com/ftprop/ftprop/train"
	"github.com/pkg/errors"
)

// Config is what is compared.
type Config struct {
	Methods  []Method
	Seeds    int // every method is run with so many seeds
	First    int // the first of them; 0 means 1
	Workers  int // how many runs go on at a time; the results do not depend on it
	Training Training
	Store    *Store // where runs are kept and taken from; nil means nowhere
	// Comm connects the ranks that compare together, each with such a Config; nil means that there is one. Workers is then for each. Ranks
	// above 0 have a Store with that number, in the same folder: a rank that goes on with a run may be another than the one that began it.
	Comm comm.Comm

	building *sync.Mutex // of ranks in one process
}

// Training says how a method is trained.
type Training interface {
	// Config returns what package train is to train: all but Dir. With a Store it has a Setup that tells its training from others. Methods of
	// one seed are compared in pairs: they begin with the same weights, and see the same images in the same order, augmented alike. One goroutine
	// at a time calls it.
	Config(m Method, seed int) (train.Config, error)
}

// Validate returns an error that says which setting is impossible and what would do.
func (c *Config) Validate() error {
	switch {
	case len(c.Methods) == 0:
		return errors.New("experiment: nothing to compare: give at least one activation")
	case c.Seeds < 1 || c.Workers < 1:
		return errors.Errorf("experiment: %d seeds, %d workers: want 1 or more of each", c.Seeds, c.Workers)
	case c.First < 0:
		return errors.Errorf("experiment: seeds from %d on, want 1 or more", c.First)
	case c.Training == nil:
		return errors.New("experiment: Config needs Training")
	}
	for i, m := range c.Methods {
		for _, other := range c.Methods[:i] {
			if m.Group == other.Group && m.Name == other.Name || m.Flags != (Flags{}) && m.Flags == other.Flags {
				return errors.Errorf("experiment: %v is there twice", m)
			}
		}
	}
	return nil
}

// list returns all runs that are asked for, seed by seed, so that a comparison cut short compares like with like.
func (c *Config) list() []*Run {
	var out []*Run
	for i := range c.Seeds {
		for _, m := range c.Methods {
			out = append(out, &Run{Method: m, Seed: max(c.First, 1) + i})
		}
	}
	return out
}

// Missing returns how many runs the Store does not have.
func (c *Config) Missing() int {
	n := 0
	for _, r := range c.list() {
		if c.Store == nil || !c.Store.find(r) {
			n++
		}
	}
	return n
}
