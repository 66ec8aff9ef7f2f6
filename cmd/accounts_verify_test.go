package cmd

import (
	"testing"
)

func TestVerify(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.run("create", "10", "--role", "student").exits(0)
	b.run("create", "3", "--role", "proctor").exits(0)
	b.run("verify").exits(0, "13 verified: 13 good, 0 not accepted, 0 missing")

	students := usernamesOf(b.listed("--role", "student"))
	b.forgets(students[0], students[1])
	b.run("verify", "--role", "proctor").exits(0, "3 verified: 3 good")
	got := decode[verifiedAccounts](b.run("verify", "--json").exits(1))
	if got.Checked != 13 || got.Good != 11 || got.Missing != 2 || len(got.Worst) != 2 || !got.Complete {
		t.Errorf("verify --json: %+v", got)
	}
	if n := len(b.listed("--state", "quarantined")); n != 2 {
		t.Errorf("%d accounts in quarantine, want 2", n)
	}

	// One that can be used again comes back; what is missing goes.
	b.run("quarantine", students[2], "--reason", "by hand").exits(0)
	b.run("verify", "--quarantined", "--delete-bad").exits(0, "11 good", "2 missing", "1 restored", "2 deleted")
	if all := b.listed(); len(all) != 11 || b.inTarget() != 11 {
		t.Errorf("%d accounts in the pool and %d in the target, want 11 and 11", len(all), b.inTarget())
	}
	b.run("create", "10", "--role", "student").exits(0, "2 created")
	b.run("verify", "--role", "teacher").exits(2, `has no role "teacher": it has proctor, student`).oneLine()
}
