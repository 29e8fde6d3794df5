package solvers

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
)

// nameless is what the Name of a node is that has been given none: a description of its missing operation.
const nameless = "%!s(<nil>)()"

// nameOf returns a parameter's name, "" for one that has none.
func nameOf(n gorgonia.ValueGrad) string {
	nm, ok := n.(gorgonia.Namer)
	if !ok {
		return ""
	}
	if name := nm.Name(); name != nameless {
		return name
	}
	return ""
}

// places finds parameters by their names.
type places struct {
	at map[string]int // places in the model of the names that are looked for, -1 until they are found
}

// want starts a search for names.
func (p *places) want(names []string) error {
	p.begin(len(names))
	for _, name := range names {
		if _, twice := p.at[name]; twice {
			return errors.Errorf("Names has %q twice", name)
		}
		p.at[name] = -1
	}
	return nil
}

// wantAll starts a search for the keys of a map.
func (p *places) wantAll(names map[string]int) {
	p.begin(len(names))
	for name := range names {
		p.at[name] = -1
	}
}

func (p *places) begin(n int) {
	if p.at == nil {
		p.at = make(map[string]int, n)
	}
	clear(p.at)
}

// find looks for the names in a model. Each must be there, once, and every parameter must have a name.
func (p *places) find(model []gorgonia.ValueGrad) error {
	for i, n := range model {
		name := nameOf(n)
		if name == "" {
			return errors.Errorf("%s has no name, and Names needs one of each", describe(i, n))
		}
		j, wanted := p.at[name]
		if !wanted {
			continue
		}
		if j >= 0 {
			return errors.Errorf("the parameters %d and %d are both called %q", j, i, name)
		}
		p.at[name] = i
	}
	for _, i := range p.at {
		if i < 0 {
			return p.unknown(model)
		}
	}
	return nil
}

// unknown is the error for the names that no parameter has.
func (p *places) unknown(model []gorgonia.ValueGrad) error {
	var missing, have []string
	for name, i := range p.at {
		if i < 0 {
			missing = append(missing, fmt.Sprintf("%q", name))
		}
	}
	const most = 50
	for _, n := range model[:min(len(model), most)] {
		have = append(have, fmt.Sprintf("%q", nameOf(n)))
	}
	if len(model) > most {
		have = append(have, "...")
	}
	slices.Sort(missing)
	return errors.Errorf("no parameter is called %s: there are %s", strings.Join(missing, ", "), strings.Join(have, ", "))
}
