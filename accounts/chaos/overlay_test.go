//go:build linux

package chaos_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// overlayVariable is the path of the overlay that this test binary was built
// with, so that what it builds is of the same code.
const overlayVariable = "THRONG_CHAOS_OVERLAY"

// edit replaces a text that a file has exactly once. The file is relative to the
// module's root.
type edit struct{ file, old, new string }

// moduleRoot is where a package's tests run, seen from here.
func moduleRoot() (string, error) { return filepath.Abs("../..") }

// overlay is what the Go tool takes: which file to read in place of which.
type overlay struct{ Replace map[string]string }

// baseOverlay is the one that this binary was built with.
func baseOverlay() (overlay, error) {
	base := overlay{Replace: map[string]string{}}
	path := os.Getenv(overlayVariable)
	if path == "" {
		return base, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return base, err
	}
	return base, json.Unmarshal(text, &base)
}

// writeOverlay writes an overlay with the edits and the new files (by path from
// the root) to the folder, on top of the one that this binary was built with, and
// returns its path. The error names every edit that does not fit.
func writeOverlay(folder string, edits []edit, added map[string]string) (string, error) {
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	o, err := baseOverlay()
	if err != nil {
		return "", err
	}
	texts := map[string]string{}
	var misfits []error
	for _, e := range edits {
		path := filepath.Join(root, e.file)
		text, ok := texts[path]
		if !ok {
			from := path
			if replaced, ok := o.Replace[path]; ok {
				from = replaced
			}
			content, err := os.ReadFile(from)
			if err != nil {
				return "", err
			}
			text = string(content)
		}
		if n := strings.Count(text, e.old); n != 1 {
			misfits = append(misfits, fmt.Errorf("%s has %d times, and should have once: %q", e.file, n, e.old))
		}
		texts[path] = strings.Replace(text, e.old, e.new, 1)
	}
	if err := errors.Join(misfits...); err != nil {
		return "", err
	}
	for file, text := range added {
		texts[filepath.Join(root, file)] = text
	}
	n := 0
	for path, text := range texts {
		n++
		changed := filepath.Join(folder, strconv.Itoa(n)+"-"+filepath.Base(path))
		if err := os.WriteFile(changed, []byte(text), 0o600); err != nil {
			return "", err
		}
		o.Replace[path] = changed
	}
	text, err := json.Marshal(o)
	if err != nil {
		return "", err
	}
	path := filepath.Join(folder, "overlay.json")
	return path, os.WriteFile(path, text, 0o600)
}

// buildTest builds this package's test binary with an overlay. With the race
// detector it shares what has been built for the running one.
func buildTest(ctx context.Context, overlay, binary string, race bool) error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	args := []string{"test", "-c", "-overlay", overlay, "-o", binary}
	if race {
		args = append(args, "-race")
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "./accounts/chaos")...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build with overlay: %w\n%s", err, out)
	}
	return nil
}
