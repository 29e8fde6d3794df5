package data

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ftprop/ftprop/internal/filelock"
	"github.com/ftprop/ftprop/internal/regular"
	"github.com/pkg/errors"
)

// Progress is told how far a download is: done bytes of total of a file. It is
// called often, in order, from the goroutine that called Download.
type Progress func(file string, done, total int64)

// Download fetches a data set (see [Datasets]) from its public home into a folder,
// which it makes if need be; progress may be nil. It is the zero [Downloader].
func Download(ctx context.Context, dataset, dir string, progress Progress) error {
	return Downloader{Progress: progress}.Download(ctx, dataset, dir)
}

// Downloader fetches data sets. The zero value takes them from their public homes.
type Downloader struct {
	// BaseURL is a mirror that has all files in one place; "" means the data set's
	// public home.
	BaseURL string
	// Client makes the requests; nil means http.DefaultClient.
	Client *http.Client
	// Tries is how often a file is requested before a fault of the connection or
	// the server is an error; 0 means 5.
	Tries int
	// Backoff is the pause after the first failed try; it doubles with each. 0
	// means a second.
	Backoff time.Duration
	// Stall is how long the connection may be silent before it counts as cut; 0
	// means a minute.
	Stall time.Duration
	// Progress may be nil.
	Progress Progress

	// Tests give other sets, and files that fail.
	sets []remoteSet
	open func(name string) (partFile, error)
}

// Download fetches the files of a data set (see [Datasets]) into dir, which it
// makes if need be. The folder is then what [MNIST], [CIFAR10], [CIFAR100] or
// [SVHN] reads. "svhn" includes extra_32x32.mat, 1.3 GB.
//
// A file that is there, whole, is not fetched again. Each is written under a
// temporary name, ".NAME.part", verified (size, MD5 and where known SHA-256),
// synced and renamed, so that under its own name it is whole or not there. After a
// cut connection it goes on where it was cut, or from the beginning if the server
// cannot; the temporary file of a download that was given up serves the next. A link
// in the place of the temporary file, or in that of a file that is not whole, is
// replaced and not followed. Two downloads into one folder at the same time: the
// second returns an error that says which process is at work, unless all files are
// there.
//
// It returns an error that names the file and its address: for an unknown data set,
// an answer that is not 200 or 206 (those of 500 and more, 408 and 429 after
// Tries), another size than the published one, a wrong checksum (the file is then
// removed), a write that fails, and the error of ctx, in the sense of errors.Is,
// when that ends.
func (d Downloader) Download(ctx context.Context, dataset, dir string) error {
	sets := d.sets
	if sets == nil {
		sets = remoteSets()
	}
	for _, s := range sets {
		if s.name != dataset {
			continue
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return errors.Wrapf(err, "data: Download %s", dataset)
		}
		if d.BaseURL != "" {
			s.home = strings.TrimSuffix(d.BaseURL, "/") + "/"
		}
		missing, err := d.missing(ctx, s, dir)
		if err == nil && len(missing) == 0 {
			return nil
		}
		if err != nil {
			return errors.Wrapf(err, "data: Download %s", dataset)
		}
		lock, err := filelock.Acquire(filepath.Join(dir, ".download.lock"))
		if errors.Is(err, filelock.ErrHeld) {
			return errors.WithMessagef(err, "data: Download %s: another download into %s is going on, wait for its end", dataset, dir)
		} else if err != nil {
			return errors.WithMessagef(err, "data: Download %s", dataset)
		}
		defer lock.Close() // its file may stay: it is worth nothing then
		for _, f := range missing {
			if err := d.file(ctx, f, s.home+f.name, filepath.Join(dir, f.name)); err != nil {
				return errors.Wrapf(err, "data: Download %s: %s", dataset, s.home+f.name)
			}
		}
		return nil
	}
	var names []string
	for _, s := range sets {
		names = append(names, s.name)
	}
	return errors.Errorf("data: Download: unknown data set %q, want one of %s", dataset, strings.Join(names, ", "))
}

// missing returns the files of a set that are not in dir, whole.
func (d Downloader) missing(ctx context.Context, s remoteSet, dir string) ([]remoteFile, error) {
	var out []remoteFile
	for _, f := range s.files {
		have, err := d.have(ctx, f, filepath.Join(dir, f.name))
		if err != nil {
			return nil, err
		}
		if !have {
			out = append(out, f)
		}
	}
	return out, nil
}

