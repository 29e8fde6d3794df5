package command

import (
	"fmt"
	"io"
	"os"
	"time"
	"unicode/utf8"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// IsTerminal reports whether log shows progress bars.
func IsTerminal(log io.Writer) bool {
	f, ok := log.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Bar returns a progress bar of steps on a terminal, which goes when it is finished, or nil if log is none.
func Bar(log io.Writer, description string, steps int) *progressbar.ProgressBar {
	if !IsTerminal(log) {
		return nil
	}
	return bar(&narrow{log, widthOf(log.(*os.File))}, description, int64(steps), progressbar.OptionShowIts(), progressbar.OptionSetItsString("steps"))
}

// BytesBar is Bar for a file of so many bytes.
func BytesBar(log io.Writer, description string, bytes int64) *progressbar.ProgressBar {
	if !IsTerminal(log) {
		return nil
	}
	return bar(&narrow{log, widthOf(log.(*os.File))}, description, bytes, progressbar.OptionShowBytes(true))
}

// DownloadBar returns what shows how far the files of a download are: bars on a terminal, and elsewhere a line for each file.
func DownloadBar(log io.Writer) func(file string, done, total int64) {
	var bar *progressbar.ProgressBar
	name := ""
	tty := IsTerminal(log)
	return func(file string, done, total int64) {
		if !tty {
			if done == total {
				fmt.Fprintf(log, "%s: %d bytes\n", file, total)
			}
			return
		}
		if file != name {
			name, bar = file, BytesBar(log, file, total)
		}
		_ = bar.Set64(done)
	}
}

func widthOf(f *os.File) func() int {
	return func() int {
		width, _, err := term.GetSize(int(f.Fd()))
		if err != nil || width < 1 {
			return 80
		}
		return width
	}
}

func bar(w *narrow, description string, most int64, more ...progressbar.Option) *progressbar.ProgressBar {
	const text = 60 // columns of the text beside the bar
	return progressbar.NewOptions64(most, append(more, progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(description),
		progressbar.OptionSetWidth(min(max(w.width()-text, 5), 40)), progressbar.OptionShowCount(),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionSetPredictTime(true), progressbar.OptionClearOnFinish())...)
}

// narrow cuts lines at the terminal's last column but one: a longer one goes on below, and the next cannot be written over it.
type narrow struct {
	w     io.Writer
	width func() int
}

func (n *narrow) Write(p []byte) (int, error) {
	var out []byte
	column, width := 0, n.width()
	for rest := p; len(rest) > 0; {
		r, size := utf8.DecodeRune(rest)
		switch {
		case r == '\r' || r == '\n':
			column = 0
		case column+1 >= width:
			rest = rest[size:]
			continue
		default:
			column++
		}
		out, rest = append(out, rest[:size]...), rest[size:]
	}
	if _, err := n.w.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}
