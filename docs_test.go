//go:build !race

package ftprop_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What the documents say is compiled, run and followed. Not under the race detector, which nothing here would be seen by: the code
// runs in processes of its own.

// documents are the files that people read.
func documents(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	text := map[string]string{}
	for _, f := range append(files, "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "examples/notebooks/README.md") {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		text[f] = string(b)
	}
	return text
}

// fenced is a block of a document.
type fenced struct {
	where          string
	language, body string
	comment        string // an HTML comment in the line before
}

func blocks(t *testing.T) []fenced {
	t.Helper()
	re := regexp.MustCompile("(?m)^(?:<!-- *(.*?) *-->\n)?```([a-z]*)\n((?s:.*?))^```$")
	var out []fenced
	texts := documents(t)
	for _, f := range slices.Sorted(maps.Keys(texts)) {
		text := texts[f]
		for _, m := range re.FindAllStringSubmatchIndex(text, -1) {
			b := fenced{where: fmt.Sprintf("%s:%d", f, 1+strings.Count(text[:m[0]], "\n")), language: text[m[4]:m[5]], body: text[m[6]:m[7]]}
			if m[2] >= 0 {
				b.comment = text[m[2]:m[3]]
			}
			out = append(out, b)
		}
	}
	return out
}

// TestGoInDocuments compiles every block of Go, and runs those that are whole programs. A block without a package clause is the body of a function
// that returns an error; the comment before it, "go: x *gorgonia.Node", is what it takes. A block of text after a program is what it prints.
func TestGoInDocuments(t *testing.T) {
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	all := blocks(t)
	replace, programs, dir := map[string]string{}, map[string]string{}, t.TempDir()
	n := 0
	for i, b := range all {
		if b.language != "go" {
			continue
		}
		n++
		code := b.body
		if !strings.HasPrefix(code, "package ") {
			code = function(b)
		}
		name := fmt.Sprintf("block%d", i)
		real := filepath.Join(dir, name+".go")
		if err := os.WriteFile(real, []byte(fmt.Sprintf("//line %s:%d\n%s", filepath.Join(root, strings.Split(b.where, ":")[0]), 1, code)), 0o644); err != nil {
			t.Fatal(err)
		}
		replace[filepath.Join(root, "documents", name, "x.go")] = real
		if strings.HasPrefix(code, "package main") {
			want := ""
			if i+1 < len(all) && all[i+1].language == "text" {
				want = all[i+1].body
			}
			programs[name] = want
		}
	}
	if n < 8 {
		t.Fatalf("only %d blocks of Go", n)
	}
	overlay := filepath.Join(dir, "overlay.json")
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(overlay, b, 0o644); err != nil {
		t.Fatal(err)
	}
	// Packages without a main function are compiled and left at that.
	if out, err := exec.Command("go", "build", "-overlay", overlay, "-o", dir+string(filepath.Separator), "./documents/...").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, want := range programs {
		cmd := exec.Command(filepath.Join(dir, name))
		cmd.Dir = t.TempDir()
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil || want != "" && string(out) != want {
			t.Errorf("%s: %v, prints\n%swant\n%s%s", all[number(name)].where, err, out, want, stderr.String())
		}
	}
}

func number(name string) (i int) {
	_, _ = fmt.Sscanf(name, "block%d", &i)
	return i
}

// function makes a function of statements.
func function(b fenced) string {
	takes, _ := strings.CutPrefix(b.comment, "go:")
	imports := ""
	for name, path := range map[string]string{
		"gorgonia": "gorgonia.org/gorgonia", "tensor": "gorgonia.org/tensor", "nodes": "nodes", "ops": "ops", "nn": "ops/nn", "models": "models",
		"solvers": "solvers", "search": "search", "deploy": "deploy", "train": "train", "data": "data", "diagnostics": "diagnostics",
		"os": "os", "io": "io", "fmt": "fmt", "context": "context", "math": "math",
	} {
		if regexp.MustCompile(`\b` + name + `\.[A-Z]`).MatchString(b.body + takes) {
			if _, err := os.Stat(path); err == nil {
				path = "github.com/ftprop/ftprop/" + path
			}
			imports += fmt.Sprintf("import %q\n", path)
		}
	}
	end := "return nil\n"
	lines := strings.Split(strings.TrimSpace(b.body), "\n")
	if strings.HasPrefix(lines[len(lines)-1], "return") {
		end = ""
	}
	return "package documents\n" + imports + "func _(" + takes + ") error {\n" + b.body + end + "}\n"
}

