// Package ipynb makes Jupyter notebooks for the GoNB kernel of Go test files, and reads and writes them.
//
// A test file's block comments at top level are the notebook's text, its declarations are cells, and the body of each Example
// is a cell that runs: what the cells do is what "go test" does. A declaration without a block comment before it shares
// the cell of what comes next.
package ipynb

import (
	"bytes"
	_ "embed" // for the preamble
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pkg/errors"
)

// preamble declares for a notebook what show_test.go declares for the tests.
//
//go:embed preamble.go.txt
var preamble string

// preambleImports is what the preamble needs.
func preambleImports() []string {
	return []string{"bytes", "fmt", "io", "os", "github.com/ftprop/ftprop/examples/notebooks", "github.com/janpfeifer/gonb/gonbui"}
}

// Notebook is a notebook of format 4.5. Fields of no interest here are kept as they are.
type Notebook struct {
	Cells    []*Cell         `json:"cells"`
	Metadata json.RawMessage `json:"metadata"`
	Format   int             `json:"nbformat"`
	Minor    int             `json:"nbformat_minor"`
}

// Cell is text (Type "markdown") or code.
type Cell struct {
	Type     string
	ID       string
	Source   string
	Executed int // the number that Jupyter has given it; 0 means not executed
	Outputs  []Output
}

// Output is one of a cell: a stream's text, data by media type, or an error.
type Output struct {
	Type     string                     `json:"output_type"`
	Name     string                     `json:"name,omitempty"`
	Text     lines                      `json:"text,omitempty"`
	Data     map[string]json.RawMessage `json:"data,omitempty"`
	Metadata *struct{}                  `json:"metadata,omitempty"` // data must have some, if empty
	Error    string                     `json:"ename,omitempty"`
	Value    string                     `json:"evalue,omitempty"`
	Trace    []string                   `json:"traceback,omitempty"`
}

// lines is a text that JSON holds as one string, or line by line.
type lines string

// UnmarshalJSON implements json.Unmarshaler.
func (l *lines) UnmarshalJSON(b []byte) error {
	var all []string
	if err := json.Unmarshal(b, &all); err == nil {
		*l = lines(strings.Join(all, ""))
		return nil
	}
	var s string
	err := json.Unmarshal(b, &s)
	*l = lines(s)
	return err
}

// MarshalJSON implements json.Marshaler.
func (l lines) MarshalJSON() ([]byte, error) {
	return plain(slices.DeleteFunc(strings.SplitAfter(string(l), "\n"), func(s string) bool { return s == "" }))
}

// plain is JSON that leaves <, > and & alone.
func plain(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSpace(b.Bytes()), err
}

// cellJSON is a cell in the file.
type cellJSON struct {
	Type     string    `json:"cell_type"`
	Executed **int     `json:"execution_count,omitempty"` // null for a code cell that has not run, missing in text
	ID       string    `json:"id"`
	Metadata struct{}  `json:"metadata"`
	Outputs  *[]Output `json:"outputs,omitempty"`
	Source   lines     `json:"source"`
}

// MarshalJSON implements json.Marshaler.
func (c *Cell) MarshalJSON() ([]byte, error) {
	j := cellJSON{Type: c.Type, ID: c.ID, Source: lines(c.Source)}
	if c.Type == "code" {
		var n *int
		if c.Executed > 0 {
			n = &c.Executed
		}
		outputs := c.Outputs
		if outputs == nil {
			outputs = []Output{}
		}
		j.Executed, j.Outputs = &n, &outputs
	}
	return plain(j)
}

// UnmarshalJSON implements json.Unmarshaler.
func (c *Cell) UnmarshalJSON(b []byte) error {
	var j struct {
		Type     string   `json:"cell_type"`
		Executed int      `json:"execution_count"`
		ID       string   `json:"id"`
		Outputs  []Output `json:"outputs"`
		Source   lines    `json:"source"`
	}
	err := json.Unmarshal(b, &j)
	*c = Cell{Type: j.Type, ID: j.ID, Source: string(j.Source), Executed: j.Executed, Outputs: j.Outputs}
	return err
}

