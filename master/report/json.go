package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// WriteJSON writes the summary as throng.summary/v1: indented, fields always in
// the same order, lists never null. Nothing is written of a summary that has no
// JSON form, such as one with a figure that is not a number.
func WriteJSON(w io.Writer, s *Summary) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	// The reader is a person or a script, never a browser: "p95 <= 2s" stays
	// as it was written.
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(withoutNulls(*s)); err != nil {
		return fmt.Errorf("write summary as JSON: %w", err)
	}
	return nil
}

// withoutNulls makes empty lists of missing ones, for readers that iterate
// without asking.
func withoutNulls(s Summary) Summary {
	s.Run.Processes = list(s.Run.Processes)
	s.Run.Validity.Reasons = list(s.Run.Validity.Reasons)
	s.Run.Validity.Excluded = list(s.Run.Validity.Excluded)
	s.Run.Events = list(s.Run.Events)
	s.Operations = list(s.Operations)
	s.Delivery.Probe = list(s.Delivery.Probe)
	s.Accounts = list(s.Accounts)
	s.Thresholds = list(s.Thresholds)
	s.Generator.Reasons = list(s.Generator.Reasons)
	s.Errors = list(s.Errors)
	return s
}

func list[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

// SaveJSON writes the summary to a file as WriteJSON does, and makes the folder
// it is in. Whoever reads the path meanwhile sees the old file or the new one,
// whole; a failure leaves the old one.
//
// What is there and is no ordinary file (a link, a pipe, /dev/stdout) is
// written to, not replaced.
func SaveJSON(path string, s *Summary) error {
	save := replaceFile
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
		save = writeThrough
	}
	if err := save(path, func(w io.Writer) error { return WriteJSON(w, s) }); err != nil {
		return fmt.Errorf("save summary to %s: %w", path, cause(err))
	}
	return nil
}

// cause is err without the path of the temporary file, which means nothing to
// the reader.
func cause(err error) error {
	if pathError, ok := errors.AsType[*fs.PathError](err); ok && pathError.Op != "mkdir" {
		return pathError.Err
	}
	if linkError, ok := errors.AsType[*os.LinkError](err); ok {
		return linkError.Err
	}
	return err
}

// replaceFile puts a new file in the place of path.
func replaceFile(path string, write func(io.Writer) error) (err error) {
	folder, name := filepath.Dir(path), filepath.Base(path)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	file, err := os.CreateTemp(folder, "."+name+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(file.Name()) // err is what matters
		}
	}()
	if err := fill(file, write); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}

// fill writes the temporary file, all the way to the disk: renaming a file that
// is not there yet could leave an empty one after a crash.
func fill(file *os.File, write func(io.Writer) error) error {
	err := write(file)
	if err == nil {
		err = file.Chmod(0o644) // a summary is not secret
	}
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

// writeThrough writes to what path stands for.
func writeThrough(path string, write func(io.Writer) error) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	return errors.Join(write(file), file.Close())
}
