package train

import (
	"io"
	"os"
	"path/filepath"

	"github.com/ftprop/ftprop/internal/atomicfile"
	"github.com/ftprop/ftprop/internal/filelock"
	"github.com/pkg/errors"
)

const noCheckpoint = "no checkpoint was written before this"

// lockFile is the name of the file that is locked while a training writes to its folder.
const lockFile = ".lock"

// ErrLocked is the error for a folder that another training writes to.
var ErrLocked = errors.New("another training writes to it")

func files() []string { return []string{CheckpointFile, BestFile, LastFile} }

// Left returns the names of the files that an earlier training has left in a folder.
func Left(dir string) []string {
	var left []string
	for _, name := range files() {
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil && info.Mode().IsRegular() {
			left = append(left, name)
		}
	}
	return left
}

// LockFolder keeps others from training into a folder, which it makes where it is missing, until the lock is closed or the process
// ends, however it does. It returns ErrLocked if another has it, and an error if the files of a training cannot be written there.
func LockFolder(dir string) (io.Closer, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, errors.Wrap(err, "train")
	}
	for _, name := range files() {
		if err := atomicfile.Check(filepath.Join(dir, name)); err != nil {
			return nil, errors.WithMessage(err, "train: "+noCheckpoint)
		}
	}
	lock, err := filelock.Acquire(filepath.Join(dir, lockFile))
	if errors.Is(err, filelock.ErrHeld) {
		return nil, errors.Wrapf(ErrLocked, "train: %v", err)
	}
	if err != nil {
		return nil, errors.Wrap(err, "train")
	}
	return lock, nil
}

// ours reports whether a checkpoint is that of Config.Dir.
func (t *Trainer) ours(path string) bool {
	if t.c.Dir == "" {
		return false
	}
	a, errA := os.Stat(path)
	b, errB := os.Stat(t.file(CheckpointFile))
	return errA == nil && errB == nil && os.SameFile(a, b)
}

// begin takes possession of Config.Dir, at the first call. Of several ranks the first does.
func (t *Trainer) begin() error {
	if t.c.Dir == "" || t.began || !t.first() {
		return nil
	}
	if left := Left(t.c.Dir); len(left) > 0 && !t.resumed {
		if !t.c.Overwrite {
			return errors.Errorf("train: %s holds a training (%v): go on from its checkpoint, or set Overwrite, or train into another folder", t.c.Dir, left)
		}
		for _, name := range left { // the checkpoint first: no other file must be without it as if it were its
			file, err := filepath.EvalSymlinks(t.file(name)) // a link stays, and leads to what is written
			if err == nil {
				err = os.Remove(file)
			}
			if err != nil {
				return errors.Wrap(err, "train: Overwrite")
			}
		}
	}
	for _, name := range files() {
		atomicfile.RemoveLeftovers(t.file(name))
	}
	t.began = true
	return nil
}
