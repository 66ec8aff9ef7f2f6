package cmd

import (
	"os"

	"golang.org/x/term"
)

// terminalSize returns what tells the size of the terminal at f, which may
// change; nil if there is no terminal.
func terminalSize(f *os.File) func() (columns, lines int) {
	if !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return func() (columns, lines int) {
		columns, lines, err := term.GetSize(int(f.Fd()))
		if err != nil || columns == 0 || lines == 0 {
			return 80, 24 // what a terminal has that does not say
		}
		return columns, lines
	}
}