// Read reads a notebook.
func Read(r io.Reader) (*Notebook, error) {
	n := new(Notebook)
	if err := json.NewDecoder(r).Decode(n); err != nil {
		return nil, errors.Wrap(err, "ipynb")
	}
	if n.Format != 4 {
		return nil, errors.Errorf("ipynb: format %d: want 4", n.Format)
	}
	return n, nil
}

// Write writes a notebook as Jupyter does: one space a level, a line for each line.
func (n *Notebook) Write(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	return errors.Wrap(e.Encode(n), "ipynb")
}

// metadata names the kernel.
const metadata = `{"kernelspec": {"display_name": "Go (gonb)", "language": "go", "name": "gonb"}, "language_info": {"file_extension": ".go", "mimetype": "text/x-go", "name": "go"}}`

// FromTest makes a notebook, without outputs, of the source of a test file.
func FromTest(path string, src []byte) (*Notebook, error) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, path, src, parser.ParseComments)
	if err != nil {
		return nil, errors.Wrap(err, "ipynb")
	}
	s := source{src: src, fset: fset, file: f}
	return s.notebook()
}

// source is a test file.
type source struct {
	src  []byte
	fset *token.FileSet
	file *ast.File
}

func (s *source) text(from, to token.Pos) string {
	return string(s.src[s.fset.Position(from).Offset:s.fset.Position(to).Offset])
}

// A part is a declaration or a text, at its place.
type part struct {
	at   token.Pos
	decl ast.Decl
	text string
}

func (s *source) notebook() (*Notebook, error) {
	var parts []part
	for _, d := range s.file.Decls {
		if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.IMPORT {
			continue
		}
		parts = append(parts, part{at: d.Pos(), decl: d})
	}
	for _, c := range s.file.Comments {
		inside := slices.ContainsFunc(s.file.Decls, func(d ast.Decl) bool { return d.Pos() <= c.Pos() && c.Pos() < d.End() })
		if text := c.List[0].Text; strings.HasPrefix(text, "/*") && !inside && c.Pos() > s.file.Package && s.fset.Position(c.Pos()).Column == 1 {
			parts = append(parts, part{at: c.Pos(), text: strings.TrimSpace(text[2 : len(text)-2])})
		}
	}
	slices.SortFunc(parts, func(a, b part) int { return int(a.at - b.at) })

	n := &Notebook{Metadata: json.RawMessage(metadata), Format: 4, Minor: 5}
	first, _, _ := strings.Cut(filepath.Base(s.fset.Position(s.file.Package).Filename), "_")
	add := func(kind, text string) {
		n.Cells = append(n.Cells, &Cell{Type: kind, ID: fmt.Sprintf("%s-%02d", first, len(n.Cells)+1), Source: strings.TrimSpace(text)})
	}
	imports, err := s.imports()
	if err != nil {
		return nil, err
	}
	var code []string
	flush := func() {
		if len(code) > 0 {
			add("code", strings.Join(code, "\n\n"))
			code = nil
		}
	}
	for i, p := range parts {
		if p.decl == nil {
			flush()
			add("markdown", p.text)
			if i == 0 {
				add("code", "%noautoget\n"+imports+"\n\n"+preamble)
			}
			continue
		}
		if i == 0 {
			return nil, errors.Errorf("ipynb: %s begins without text: want a block comment before the first declaration", s.fset.Position(p.at).Filename)
		}
		if fn, ok := p.decl.(*ast.FuncDecl); ok && fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Example") {
			code = append(code, "%%\n"+s.body(fn))
			flush()
			continue
		}
		code = append(code, s.text(start(p.decl), p.decl.End()))
	}
	flush()
	return n, nil
}

// start is where a declaration begins, with its comment.
func start(d ast.Decl) token.Pos {
	var doc *ast.CommentGroup
	switch d := d.(type) {
	case *ast.FuncDecl:
		doc = d.Doc
	case *ast.GenDecl:
		doc = d.Doc
	}
	if doc != nil {
		return doc.Pos()
	}
	return d.Pos()
}

