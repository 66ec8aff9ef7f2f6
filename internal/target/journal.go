package target

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// errJournal is wrapped by errors about the content of a journal.
var errJournal = errors.New("not a journal of accounts")

// journal keeps what becomes of accounts in a file, one JSON object a line, in
// order. A line is in the file before the request that it is about is answered,
// so accounts outlive the process, however it ends. Nothing is forced to the
// disk: a machine that loses power may lose the newest lines.
//
// Its owner keeps its calls one after the other.
type journal struct{ file *os.File }

// entry is a line: accounts that were created with one request, or one that was
// deleted.
type entry struct {
	Created []kept `json:"created,omitempty"`
	// Key and Sum are the idempotency key and the digest of what was created.
	Key     string `json:"key,omitempty"`
	Sum     string `json:"sum,omitempty"`
	Deleted string `json:"deleted,omitempty"`
}

// kept is an account as it is written down. Its fencing token is not: the
// witness begins anew with the process.
type kept struct {
	application
	Bearer string `json:"bearer"`
}

// replay gives every entry of the file to apply. What a crash has left of a last
// line is cut off: its request was never answered.
func (j *journal) replay(apply func(entry, digest)) error {
	text, err := io.ReadAll(j.file)
	if err != nil {
		return err
	}
	end := bytes.LastIndexByte(text, '\n') + 1
	number := 0
	for line := range bytes.Lines(text[:end]) {
		number++
		var e entry
		var sum digest
		strict := json.NewDecoder(bytes.NewReader(line))
		strict.DisallowUnknownFields()
		err := strict.Decode(&e)
		if err == nil && e.Key != "" {
			var n int
			if n, err = hex.Decode(sum[:], []byte(e.Sum)); err == nil && n != len(sum) {
				err = errors.New("short digest")
			}
		}
		if err != nil || len(e.Created) == 0 && e.Deleted == "" {
			// The decoder's text may quote a password.
			return fmt.Errorf("line %d: %w", number, errJournal)
		}
		apply(e, sum)
	}
	if end == len(text) {
		return nil
	}
	return j.file.Truncate(int64(end))
}

// created writes accounts down that are about to be created.
func (j *journal) created(accounts []*account, key string, sum digest) error {
	e := entry{Key: key}
	if key != "" {
		e.Sum = hex.EncodeToString(sum[:])
	}
	for _, a := range accounts {
		e.Created = append(e.Created, kept{
			application: application{Username: a.username, Password: a.password, Role: a.role, Attributes: a.attributes},
			Bearer:      a.bearer,
		})
	}
	return j.write(e)
}

// deleted writes down that an account is about to be deleted.
func (j *journal) deleted(username string) error { return j.write(entry{Deleted: username}) }

func (j *journal) write(e entry) error {
	if j == nil {
		return nil // nothing is kept
	}
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode accounts: %w", err)
	}
	if _, err := j.file.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("keep accounts: %w", err)
	}
	return nil
}
