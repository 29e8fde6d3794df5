package infer

import (
	"strings"
	"testing"
)

func TestTable(t *testing.T) {
	n, err := Options{Threads: 1, Kernels: "portable"}.network(resNet18(1, true), false)
	if err != nil {
		t.Fatal(err)
	}
	table := n.String()
	for _, want := range []string{"Paper, kernels portable, threads 1", "555422720", "bits 1x64 + bits 1x64", "512x4x4", "Logits"} {
		if !strings.Contains(table, want) {
			t.Errorf("no %q in\n%s", want, table)
		}
	}
}