// have says whether a file is there, whole; one that is not is replaced.
func (d Downloader) have(ctx context.Context, f remoteFile, path string) (bool, error) {
	info, err := os.Stat(path)
	if err != nil {
		return false, nil // also if it cannot be known: the download will say why
	}
	if !info.Mode().IsRegular() {
		return false, errors.Errorf("%s is in the way, want a file or nothing", path)
	}
	if info.Size() != f.size || verifyFile(ctx, f, path) != nil {
		return false, errors.Wrap(ctx.Err(), "verifying")
	}
	d.report(f, f.size)
	return true, nil
}

func (d Downloader) report(f remoteFile, done int64) {
	if d.Progress != nil {
		d.Progress(f.name, done, f.size)
	}
}

// file fetches one file to path. The folder is locked.
func (d Downloader) file(ctx context.Context, f remoteFile, url, path string) (err error) {
	// Another download may have ended meanwhile.
	if have, err := d.have(ctx, f, path); have || err != nil {
		return err
	}
	report := func(done int64) { d.report(f, done) }
	open := d.open
	if open == nil {
		open = openPart
	}
	temp := filepath.Join(filepath.Dir(path), "."+f.name+".part")
	part, err := open(temp)
	if err != nil {
		return err
	}
	defer func() {
		if part != nil {
			part.Close()
		}
	}()
	resumed, err := d.fetch(ctx, f, url, part, report)
	if err != nil {
		return err
	}
	err = verify(ctx, f, part)
	var wrong *checksumError
	if errors.As(err, &wrong) && resumed {
		// What lay there may be of something else: once more from the beginning.
		if err := restart(part); err != nil {
			return err
		}
		if _, err := d.fetch(ctx, f, url, part, report); err != nil {
			return err
		}
		err = verify(ctx, f, part)
	}
	if errors.As(err, &wrong) {
		part.Close()
		part = nil
		os.Remove(temp)
		return err
	}
	if err != nil {
		return err
	}
	if err := part.Sync(); err != nil {
		return errors.Wrapf(err, "writing %s", temp)
	}
	err = part.Close()
	part = nil
	if err != nil {
		return errors.Wrapf(err, "writing %s", temp)
	}
	if err := os.Rename(temp, path); err != nil {
		return err
	}
	// So that the name survives a loss of power; not every system can.
	if dir, err := os.Open(filepath.Dir(path)); err == nil {
		_ = dir.Sync()
		dir.Close()
	}
	return nil
}

func restart(part partFile) error {
	if err := part.Truncate(0); err != nil {
		return err
	}
	_, err := part.Seek(0, io.SeekStart)
	return err
}

// permanentError is one that another try does not mend.
type permanentError struct{ error }

func (e permanentError) Unwrap() error { return e.error }

// fetch makes part as long as the file, in as many tries as it takes. resumed says
// that some of it was there before.
func (d Downloader) fetch(ctx context.Context, f remoteFile, url string, part partFile, report func(int64)) (resumed bool, err error) {
	have, err := part.Seek(0, io.SeekEnd)
	if err != nil {
		return false, err
	}
	if have > f.size {
		if err := restart(part); err != nil {
			return false, err
		}
		have = 0
	}
	resumed = have > 0
	report(have)
	tries, pause := d.Tries, d.Backoff
	if tries < 1 {
		tries = 5
	}
	if pause <= 0 {
		pause = time.Second
	}
	for try := 1; have < f.size; try++ {
		have, err = d.try(ctx, f, url, part, have, report)
		var permanent permanentError
		switch {
		case err == nil:
			continue // to the end of the loop: have == f.size
		case ctx.Err() != nil:
			return resumed, errors.Wrapf(ctx.Err(), "stopped after %d of %d bytes", have, f.size)
		case errors.As(err, &permanent):
			return resumed, permanent.error
		case try >= tries:
			return resumed, errors.Wrapf(err, "gave up after %d tries and %d of %d bytes", try, have, f.size)
		}
		select {
		case <-time.After(pause):
			pause *= 2
		case <-ctx.Done():
			return resumed, errors.Wrapf(ctx.Err(), "stopped after %d of %d bytes", have, f.size)
		}
	}
	return resumed, nil
}

