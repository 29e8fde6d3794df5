package experiment

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/ftprop/ftprop/internal/atomicfile"
	"github.com/ftprop/ftprop/internal/filelock"
	"github.com/ftprop/ftprop/internal/regular"
	"github.com/ftprop/ftprop/train"
	"github.com/pkg/errors"
)

// Names of what a Store has in its folder.
const (
	TableFile     = "compare.csv"         // a line for each run that is complete
	TimesFile     = "compare-seconds.csv" // how long each has trained: apart, so that TableFile is the same whenever and wherever it comes about
	WeightsFolder = "compare-weights"     // with KeepWeights: the weights of each run
	runsFolder    = "compare-runs"        // checkpoints of runs that are not complete
	storeLock     = ".compare.lock"
)

// ErrOther is the error for a folder with a comparison of other settings, or with files of another program.
var ErrOther = errors.New("another comparison")

// Store keeps the runs of a comparison in a folder: each that is complete is a line of TableFile, and of each that is not there is a checkpoint.
// So a comparison that was cut off, however it was, goes on where it stood, and ends with the same TableFile, byte for byte.
type Store struct {
	dir      string
	settings string
	keep     bool
	lock     *filelock.Lock

	mu    sync.Mutex
	runs  []*Run // complete, in the order of TableFile
	order []*Run // that Compare has asked for
}

// StoreOptions says what a Store is to do.
type StoreOptions struct {
	// Settings says in words what all runs have in common. A TableFile of other settings is an error.
	Settings    string
	KeepWeights bool // of each run that is trained: those of the epoch that is reported
	Overwrite   bool // do away with an earlier comparison, of whatever settings
	// Rank is that of the process, of several that compare together. Those above 0 read and write checkpoints and weights, and no lines; they open the
	// folder after the first one has.
	Rank int
}

// CheckStore returns the error that a Store would end with because files cannot be written. It leaves nothing behind.
func CheckStore(dir string) error {
	for _, f := range []string{TableFile, TimesFile} {
		if err := atomicfile.Check(filepath.Join(dir, f)); err != nil {
			return err
		}
	}
	return nil
}

// OpenStore opens the store in a folder, which must be there, and keeps others from it until Close.
func OpenStore(dir string, o StoreOptions) (*Store, error) {
	s := &Store{dir: dir, settings: o.Settings, keep: o.KeepWeights}
	if o.Rank > 0 {
		return s, s.folders()
	}
	var err error
	if s.lock, err = filelock.Acquire(filepath.Join(dir, storeLock)); err != nil {
		return nil, errors.WithMessage(err, "experiment")
	}
	if err := s.open(o.Overwrite); err != nil {
		s.lock.Close()
		return nil, err
	}
	return s, nil
}

// open makes folders, and reads what is there.
func (s *Store) open(overwrite bool) error {
	if err := CheckStore(s.dir); err != nil {
		return errors.WithMessage(err, "experiment")
	}
	if overwrite {
		if err := s.remove(); err != nil {
			return errors.Wrap(err, "experiment: Overwrite")
		}
	}
	for _, f := range []string{TableFile, TimesFile} {
		atomicfile.RemoveLeftovers(filepath.Join(s.dir, f))
	}
	if err := s.folders(); err != nil {
		return err
	}
	return s.read()
}

// folders makes those that are missing.
func (s *Store) folders() error {
	folders := []string{runsFolder}
	if s.keep {
		folders = append(folders, WeightsFolder)
	}
	for _, f := range folders {
		if err := os.MkdirAll(filepath.Join(s.dir, f), 0o777); err != nil {
			return errors.Wrap(err, "experiment")
		}
	}
	return nil
}

// Close lets others at the folder.
func (s *Store) Close() error {
	if s.lock == nil {
		return nil
	}
	os.Remove(filepath.Join(s.dir, runsFolder)) // if there are no checkpoints in it
	return s.lock.Close()
}

// Runs returns how many runs the store has.
func (s *Store) Runs() int { return len(s.runs) }

