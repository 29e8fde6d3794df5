package ipynb

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

const source1 = `package x_test

import (
	"fmt"
	"strings"

	"gorgonia.org/gorgonia"
)

/*
# Title

Text with <, > and a ` + "`code`" + `.
*/

// f is declared.
func f() {} /* not text */

type T struct{ a int } // trailing

func Example_one() {
	if true { // a comment
		fmt.Println("<&>")
	}
	// Output:
	// <&>
}

/* Second text. */

func Example_two() { fmt.Println(1) }

func g() {}
`

func TestFromTest(t *testing.T) {
	n, err := FromTest("dir/7_name_test.go", []byte(source1))
	if err != nil {
		t.Fatal(err)
	}
	want := []Cell{
		{Type: "markdown", Source: "# Title\n\nText with <, > and a `code`."},
		{Type: "code", Source: "%noautoget\nimport (\n\t\"bytes\"\n\t\"fmt\"\n\t\"io\"\n\t\"os\"\n\t\"strings\"\n\n\t\"github.com/ftprop/ftprop/examples/notebooks\"\n" +
			"\t\"github.com/janpfeifer/gonb/gonbui\"\n\t\"gorgonia.org/gorgonia\"\n)\n\n" + strings.TrimSpace(preamble)},
		{Type: "code", Source: "// f is declared.\nfunc f() {}\n\ntype T struct{ a int }\n\n%%\nif true { // a comment\n\tfmt.Println(\"<&>\")\n}"},
		{Type: "markdown", Source: "Second text."},
		{Type: "code", Source: "%%\nfmt.Println(1)"},
		{Type: "code", Source: "func g() {}"},
	}
	if len(n.Cells) != len(want) {
		t.Fatalf("%d cells, want %d", len(n.Cells), len(want))
	}
	for i, c := range n.Cells {
		if c.Type != want[i].Type || c.Source != want[i].Source || !strings.HasPrefix(c.ID, "7-0") {
			t.Errorf("cell %d: %s %s\n%s\n\nwant\n%s", i+1, c.Type, c.ID, c.Source, want[i].Source)
		}
	}

	// Written and read it is the same, and code that has not run says so.
	var b bytes.Buffer
	if err := n.Write(&b); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), `"execution_count": null`) || !strings.Contains(b.String(), `<&>`) {
		t.Error(b.String())
	}
	back, err := Read(bytes.NewReader(b.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if err := Same(n, back); err != nil {
		t.Error(err)
	}
	if err := back.CheckExecuted(); err == nil || !strings.Contains(err.Error(), "not been executed") {
		t.Error(err)
	}
	back.Cells[1].Source += " "
	if err := Same(n, back); err == nil {
		t.Error("another source: no error")
	}
	back.Cells = back.Cells[:2]
	if err := Same(n, back); err == nil {
		t.Error("fewer cells: no error")
	}
}

func TestBadSources(t *testing.T) {
	for name, src := range map[string]string{
		"no Go":          "text",
		"no text first":  "package x\n\nfunc f() {}\n",
		"named import":   "package x\n\nimport a \"fmt\"\n\n/* text */\n\nfunc f() { a.Println() }\n",
		"comment inside": "package x\n\nfunc f() { /* text */ }\n",
	} {
		if _, err := FromTest("a_test.go", []byte(src)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// What Jupyter writes: outputs of three kinds, texts as strings or lists, and fields that are of no interest.
func TestExecuted(t *testing.T) {
	file := func(output string) string {
		return `{"cells": [{"cell_type": "code", "execution_count": 3, "id": "a", "metadata": {"execution": {"x": "2026"}}, "source": "x", "outputs": [` + output + `]}],
			"metadata": {"language_info": {"version": "go1.0"}}, "nbformat": 4, "nbformat_minor": 5}`
	}
	check := func(output string) (*Notebook, error) {
		n, err := Read(strings.NewReader(file(output)))
		if err != nil {
			t.Fatal(err)
		}
		n.Clean()
		return n, n.CheckExecuted()
	}
	n, err := check(`{"output_type": "stream", "name": "stderr", "text": "\n"}, {"output_type": "stream", "name": "stdout", "text": "\n"},
		{"output_type": "stream", "name": "stdout", "text": ["a\n", "b"]},
		{"output_type": "display_data", "metadata": {"x": 1}, "data": {"image/png": "/tmp/iVBO"}},
		{"output_type": "stream", "name": "stdout", "text": "c\n"}`)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := n.Write(&b); err != nil {
		t.Fatal(err)
	}
	if s := b.String(); !json.Valid(b.Bytes()) || strings.Contains(s, "2026") || strings.Contains(s, "go1.0") || strings.Contains(s, "stderr") || strings.Count(s, "stdout") != 1 || !strings.Contains(s, `"bc\n"`) || !strings.Contains(s, `"\n"`) || strings.Count(s, `"metadata": {}`) != 2 || strings.Index(s, "image/png") < strings.Index(s, "stdout") {
		t.Error(s)
	}
	for _, output := range []string{
		`{"output_type": "error", "ename": "ERROR", "evalue": "undefined: x", "traceback": []}`,
		`{"output_type": "stream", "name": "stderr", "text": "panic"}`,
		`{"output_type": "stream", "name": "stdout", "text": "wrote /tmp/x"}`,
		`{"output_type": "display_data", "metadata": {}, "data": {"text/html": "<a href='/home/me'>"}}`,
	} {
		if _, err := check(output); err == nil {
			t.Errorf("%s: no error", output)
		}
	}
	if _, err := Read(strings.NewReader(`{"nbformat": 3}`)); err == nil {
		t.Error("format 3: no error")
	}
	if _, err := Read(strings.NewReader(`{`)); err == nil {
		t.Error("cut short: no error")
	}
}