// try makes one request for the bytes from have on and returns how many there are
// then; without an error, all.
func (d Downloader) try(ctx context.Context, f remoteFile, url string, part partFile, have int64, report func(int64)) (int64, error) {
	outer := ctx
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stall := d.Stall
	if stall <= 0 {
		stall = time.Minute
	}
	watch := time.AfterFunc(stall, cancel)
	defer watch.Stop()
	silent := func(err error) error {
		if ctx.Err() != nil && outer.Err() == nil {
			return errors.Errorf("no data for %v", stall) // nobody cancelled anything
		}
		return noEOF(err)
	}

	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return have, permanentError{err}
	}
	// Some servers else send a .gz file as a compressed encoding of the plain one.
	req.Header.Set("Accept-Encoding", "identity")
	if have > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", have))
	}
	client := d.Client
	if client == nil {
		client = http.DefaultClient
	}
	resp, err := client.Do(req)
	if err != nil {
		return have, silent(err)
	}
	defer resp.Body.Close()
	switch code := resp.StatusCode; {
	case code == http.StatusPartialContent && have > 0:
		if want := fmt.Sprintf("bytes %d-%d/%d", have, f.size-1, f.size); resp.Header.Get("Content-Range") != want {
			return have, permanentError{errors.Errorf("the server sends %q, want %q", resp.Header.Get("Content-Range"), want)}
		}
	case code == http.StatusOK:
		if resp.ContentLength >= 0 && resp.ContentLength != f.size {
			return have, permanentError{errors.Errorf("the server has %d bytes, want %d", resp.ContentLength, f.size)}
		}
		have = 0 // it knows no ranges
	case code == http.StatusRequestedRangeNotSatisfiable && have > 0:
		if err := restart(part); err != nil {
			return have, permanentError{err}
		}
		return 0, errors.Errorf("answer %s", resp.Status)
	case code >= 500 || code == http.StatusRequestTimeout || code == http.StatusTooManyRequests:
		return have, errors.Errorf("answer %s, want 200 OK", resp.Status)
	default:
		return have, permanentError{errors.Errorf("answer %s, want 200 OK", resp.Status)}
	}
	if err := part.Truncate(have); err != nil {
		return have, permanentError{err}
	}
	if _, err := part.Seek(have, io.SeekStart); err != nil {
		return have, permanentError{err}
	}
	report(have)
	buf := make([]byte, 1<<16)
	for {
		n, readErr := resp.Body.Read(buf)
		watch.Reset(stall)
		if have+int64(n) > f.size {
			return have, permanentError{errors.Errorf("the server goes on after %d bytes, want exactly those", f.size)}
		}
		written, err := part.Write(buf[:n])
		have += int64(written)
		if err != nil {
			return have, permanentError{errors.Wrapf(err, "writing byte %d of %d", have, f.size)}
		}
		if n > 0 {
			report(have)
		}
		switch {
		case readErr == io.EOF && have == f.size:
			return have, nil
		case readErr != nil:
			return have, errors.Wrapf(silent(readErr), "cut after %d of %d bytes", have, f.size)
		}
	}
}

// checksumError says that a file is whole, and another one.
type checksumError struct{ algorithm, got, want string }

func (e *checksumError) Error() string {
	return fmt.Sprintf("%s is %s, want %s: the file is damaged or another", e.algorithm, e.got, e.want)
}

func verifyFile(ctx context.Context, f remoteFile, path string) error {
	file, _, err := regular.Open(path, f.size)
	if err != nil {
		return err
	}
	defer file.Close()
	return verify(ctx, f, file)
}

// verify compares all of r with the published checksums.
func verify(ctx context.Context, f remoteFile, r io.ReadSeeker) error {
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return err
	}
	sums := []struct {
		name, want string
		hash       hash.Hash
	}{{"MD5", f.md5, md5.New()}, {"SHA-256", f.sha256, sha256.New()}}
	var w []io.Writer
	for _, s := range sums {
		if s.want != "" {
			w = append(w, s.hash)
		}
	}
	if len(w) == 0 {
		return errors.New("no published checksum, want one")
	}
	// In pieces, for ctx's sake: a gigabyte takes seconds.
	for all := io.MultiWriter(w...); ; {
		if err := ctx.Err(); err != nil {
			return errors.Wrap(err, "verifying")
		}
		if _, err := io.CopyN(all, r, 1<<24); err == io.EOF {
			break
		} else if err != nil {
			return errors.Wrap(err, "verifying")
		}
	}
	for _, s := range sums {
		if got := hex.EncodeToString(s.hash.Sum(nil)); s.want != "" && got != s.want {
			return errors.WithStack(&checksumError{s.name, got, s.want})
		}
	}
	return nil
}
