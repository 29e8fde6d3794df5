package mpi

import (
	"slices"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
)

func TestNames(t *testing.T) {
	for _, c := range []struct {
		variable, value, first string
	}{
		{"OMPI_COMM_WORLD_SIZE", "2", "libmpi.so.40"}, {"PMIX_RANK", "0", "libmpi.so.40"}, {"PMI_SIZE", "2", "libmpich.so.12"}, {"FTPROP_MPI", "/opt/libmpi.so", "/opt/libmpi.so"},
	} {
		got, err := names(func(name string) string {
			if name == c.variable {
				return c.value
			}
			return ""
		})
		if err != nil || got[0] != c.first {
			t.Errorf("%s=%s: %v, %v", c.variable, c.value, got, err)
		}
		if alone := c.variable == "FTPROP_MPI"; alone != (len(got) == 1) || !alone && !slices.Contains(got, "libmpi.so.12") {
			t.Errorf("%s=%s: %v", c.variable, c.value, got)
		}
	}
}

func TestFamily(t *testing.T) {
	for version, open := range map[string]bool{
		"Open MPI v4.1.4, package: Debian OpenMPI": true, "MPICH Version:\t4.0.2\nMPICH Release date": false,
		"Intel(R) MPI Library 2021.9 for Linux* OS": false, "MVAPICH2 Version      :\t2.3.7": false,
	} {
		if got, err := family(version); err != nil || got != open {
			t.Errorf("%q: %v, %v", version, got, err)
		}
	}
	_, err := family("LAM 7\nmore")
	gtest.WantError(t, "another", err, `"LAM 7"`, "MPICH")
}
