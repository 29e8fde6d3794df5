package command

import (
	"bytes"
	"context"
	"flag"
	"testing"

	"github.com/pkg/errors"
)

func TestStatus(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		log    string
	}{
		{nil, 0, ""},
		{flag.ErrHelp, 0, ""},
		{errors.Wrap(context.Canceled, "training"), 130, "name: interrupted\n"},
		{errors.New("no such file"), 1, "name: no such file\n"},
	} {
		var log bytes.Buffer
		if got := status("name", c.err, &log); got != c.status || log.String() != c.log {
			t.Errorf("%v: status %d, %q, want %d, %q", c.err, got, log.String(), c.status, c.log)
		}
	}
}
