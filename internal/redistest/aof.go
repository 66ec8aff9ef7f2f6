//go:build unix

package redistest

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// AOF returns the path of that part of the append-only file that is being
// written to.
func (s *Server) AOF() (string, error) {
	folder := filepath.Join(s.dir, "appendonlydir")
	f, err := os.Open(filepath.Join(folder, "appendonly.aof.manifest"))
	if err != nil {
		return "", fmt.Errorf("redistest: find append-only file: %w", err)
	}
	defer f.Close()
	name := ""
	for lines := bufio.NewScanner(f); lines.Scan(); {
		// file NAME seq N type i: the increments, of which the last is open.
		fields := strings.Fields(lines.Text())
		if len(fields) == 6 && fields[0] == "file" && fields[5] == "i" {
			name = fields[1]
		}
	}
	if name == "" {
		return "", errors.New("redistest: find append-only file: the manifest names none")
	}
	return filepath.Join(folder, name), nil
}

// AOFSize returns how many bytes the open part of the append-only file has.
func (s *Server) AOFSize() (int64, error) {
	path, err := s.AOF()
	if err != nil {
		return 0, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return 0, fmt.Errorf("redistest: look at append-only file: %w", err)
	}
	return info.Size(), nil
}

// CutAOF cuts the open part of the append-only file of a server that has ended
// down to size bytes, as a crash of the machine does, and returns how many bytes
// it has removed.
func (s *Server) CutAOF(size int64) (removed int64, err error) {
	if p := s.last(); !p.hasEnded() {
		return 0, errors.New("redistest: cut append-only file: the server runs")
	}
	path, err := s.AOF()
	if err != nil {
		return 0, err
	}
	had, err := s.AOFSize()
	if err != nil {
		return 0, err
	}
	if size > had {
		return 0, fmt.Errorf("redistest: cut append-only file: it has %d bytes, not %d", had, size)
	}
	if err := os.Truncate(path, size); err != nil {
		return 0, fmt.Errorf("redistest: cut append-only file: %w", err)
	}
	return had - size, nil
}
