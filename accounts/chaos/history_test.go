//go:build linux

package chaos_test

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// A worker's history is a file of records of one size. Each is written with one
// system call, so what has happened before a kill -9 is there.

// Kinds of records. from and to are readings of now().
const (
	// leased: from is when the lease was handed out.
	leased = 'L'
	// used: from is just before the fence let a request leave, to is when it
	// was answered.
	used = 'U'
	// refused: from is when the fence held a request back.
	refused = 'R'
	// held up: a write that took long, from just before it to just after it.
	heldUp = 'P'
	// ended: from is the last time that the lease was found good, 0 if never;
	// to is when it ended.
	ended = 'E'
)

// Why a lease ended.
const (
	givenBack = iota
	suspended
	lost
	otherwise
)

type record struct {
	Kind, Cause     byte
	Account         uint32
	Token, From, To int64
}

// recordSize is 1 byte each for Kind and Cause, 2 unused ones, and the others.
const recordSize = 4 + 4 + 3*8

func (r record) encode() (text [recordSize]byte) {
	text[0], text[1] = r.Kind, r.Cause
	binary.LittleEndian.PutUint32(text[4:], r.Account)
	binary.LittleEndian.PutUint64(text[8:], uint64(r.Token))
	binary.LittleEndian.PutUint64(text[16:], uint64(r.From))
	binary.LittleEndian.PutUint64(text[24:], uint64(r.To))
	return text
}

func decodeRecord(text []byte) record {
	return record{
		Kind: text[0], Cause: text[1], Account: binary.LittleEndian.Uint32(text[4:]),
		Token: int64(binary.LittleEndian.Uint64(text[8:])),
		From:  int64(binary.LittleEndian.Uint64(text[16:])), To: int64(binary.LittleEndian.Uint64(text[24:])),
	}
}

// history is the writing end. It is safe for concurrent use.
type history struct{ file *os.File }

func createHistory(path string) (*history, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	return &history{file: f}, nil
}

func (h *history) add(r record) {
	text := r.encode()
	if _, err := h.file.Write(text[:]); err != nil {
		panic(err) // without its history the worker proves nothing
	}
}

// readHistory hands on the whole records of a file, in order.
func readHistory(path string, do func(record)) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var text [recordSize]byte
	for in := bufio.NewReaderSize(f, 1<<20); ; {
		switch _, err := io.ReadFull(in, text[:]); {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF): // killed while writing
			return nil
		case err != nil:
			return err
		}
		do(decodeRecord(text[:]))
	}
}

// use is the time during which a lease was used: from its being handed out to
// the last moment at which the fence let, or would have let, a request leave.
type use struct {
	account  uint32
	worker   string
	token    int64
	from, to int64
}

// uses puts the records of one history together. Leases that were never found
// good were not used.
type uses struct {
	worker string
	open   map[usage]int // of all, by account and token
	all    []use
}

type usage struct {
	account uint32
	token   int64
}

func (u *uses) add(r record) {
	k := usage{r.Account, r.Token}
	switch r.Kind {
	case leased:
		if u.open == nil {
			u.open = map[usage]int{}
		}
		u.open[k] = len(u.all)
		u.all = append(u.all, use{account: r.Account, worker: u.worker, token: r.Token, from: r.From})
	case used, ended:
		if i, ok := u.open[k]; ok {
			u.all[i].to = max(u.all[i].to, r.From)
		}
		if r.Kind == ended {
			delete(u.open, k)
		}
	}
}

func (u *uses) list() []use {
	return slices.DeleteFunc(u.all, func(u use) bool { return u.to < u.from })
}

// overlaps says what is wrong with the uses of all workers: two of an account at
// the same time, or one with a token that is not newer than that of the one
// before. It sorts the list.
func overlaps(all []use) []string {
	slices.SortFunc(all, func(a, b use) int {
		return cmp.Or(cmp.Compare(a.account, b.account), cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to))
	})
	var found []string
	last := use{} // of the account, the one that ended last
	for _, u := range all {
		if u.account != last.account || last.worker == "" {
			last = u
			continue
		}
		switch {
		case u.from <= last.to:
			found = append(found, fmt.Sprintf("account %d: %s used it with token %d until %d, %s with token %d from %d",
				u.account, last.worker, last.token, last.to, u.worker, u.token, u.from))
		case u.token <= last.token:
			found = append(found, fmt.Sprintf("account %d: token %d of %s came after token %d of %s",
				u.account, u.token, u.worker, last.token, last.worker))
		}
		if u.to > last.to {
			last = u
		}
	}
	return found
}
