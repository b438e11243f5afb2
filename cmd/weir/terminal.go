package main

import (
	"io"
	"os"
)

// isTerminal says whether w is something that a person looks at, so that a
// line in it may be written over. Pipes and files are not.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// eraseLine takes the cursor to the start of its line and empties the line.
const eraseLine = "\r\x1b[K"