// remove does away with an earlier comparison: the lines first, which nothing must be without.
func (s *Store) remove() error {
	for _, f := range []string{TableFile, TimesFile} {
		if err := os.Remove(filepath.Join(s.dir, f)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	weights, err := filepath.Glob(filepath.Join(s.dir, WeightsFolder, "*_seed*.safetensors"))
	if err != nil {
		return err
	}
	for _, f := range weights {
		if err := os.Remove(f); err != nil {
			return err
		}
	}
	runs, err := filepath.Glob(filepath.Join(s.dir, runsFolder, "*_seed*"))
	if err != nil {
		return err
	}
	for _, f := range runs {
		if err := removeRun(f); err != nil {
			return err
		}
	}
	return nil
}

// removeRun removes a run's folder with what package train has written there, also if that was killed, and nothing else.
func removeRun(dir string) error {
	lock, err := train.LockFolder(dir)
	if err != nil {
		return err
	}
	for _, f := range []string{train.CheckpointFile, train.BestFile, train.LastFile} {
		atomicfile.RemoveLeftovers(filepath.Join(dir, f))
	}
	for _, f := range train.Left(dir) {
		if err := os.Remove(filepath.Join(dir, f)); err != nil {
			lock.Close()
			return err
		}
	}
	if err := lock.Close(); err != nil {
		return err
	}
	return os.Remove(dir)
}

// expect tells the store which runs there will be, in the order of their lines. Checkpoints of those that are complete go: the process may have
// ended before it got to that.
func (s *Store) expect(list []*Run) error {
	s.order = list
	for _, r := range list {
		if _, err := os.Stat(s.folder(r)); err != nil || !s.find(&Run{Method: r.Method, Seed: r.Seed}) {
			continue
		}
		if err := removeRun(s.folder(r)); err != nil {
			return errors.Wrap(err, "experiment")
		}
	}
	return nil
}

// find completes a run from the store, if that has it.
func (s *Store) find(r *Run) bool {
	for _, have := range s.runs {
		if name(have) == name(r) {
			m := r.Method
			*r = *have
			r.Method = m
			return true
		}
	}
	return false
}

// name tells runs apart. It is that of a run's folder and weights, too.
func name(r *Run) string {
	f := r.Method.Flags
	return strings.Join(slices.DeleteFunc([]string{f.Act, f.Rule, f.Weights, f.WeightRule, f.Opt, fmt.Sprintf("seed%d", r.Seed)},
		func(s string) bool { return s == "" }), "_")
}

func (s *Store) folder(r *Run) string { return filepath.Join(s.dir, runsFolder, name(r)) }

// resume takes a trainer to where the run's checkpoint stands, if there is one.
func (s *Store) resume(t *train.Trainer, r *Run) error {
	file := filepath.Join(s.folder(r), train.CheckpointFile)
	if _, err := os.Stat(file); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return errors.Wrap(err, "experiment")
	}
	return t.Resume(file)
}

// add takes a run that is complete: its line is written whole, or not at all, and then its checkpoint is of no use.
func (s *Store) add(r *Run) error {
	if err := s.keepWeights(r); err != nil {
		return err
	}
	if err := s.record(r); err != nil {
		return err
	}
	return s.tidy(r)
}

// keepWeights keeps those of a run that is complete, if it is to.
func (s *Store) keepWeights(r *Run) error {
	if !s.keep {
		return nil
	}
	path := filepath.Join(s.dir, WeightsFolder, name(r)+".safetensors")
	atomicfile.RemoveLeftovers(path) // of this run, when it was killed here
	return atomicfile.Write(path, func(w io.Writer) error {
		f, err := os.Open(filepath.Join(s.folder(r), train.BestFile))
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(w, f)
		return err
	})
}

// record writes the line of a run that is complete.
func (s *Store) record(r *Run) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runs = append(s.runs, r)
	s.sort()
	// Seconds first: a line without its seconds would stay so.
	if err := s.write(TimesFile, timesHead(), timesLine); err != nil {
		return err
	}
	return s.write(TableFile, head(), s.line)
}

// tidy removes the checkpoint of a run whose line is written.
func (s *Store) tidy(r *Run) error { return errors.Wrap(removeRun(s.folder(r)), "experiment") }

// sort puts the lines that Compare has asked for into that order, after all others: whatever ends first, and however often a comparison is
// cut off, it ends with the same lines in the same order.
func (s *Store) sort() {
	place := map[string]int{}
	for i, r := range s.order {
		place[name(r)] = i + 1
	}
	slices.SortStableFunc(s.runs, func(a, b *Run) int { return place[name(a)] - place[name(b)] })
}

func (s *Store) write(file string, head []string, line func(*Run) []string) error {
	return atomicfile.Write(filepath.Join(s.dir, file), func(w io.Writer) error {
		out := csv.NewWriter(w)
		lines := [][]string{head}
		for _, r := range s.runs {
			lines = append(lines, line(r))
		}
		return out.WriteAll(lines)
	})
}

// names are the columns that tell runs apart.
func names() []string {
	return []string{"activation", "rule", "weights", "weight_rule", "solver", "seed"}
}

