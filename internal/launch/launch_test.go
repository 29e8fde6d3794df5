package launch

import "testing"

func TestLaunchers(t *testing.T) {
	for _, c := range []struct {
		env         map[string]string
		ok, open    bool
		ranks, rank int
	}{
		{map[string]string{}, false, false, 0, 0},
		{map[string]string{"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "3"}, true, true, 4, 3},
		{map[string]string{"PMI_SIZE": "2", "PMI_RANK": "1"}, true, false, 2, 1},
		{map[string]string{"MPI_LOCALNRANKS": "2"}, true, false, 0, 0},
		{map[string]string{"PMIX_RANK": "5"}, true, true, 0, 5},
		{map[string]string{"OMPI_COMM_WORLD_SIZE": "many", "OMPI_COMM_WORLD_RANK": "-1"}, true, true, 0, 0},
	} {
		getenv := func(name string) string { return c.env[name] }
		l, ok := By(getenv)
		if ok != c.ok || l.Open != c.open || Ranks(getenv) != c.ranks || Rank(getenv) != c.rank {
			t.Errorf("%v: %+v, %v, %d ranks, rank %d", c.env, l, ok, Ranks(getenv), Rank(getenv))
		}
	}
}