// assignments are variables of the environment before a command.
var assignments = regexp.MustCompile(`^([A-Z_]+=\S+ +)+`)

// TestCommandsInDocuments knows every command in the documents: which test runs it, or why none does.
func TestCommandsInDocuments(t *testing.T) {
	// The command, and "folder TestName", or what speaks against a test.
	known := map[string]string{
		"go run ./examples/compare":                                                        "examples/compare TestRun",
		"go run ./examples/compare -act sign -weights none,sign,ternary,4":                 "examples/compare TestWeights",
		"go run ./examples/compare -act sign -weights none,sign,sign-scaled -opt adam,bop": "examples/compare TestWeights",
		"go run ./examples/compare -arch convnet4 -bn -order xnor -data fashion-mnist -act sign -rules SoftHinge -epochs 3 -decay-at 3 -seeds 3 -weights none,sign,sign-scaled,ternary,2,4,8":                                "it takes an hour",
		"go run ./examples/compare -arch convnet4 -bn -order xnor -data fashion-mnist -act sign -rules SoftHinge -epochs 3 -decay-at 3 -seeds 3 -weights none,sign -weight-rules SSTE,SoftHinge -opt adam,bop":               "it takes half an hour",
		"go run ./examples/train -recipe resnet18-cifar10-binary -limit 12800 -epochs 3 -decay-at 3 -out binary":                                                                                                             "it takes nine minutes",
		"go run ./examples/export -arch resnet18 -data cifar10 -weights sign-scaled -eval binary/best.safetensors -integer -out binary.onnx":                                                                                 "examples/export TestIntegerSignWeights",
		"go run ./examples/bench -infer -load binary.onnx -batch 64":                                                                                                                                                         "examples/bench TestInferFiles",
		"go run ./examples/compare -recipe convnet4-cifar10-sign -dir DIR -epochs 30 -seeds 3 -act sign,qrelu -out FOLDER":                                                                                                   "it takes hours",
		"go run ./examples/compare -act sign -rules SSTE,SoftHinge,EDE,AnnealedReSTE,SoftHinge+top-share0.5 -epochs 8 -validation 0.1 -search 2":                                                                             "examples/compare TestSearch",
		"go run ./examples/compare -recipe convnet4-cifar10-sign -dir DIR -act sign -rules SSTE,SoftHinge0.5,SoftHinge,EDE,STE+soft-reach0.5,SoftHinge+feasible0.5 -epochs 8 -seeds 2 -validation 0.1 -search 3 -out FOLDER": "it takes hours",
		"go test ./...":                        "it is the tests themselves",
		"go run ./examples/train":              "examples/train TestDigits",
		"go run ./examples/train -help":        "examples/train TestBadInput",
		"go run ./examples/train -recipe list": "examples/train TestRecipes",
		"go run ./examples/train -recipe convnet4-fashion-sign -epochs 3 -download":                             "it takes minutes, and a download of 30 MB",
		"go run ./examples/train -eval train-out/best.safetensors -fixed-point":                                 "examples/export TestDigits",
		"go run ./examples/export -eval train-out/best.safetensors":                                             "examples/export TestDigits",
		"go run ./examples/export -eval train-out/best.safetensors -fixed-point":                                "examples/export TestDigits",
		"go run ./examples/export -eval train-out/best.safetensors -integer -out integer.onnx":                  "examples/export TestInteger",
		"go run ./examples/train -eval integer.onnx -integer":                                                   "examples/train TestEvalInteger",
		"go run ./examples/component":                                                                           "examples/component TestRun",
		"go run ./examples/fullbatch":                                                                           "examples/fullbatch TestRun",
		"go run ./examples/bench -forward -model convnet4 -act relu -batch 64":                                  "examples/bench TestForward",
		"go run ./examples/bench -forward -model resnet18 -act relu -batch 1":                                   "examples/bench TestForward",
		"go run ./examples/bench -infer -model convnet4 -act sign -batch 64 -threads 2":                         "examples/bench TestInfer",
		"go run ./examples/bench -infer -model resnet18 -act sign -weights sign -batch 1 -threads 2":            "examples/bench TestInfer",
		"go run ./examples/bench -model convnet4 -act sign -write-float float.onnx -write-integer integer.onnx": "examples/bench TestInferFiles",
		"go run ./examples/bench -load integer.onnx -batch 1":                                                   "examples/bench TestInferFiles",
		"go run ./examples/bench -cluster -model resnet18":                                                      "examples/bench TestCluster",
		"go build -o train ./examples/train":                                                                    "the tests of examples/train build it",
		"go build -o compare ./examples/compare":                                                                "the tests of examples/compare build it",
		"go build -o bench ./examples/bench":                                                                    "the tests of examples/bench build it",
		"mpirun -n 4 ./program":                                                                                 "mpi TestCollectives",
		"mpirun -n 4 ./train -mpi -recipe digits -batch 16":                                                     "examples/train TestMPI",
		"mpirun -n 4 ./compare -mpi -seeds 8 -out FOLDER":                                                       "examples/compare TestMPI",
		"mpirun -n 2 --bind-to core --mca btl_vader_single_copy_mechanism none --mca btl_vader_max_send_size 131072 ./bench -allreduce -model resnet18 -steps 20": "examples/bench TestAllReduce",
		"mpirun -n 2 ./bench -allreduce -model resnet18": "examples/bench TestAllReduce",
	}
	seen := map[string]bool{}
	for _, b := range blocks(t) {
		if b.language != "" && b.language != "sh" {
			continue
		}
		for line := range strings.Lines(b.body) {
			command, _, _ := strings.Cut(line, "#")
			command = assignments.ReplaceAllString(strings.TrimSpace(command), "")
			if !strings.HasPrefix(command, "go ") && !strings.HasPrefix(command, "mpirun ") {
				continue
			}
			seen[command] = true
			if _, ok := known[command]; !ok {
				t.Errorf("%s: %q is run by no test that is known", b.where, command)
			}
		}
	}
	for command, by := range known {
		if !seen[command] {
			t.Errorf("%q is in no document", command)
		}
		folder, test, ok := strings.Cut(by, " ")
		if !ok || !strings.HasPrefix(test, "Test") {
			continue
		}
		if !declares(t, folder, test) {
			t.Errorf("%q: %s has no %s", command, folder, test)
		}
	}
}

