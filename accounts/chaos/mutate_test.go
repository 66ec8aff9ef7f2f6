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
	"strings"
	"testing"
	"time"
)

// mutantsVariable asks TestMutantsAreCaught for one mutant by its name, or for
// "all".
const mutantsVariable = "THRONG_CHAOS_MUTANTS"

// attempts is how many runs a mutant may survive: a guard is not needed in every
// run.
const attempts = 3

// Mutants stay alive when the code moves: each text that one replaces is there,
// once.
func TestMutantsFit(t *testing.T) {
	t.Parallel()
	if _, err := writeOverlay(t.TempDir(), []edit{clockEdit}, clockSource); err != nil {
		t.Errorf("the wrong clock: %v", err)
	}
	for _, m := range mutants() {
		if _, err := writeOverlay(t.TempDir(), m.edits, nil); err != nil {
			t.Errorf("mutant %s: %v", m.name, err)
		}
	}
}

// TestMutantsAreCaught builds every mutant and makes short runs with it: the
// proof that the proof can fail.
func TestMutantsAreCaught(t *testing.T) {
	asked := os.Getenv(mutantsVariable)
	if asked == "" {
		t.Skipf("it takes minutes; ask for it with %s=all", mutantsVariable)
	}
	var lines []string
	if asked == "all" {
		// What catches mutants must let the product pass, in the same runs.
		control := mutant{name: "none: the product as it is"}
		by, err := control.isCaught(t.Context(), t.TempDir())
		if err != nil || by != "" {
			t.Fatalf("the product itself fails, so nothing is proven: %s %v", by, err)
		}
		lines = append(lines, fmt.Sprintf("%-28s passed %d runs", control.name, attempts))
	}
	for _, m := range mutants() {
		if asked != "all" && asked != m.name {
			continue
		}
		line := fmt.Sprintf("%-28s %s", m.name, "survived: "+m.what)
		by, err := m.isCaught(t.Context(), t.TempDir())
		switch {
		case err != nil:
			t.Errorf("mutant %s: %v", m.name, err)
		case by == "":
			t.Errorf("mutant %s survived %d runs: %s", m.name, attempts, m.what)
		default:
			line = fmt.Sprintf("%-28s caught %s", m.name, by)
		}
		t.Log(line)
		lines = append(lines, line)
	}
	if len(lines) == 0 {
		var names []string
		for _, m := range mutants() {
			names = append(names, m.name)
		}
		t.Fatalf("%s=%s: no such mutant; there are %s, or all", mutantsVariable, asked, strings.Join(names, ", "))
	}
	t.Logf("mutants:\n%s", strings.Join(lines, "\n"))
}

// isCaught makes runs until one fails, and says in how long and by what.
func (m mutant) isCaught(ctx context.Context, folder string) (string, error) {
	path, err := writeOverlay(folder, m.edits, nil)
	if err != nil {
		return "", err
	}
	binary := filepath.Join(folder, "mutant.test")
	if err := buildTest(ctx, path, binary, false); err != nil {
		return "", err
	}
	var spent time.Duration
	for attempt := range attempts {
		saved := filepath.Join(folder, fmt.Sprintf("report-%d.json", attempt))
		began := time.Now()
		cmd := exec.CommandContext(ctx, binary, "-test.run", "^TestAccountsAreNeverSharedNorLost$", "-test.v", "-test.timeout", "5m")
		cmd.Env = append(os.Environ(), longVariable+"=", failFastVariable+"=1", overlayVariable+"="+path, reportVariable+"="+saved,
			fmt.Sprintf("%s=%d", seedVariable, attempt+1))
		out, err := cmd.CombinedOutput()
		spent += time.Since(began)
		if err == nil {
			continue
		}
		text, readErr := os.ReadFile(saved)
		if readErr != nil {
			return "", fmt.Errorf("a run without a report: %w\n%s", errors.Join(err, readErr), out)
		}
		var r report
		if err := json.Unmarshal(text, &r); err != nil {
			return "", err
		}
		if len(r.Violations) == 0 {
			return "", fmt.Errorf("a run failed otherwise: %w\n%s", err, out)
		}
		first := r.Violations[0]
		return fmt.Sprintf("in %.1f s (%.1f s of run %d) by %q: %s", spent.Seconds(), first.At, attempt+1, first.Rule, first.Text), nil
	}
	return "", nil
}