func nameLine(r *Run) []string {
	f := r.Method.Flags
	return []string{f.Act, f.Rule, f.Weights, f.WeightRule, f.Opt, strconv.Itoa(r.Seed)}
}

func timesHead() []string { return append(names(), "seconds") }

func timesLine(r *Run) []string { return append(nameLine(r), number(r.Seconds)) }

// head is the first line of TableFile. Accuracies are in percent. What there is for each epoch, or for each layer, is a list with spaces.
func head() []string {
	return append(names(), "epochs", "reported_epoch", "test_accuracy", "test_by_epoch", "validation_by_epoch", "training_loss_by_epoch", "agreement_by_layer", "settings")
}

func (s *Store) line(r *Run) []string {
	return append(nameLine(r), strconv.Itoa(len(r.Accuracy)), strconv.Itoa(r.Best+1), number(r.Test()),
		list(r.Accuracy), list(r.Validation), list(r.Loss), list(r.Agreement), s.settings)
}

// number prints so that reading gives the same number.
func number(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }

func list(x []float64) string {
	words := make([]string, len(x))
	for i, v := range x {
		words[i] = number(v)
	}
	return strings.Join(words, " ")
}

// mostBytes is what TableFile may have: far more than any comparison.
const mostBytes = 1 << 28

// rows reads a file of the store; nil if it is not there.
func (s *Store) rows(file string, head []string) ([][]string, error) {
	b, err := regular.Read(filepath.Join(s.dir, file), mostBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	rows, err := csv.NewReader(bytes.NewReader(b)).ReadAll()
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 || !slices.Equal(rows[0], head) {
		return nil, fmt.Errorf("%w: columns other than %s", ErrOther, strings.Join(head, ","))
	}
	return rows[1:], nil
}

// read reads the runs that are complete.
func (s *Store) read() error {
	seconds := map[string]float64{}
	times, err := s.rows(TimesFile, timesHead())
	if err != nil {
		return errors.WithMessagef(err, "experiment: %s", filepath.Join(s.dir, TimesFile))
	}
	for _, row := range times {
		r, err := named(row)
		if err != nil {
			return err
		}
		if seconds[name(r)], err = strconv.ParseFloat(row[len(names())], 64); err != nil {
			return err
		}
	}
	rows, err := s.rows(TableFile, head())
	if err != nil {
		return errors.WithMessagef(err, "experiment: %s", filepath.Join(s.dir, TableFile))
	}
	for i, row := range rows {
		r, err := s.parse(row)
		if err != nil {
			return errors.WithMessagef(err, "experiment: %s: line %d", filepath.Join(s.dir, TableFile), i+2)
		}
		var known bool
		if r.Seconds, known = seconds[name(r)]; !known {
			r.Seconds = math.NaN()
		}
		if s.find(&Run{Method: r.Method, Seed: r.Seed}) {
			return errors.Errorf("experiment: %s: line %d is a second one of %s", filepath.Join(s.dir, TableFile), i+2, name(r))
		}
		s.runs = append(s.runs, r)
	}
	return nil
}

// named reads the columns that tell runs apart.
func named(row []string) (*Run, error) {
	seed, err := strconv.Atoi(row[5])
	return &Run{Method: Method{Flags: Flags{row[0], row[1], row[2], row[3], row[4]}}, Seed: seed}, err
}

// parse is the inverse of line.
func (s *Store) parse(row []string) (*Run, error) {
	r, err := named(row)
	if err != nil {
		return nil, err
	}
	row = row[len(names()):]
	if got := row[7]; got != s.settings {
		return nil, fmt.Errorf("%w, for\n  %s\nand this is for\n  %s", ErrOther, got, s.settings)
	}
	var n [2]int
	for i := range n {
		if n[i], err = strconv.Atoi(row[i]); err != nil {
			return nil, err
		}
	}
	for i, to := range []*[]float64{&r.Accuracy, &r.Validation, &r.Loss, &r.Agreement} {
		for _, word := range strings.Fields(row[3+i]) {
			x, err := strconv.ParseFloat(word, 64)
			if err != nil {
				return nil, err
			}
			*to = append(*to, x)
		}
	}
	epochs := n[0]
	r.Best = n[1] - 1
	if len(r.Accuracy) != epochs || len(r.Loss) != epochs || len(r.Validation) != 0 && len(r.Validation) != epochs || r.Best < 0 || r.Best >= epochs || row[2] != number(r.Test()) {
		return nil, errors.Errorf("%d epochs with %d accuracies, %d of validation and %d losses, epoch %d and accuracy %s reported: they do not fit together",
			epochs, len(r.Accuracy), len(r.Validation), len(r.Loss), n[1], row[2])
	}
	return r, nil
}
