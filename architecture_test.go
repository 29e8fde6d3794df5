package ftprop_test

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
)

const module = "github.com/ftprop/ftprop"

// mayImport is the direction of imports: for each package of the module what it may import of the module, tests apart. A name that ends
// in /... stands for all packages below the folder, and the folder itself; for a package the longest name that fits counts. Rows of
// packages that do not exist yet say where they will be.
var mayImport = map[string][]string{
	".":            nil, // documentation and tests
	"internal/...": {"internal/..."},
	"ops":          {"internal/..."},
	"ops/nn":       {"internal/...", "ops"},
	"ops/opstest":  {"internal/...", "ops"},
	"nodes":        {"internal/...", "ops/..."},
	"comm":         {"internal/..."},
	"mpi":          {"internal/...", "comm"},
	"solvers":      {"internal/...", "comm"},
	"search":       {"internal/..."},
	"infer":        {"internal/..."},
	"data":         {"internal/..."},
	"tensorboard":  {"internal/..."},
	"diagnostics":  {"internal/...", "ops/...", "nodes"},
	"deploy/...":   {"internal/...", "ops/...", "deploy/..."},
	"models":       {"internal/...", "ops/...", "deploy/...", "nodes"},
	"train":        {"internal/...", "ops/...", "deploy/...", "nodes", "models", "solvers", "data", "diagnostics", "tensorboard", "comm"},
	"examples/...": {"..."},
}

// No import of a package outside of examples may lead, however indirectly, to forPrograms, which is for plots, terminals and notebooks;
// nor one of a package in mustNotReach to what is listed there. A path stands for all below it, too.
var (
	forPrograms  = []string{"gonum.org/v1/plot", "github.com/schollz/progressbar", "golang.org/x/term", "github.com/janpfeifer/gonb"}
	mustNotReach = map[string][]string{
		"internal/conv":      {"gorgonia.org"},
		"internal/amx":       {"gorgonia.org"},
		"internal/gemm":      {"gorgonia.org"},
		"internal/intnet":    {"gorgonia.org"},
		"internal/levels":    {"gorgonia.org"},
		"internal/par":       {"gorgonia.org"},
		"internal/separable": {"gorgonia.org"},
		"internal/tile":      {"gorgonia.org"},
		"internal/turn":      {"gorgonia.org"},
		"internal/vec":       {"gorgonia.org"},
		"internal/winograd":  {"gorgonia.org"},
		"comm":               {"gorgonia.org"},
		"mpi":                {"gorgonia.org"},
		"infer":              {"gorgonia.org"},
		"tensorboard":        {"gorgonia.org"},
	}
)

func TestImportDirections(t *testing.T) {
	// The imports of all packages of the module and of all that they lead to. Nothing is downloaded for it: what programs import may
	// be missing (-e).
	cmd := exec.Command("go", "list", "-e", "-deps", "-f", `{{if not .Standard}}{{.ImportPath}} {{join .Imports " "}}{{end}}`, "./...")
	cmd.Env = append(os.Environ(), "GOPROXY=off", "GOFLAGS=-mod=readonly", "GOWORK=off")
	var diagnosis strings.Builder
	cmd.Stderr = &diagnosis
	list, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &diagnosis)
	}
	graph := map[string][]string{}
	for line := range strings.Lines(string(list)) {
		if f := strings.Fields(line); len(f) > 0 {
			graph[f[0]] = f[1:]
		}
	}
	if len(graph[module+"/nodes"]) == 0 || len(graph["gorgonia.org/gorgonia"]) == 0 {
		t.Fatalf("%d packages, and no imports of nodes or of Gorgonia: the test has no force", len(graph))
	}
	for _, v := range violations(graph) {
		t.Error(v)
	}
}

// violations says which packages of a graph of imports are in no row, and which imports go the wrong way.
func violations(graph map[string][]string) (out []string) {
	for path, imports := range graph {
		pkg, ours := inModule(path)
		if !ours {
			continue
		}
		row := ""
		for name := range mayImport {
			if fits(name, pkg) && len(name) > len(row) {
				row = name
			}
		}
		if row == "" {
			out = append(out, fmt.Sprintf("%s is in no row of mayImport", pkg))
			continue
		}
		for _, i := range imports {
			if to, ours := inModule(i); ours && !slices.ContainsFunc(mayImport[row], func(name string) bool { return fits(name, to) }) {
				out = append(out, fmt.Sprintf("%s imports %s: may import %v", pkg, to, mayImport[row]))
			}
		}
		forbidden := mustNotReach[pkg]
		if !fits("examples/...", pkg) {
			forbidden = append(slices.Clone(forbidden), forPrograms...)
		}
		for _, folder := range forbidden {
			if way := wayTo(graph, path, folder, map[string]bool{}); way != nil {
				out = append(out, fmt.Sprintf("%s must not need %s: %s", pkg, folder, strings.Join(way, " imports ")))
			}
		}
	}
	slices.Sort(out)
	return out
}