// declares says whether the tests of a folder have a function.
func declares(t *testing.T, folder, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(files, func(f string) bool {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(string(b), "func "+name+"(")
	})
}

// TestLinksInDocuments follows the links to files of the repository, and to headings in them.
func TestLinksInDocuments(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	texts := documents(t)
	for f, text := range texts {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if strings.HasPrefix(m[1], "http") {
				continue
			}
			path, anchor, _ := strings.Cut(m[1], "#")
			to := filepath.Join(filepath.Dir(f), path)
			if path == "" {
				to = f
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s: %v", f, err)
				continue
			}
			if anchor != "" && !slices.Contains(anchors(texts[to]), anchor) {
				t.Errorf("%s: %s has no heading #%s", f, to, anchor)
			}
		}
	}
}

// anchors are the names that GitHub gives to headings.
func anchors(text string) []string {
	var out []string
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(text, -1) {
		name := strings.ToLower(m[1])
		name = regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(name, "")
		out = append(out, strings.ReplaceAll(name, " ", "-"))
	}
	return out
}

// TestREADME is short enough to be read.
func TestREADME(t *testing.T) {
	if n := len(documents(t)["README.md"]); n > 8<<10 {
		t.Errorf("README.md has %d bytes, want 8 KiB at most", n)
	}
}

