//go:build !linux

package cmd

import (
	"errors"
	"os"
)

// readKeys is for Linux alone: elsewhere a run is changed by other means.
func readKeys(*os.File) (restore func(), err error) { return nil, errors.ErrUnsupported }
