//go:build linux

package chaos_test

import (
	"path/filepath"
	"strings"
	"testing"
)

// The checker finds what it is there to find.
func TestOverlapsAreFound(t *testing.T) {
	t.Parallel()
	u := func(worker string, account uint32, token, from, to int64) use {
		return use{account: account, worker: worker, token: token, from: from, to: to}
	}
	tests := []struct {
		name string
		uses []use
		want string // part of what is found; "" for nothing
	}{
		{"one after the other", []use{u("a", 1, 1, 0, 5), u("b", 1, 2, 6, 9)}, ""},
		{"in whatever order they are read", []use{u("b", 1, 2, 6, 9), u("a", 1, 1, 0, 5)}, ""},
		{"two accounts", []use{u("a", 1, 1, 0, 5), u("b", 2, 2, 1, 9)}, ""},
		{"two at once", []use{u("a", 1, 1, 0, 5), u("b", 1, 2, 4, 9)}, "used it with token 1 until 5"},
		{"one within another, and a third", []use{u("a", 1, 1, 0, 50), u("b", 1, 2, 4, 9), u("c", 1, 3, 20, 30)}, "until 50, c"},
		{"an old token later", []use{u("a", 1, 7, 0, 5), u("b", 1, 6, 7, 9)}, "token 6 of b came after token 7 of a"},
		{"the same token twice", []use{u("a", 1, 7, 0, 5), u("b", 1, 7, 7, 9)}, "came after"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			found := overlaps(test.uses)
			if (test.want == "") != (len(found) == 0) || !strings.Contains(strings.Join(found, "\n"), test.want) {
				t.Errorf("found %q, want %q", found, test.want)
			}
		})
	}
}

func TestHistoriesAreReadAsWritten(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "history")
	h, err := createHistory(path)
	if err != nil {
		t.Fatal(err)
	}
	h.add(record{Kind: leased, Account: 4, Token: 10, From: 100})
	h.add(record{Kind: used, Account: 4, Token: 10, From: 110, To: 112})
	h.add(record{Kind: leased, Account: 5, Token: 10, From: 105})
	h.add(record{Kind: ended, Account: 5, Token: 10, Cause: lost, To: 120})
	h.add(record{Kind: ended, Account: 4, Token: 10, From: 130, To: 131})
	if _, err := h.file.Write([]byte("killed while writing")); err != nil {
		t.Fatal(err)
	}
	var records []record
	of := uses{worker: "a"}
	if err := readHistory(path, func(r record) { records = append(records, r); of.add(r) }); err != nil {
		t.Fatal(err)
	}
	if len(records) != 5 || records[3] != (record{Kind: ended, Account: 5, Token: 10, Cause: lost, To: 120}) {
		t.Fatalf("read %+v", records)
	}
	if all := of.list(); len(all) != 1 || all[0] != (use{account: 4, worker: "a", token: 10, from: 100, to: 130}) {
		t.Errorf("uses %+v, want that of account 4 from 100 to 130", all)
	}
}

func TestTheLedgerFindsOldTokens(t *testing.T) {
	t.Parallel()
	l := newLedger(nil)
	for _, r := range []struct {
		account uint32
		token   int64
	}{{1, 10}, {1, 10}, {2, 5}, {1, 11}, {2, 4}, {1, 12}} {
		l.note(r.account, r.token)
	}
	if seen, stale := l.figures(); seen != 6 || len(stale) != 1 || stale[0].account != 2 || stale[0].token != 4 || stale[0].newest != 5 {
		t.Errorf("%d seen, %+v; want 6, and one of account 2", seen, stale)
	}
}