// body is what an Example does, without its expected output.
func (s *source) body(fn *ast.FuncDecl) string {
	end := fn.Body.Rbrace
	for _, c := range s.file.Comments {
		if c.Pos() > fn.Body.Lbrace && c.End() < end && strings.HasPrefix(c.Text(), "Output:") {
			end = c.Pos()
		}
	}
	var out []string
	for line := range strings.Lines(s.text(fn.Body.Lbrace+1, end)) {
		out = append(out, strings.TrimPrefix(line, "\t"))
	}
	return strings.TrimSpace(strings.Join(out, ""))
}

// imports is the declaration of what file and preamble import.
func (s *source) imports() (string, error) {
	paths := preambleImports()
	for _, i := range s.file.Imports {
		p, err := strconv.Unquote(i.Path.Value)
		if err != nil || i.Name != nil {
			return "", errors.Errorf("ipynb: import %s: want one without a name", i.Path.Value)
		}
		paths = append(paths, p)
	}
	slices.Sort(paths)
	var standard, others strings.Builder
	for _, p := range slices.Compact(paths) {
		if domain, _, _ := strings.Cut(p, "/"); strings.Contains(domain, ".") {
			fmt.Fprintf(&others, "\t%q\n", p)
		} else {
			fmt.Fprintf(&standard, "\t%q\n", p)
		}
	}
	return "import (\n" + standard.String() + "\n" + others.String() + ")", nil
}

// Same returns an error unless both notebooks have the same cells, outputs aside.
func Same(a, b *Notebook) error {
	for i := range max(len(a.Cells), len(b.Cells)) {
		if i >= len(a.Cells) || i >= len(b.Cells) {
			return errors.Errorf("ipynb: %d and %d cells", len(a.Cells), len(b.Cells))
		}
		if x, y := a.Cells[i], b.Cells[i]; x.Type != y.Type || x.Source != y.Source {
			return errors.Errorf("ipynb: cell %d differs:\n%s\n\nand\n\n%s", i+1, x.Source, y.Source)
		}
	}
	return nil
}

// Clean removes what differs from run to run, or says nothing: times, the version of Go, empty outputs, the pieces in which a stream
// arrived. Text and pictures come from the kernel by pipes of their own, so that how they mix is chance: a cell's text is put before
// its pictures.
func (n *Notebook) Clean() {
	n.Metadata = json.RawMessage(metadata)
	for _, c := range n.Cells {
		var text, rest []Output
		for _, o := range c.Outputs {
			switch last := len(text) - 1; {
			case o.Type == "stream" && last >= 0 && text[last].Name == o.Name:
				text[last].Text += o.Text
			case o.Type == "stream":
				text = append(text, o)
			default:
				if o.Data != nil {
					o.Metadata = new(struct{})
				}
				rest = append(rest, o)
			}
		}
		// Joined first: a piece may be an empty line of a text.
		text = slices.DeleteFunc(text, func(o Output) bool { return strings.TrimSpace(string(o.Text)) == "" })
		c.Outputs = append(text, rest...)
	}
}

// CheckExecuted returns an error unless all code cells have run without one, and if an output tells something about the machine: the
// path of a home, a temporary file or the working directory.
func (n *Notebook) CheckExecuted() error {
	private := []string{os.TempDir() + "/", "/tmp/", "/home/", "/root/", "/Users/"}
	if dir, err := os.Getwd(); err == nil && len(dir) > 1 {
		private = append(private, dir)
	}
	images := regexp.MustCompile(`"image/[a-z]+":"[^"]*"`)
	for i, c := range n.Cells {
		if c.Type != "code" {
			continue
		}
		if c.Executed == 0 {
			return errors.Errorf("ipynb: cell %d has not been executed", i+1)
		}
		for _, o := range c.Outputs {
			if o.Type == "error" || o.Name == "stderr" {
				return errors.Errorf("ipynb: cell %d: %s %s %s", i+1, o.Error, o.Value, o.Text)
			}
			b, err := plain(o)
			if err != nil {
				return errors.Wrap(err, "ipynb")
			}
			for _, p := range private {
				if strings.Contains(images.ReplaceAllString(string(b), ""), p) {
					return errors.Errorf("ipynb: cell %d: an output names %s: %.200s", i+1, p, b)
				}
			}
		}
	}
	return nil
}