// inModule returns a package's name in this module, and whether it is one.
func inModule(path string) (pkg string, ours bool) {
	if path == module {
		return ".", true
	}
	return strings.CutPrefix(path, module+"/")
}

// fits reports whether a name of mayImport stands for a package.
func fits(name, pkg string) bool {
	folder, all := strings.CutSuffix(name, "...")
	return name == pkg || all && strings.HasPrefix(pkg+"/", folder)
}

// wayTo returns packages of which each imports the next, from path to one at or below the folder, or nil.
func wayTo(graph map[string][]string, path, folder string, seen map[string]bool) []string {
	if fits(folder+"/...", path) {
		return []string{path}
	}
	if seen[path] {
		return nil
	}
	seen[path] = true
	for _, i := range graph[path] {
		if way := wayTo(graph, i, folder, seen); way != nil {
			return append([]string{path}, way...)
		}
	}
	return nil
}

// Each way to go wrong is found, and nothing else.
func TestImportViolationsAreFound(t *testing.T) {
	for what, c := range map[string]struct {
		pkg     string
		imports []string
		words   []string // of the violation, nil for none
	}{
		"upwards":                {"ops", []string{"internal/vec"}, nil},
		"a folder and itself":    {"models", []string{"deploy", "deploy/onnx", "ops", "ops/nn"}, nil},
		"anything, in examples":  {"examples/train", []string{"models", "data", "gonum.org/v1/plot/vg"}, nil},
		"a library like another": {"ops", []string{"gonum.org/v1/plotter"}, nil},
		"downwards":              {"ops", []string{"nodes"}, []string{"ops imports nodes"}},
		"sideways":               {"search", []string{"solvers"}, []string{"search imports solvers"}},
		"sideways, back":         {"solvers", []string{"search"}, []string{"solvers imports search"}},
		"deployment knows ops":   {"deploy/onnx", []string{"models"}, []string{"deploy/onnx imports models"}},
		"into examples":          {"train", []string{"examples/pictures"}, []string{"train imports examples/pictures"}},
		"the root":               {"nodes", []string{"."}, []string{"nodes imports ."}},
		"a new package":          {"quantum", nil, []string{"quantum is in no row"}},
		"a new package below":    {"ops/next", nil, []string{"ops/next is in no row"}},
		"plots":                  {"train", []string{"gonum.org/v1/plot"}, []string{"train must not need gonum.org/v1/plot"}},
		"plots, indirectly":      {"models", []string{"example.org/charts"}, []string{"models must not need gonum.org/v1/plot", "imports example.org/charts imports gonum.org/v1/plot/vg"}},
		"Gorgonia in a kernel":   {"internal/levels", []string{"internal/opkit"}, []string{"internal/levels must not need gorgonia.org"}},
		"Gorgonia in infer":      {"infer", []string{"gorgonia.org/tensor"}, []string{"infer must not need gorgonia.org"}},
	} {
		full := func(pkg string) string {
			switch {
			case pkg == ".":
				return module
			case strings.Contains(strings.SplitN(pkg, "/", 2)[0], "."):
				return pkg
			}
			return module + "/" + pkg
		}
		graph := map[string][]string{
			"example.org/charts":           {"gonum.org/v1/plot/vg"},
			module + "/internal/opkit":     {"gorgonia.org/gorgonia"},
			module + "/examples/something": {"golang.org/x/term"},
		}
		var to []string
		for _, i := range c.imports {
			to = append(to, full(i))
		}
		graph[full(c.pkg)] = to
		got := violations(graph)
		if c.words == nil {
			if got != nil {
				t.Errorf("%s: %v", what, got)
			}
			continue
		}
		if len(got) != 1 {
			t.Errorf("%s: %d violations, want 1: %v", what, len(got), got)
			continue
		}
		gtest.WantError(t, what, fmt.Errorf("%s", got[0]), c.words...)
	}
}