// TestScriptsInDocuments has bash read the scripts, and looks at the shape of the YAML: there is no reader of YAML among what the module needs.
func TestScriptsInDocuments(t *testing.T) {
	scripts, manifests := 0, 0
	for _, b := range blocks(t) {
		switch b.language {
		case "bash":
			scripts++
			bash, err := exec.LookPath("bash")
			if err != nil {
				t.Skip("SKIPPED: no bash")
			}
			cmd := exec.Command(bash, "-n")
			cmd.Stdin = strings.NewReader(b.body)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", b.where, err, out)
			}
		case "yaml":
			manifests++
			keys, err := yamlKeys(b.body)
			if err != nil {
				t.Errorf("%s: %v", b.where, err)
			}
			for _, want := range []string{
				"apiVersion", "kind", "metadata.name", "spec.mpiReplicaSpecs.Launcher.template.spec.containers[0].command[2]",
				"spec.mpiReplicaSpecs.Launcher.replicas", "spec.mpiReplicaSpecs.Worker.replicas", "spec.mpiReplicaSpecs.Worker.template.spec.containers[0].image",
				"spec.mpiReplicaSpecs.Worker.template.spec.volumes[1].persistentVolumeClaim.claimName", "spec.runPolicy.cleanPodPolicy", "spec.sshAuthMountPath",
			} {
				if !slices.Contains(keys, want) {
					t.Errorf("%s: no %s in %q", b.where, want, keys)
				}
			}
		}
	}
	if scripts == 0 || manifests == 0 {
		t.Errorf("%d scripts, %d manifests", scripts, manifests)
	}
	for what, body := range map[string]string{"tab": "a:\n\tb: 1\n", "twice": "a: 1\na: 2\n", "no key": "a:\n  b\n", "depth": "a: 1\n  b: 2\n", "quote": "a: \"1\n"} {
		if keys, err := yamlKeys(body); err == nil {
			t.Errorf("%s: no error, %q", what, keys)
		}
	}
}

// yamlKeys returns the paths of all scalars of the YAML that manifests are written in: mappings and lists by indentation, a key or an element a line, literal
// blocks, and plain or double-quoted scalars.
func yamlKeys(body string) ([]string, error) {
	type level struct {
		indent int
		path   string
		next   int // of a list: the number of the next element
	}
	var open []level
	var keys []string
	literal := -1 // the indentation of the key of a literal block
	scalar := false
	line := regexp.MustCompile(`^(?:([A-Za-z]+):)?(?: ?(.*))$`)
	for n, text := range strings.Split(strings.TrimRight(body, "\n"), "\n") {
		content := strings.TrimLeft(text, " ")
		indent := len(text) - len(content)
		if literal >= 0 && (content == "" || indent > literal) {
			continue
		}
		literal = -1
		if content == "" || strings.ContainsRune(text, '\t') {
			return nil, fmt.Errorf("line %d: %q", n+1, text)
		}
		for len(open) > 0 && open[len(open)-1].indent > indent {
			open = open[:len(open)-1]
		}
		if scalar && len(open) > 0 && open[len(open)-1].indent < indent {
			return nil, fmt.Errorf("line %d: %q is below a scalar", n+1, text)
		}
		path := func() string { // of what holds this line
			for i := len(open) - 1; i >= 0; i-- {
				if open[i].indent < indent {
					return open[i].path
				}
			}
			return ""
		}
		for strings.HasPrefix(content, "- ") {
			if len(open) == 0 || open[len(open)-1].indent != indent {
				open = append(open, level{indent: indent, path: path(), next: 0})
			}
			list := &open[len(open)-1]
			if at := strings.LastIndexByte(list.path, '['); at >= 0 && list.next > 0 {
				list.path = list.path[:at]
			}
			list.path = fmt.Sprintf("%s[%d]", list.path, list.next)
			list.next++
			content = content[2:]
			indent += 2
		}
		m := line.FindStringSubmatch(content)
		key, value := m[1], m[2]
		at := path()
		if key != "" {
			at = strings.TrimPrefix(at+"."+key, ".")
			if len(open) == 0 || open[len(open)-1].indent != indent {
				open = append(open, level{indent: indent})
			}
			open[len(open)-1].path = at
		} else if !strings.HasSuffix(at, "]") || value == "" {
			return nil, fmt.Errorf("line %d: %q is no key", n+1, text)
		}
		if scalar = value != ""; !scalar {
			continue
		}
		if value == "|" {
			literal = len(text) - len(strings.TrimLeft(text, " "))
		} else if strings.Count(value, `"`)%2 != 0 || value[0] != '"' && strings.Contains(value, ": ") {
			return nil, fmt.Errorf("line %d: value %s", n+1, value)
		}
		if slices.Contains(keys, at) {
			return nil, fmt.Errorf("line %d: a second %s", n+1, at)
		}
		keys = append(keys, at)
	}
	return keys, nil
}
