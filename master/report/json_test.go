package report_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/throng-load/throng/master/report"
)

func TestJSONGolden(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]*report.Summary{"crossed": crossed(), "invalid": invalid(), "empty": empty(), "nothing": {}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			if err := report.WriteJSON(&out, s); err != nil {
				t.Fatal(err)
			}
			golden(t, "json_"+name+".json", out.String())
			if strings.Contains(out.String(), "null") {
				t.Errorf("there is a null in\n%s", out.String())
			}
		})
	}
}

func TestJSONRoundTrip(t *testing.T) {
	t.Parallel()
	var first, second bytes.Buffer
	if err := report.WriteJSON(&first, workerLost()); err != nil {
		t.Fatal(err)
	}
	var read report.Summary
	if err := json.Unmarshal(first.Bytes(), &read); err != nil {
		t.Fatal(err)
	}
	if err := report.WriteJSON(&second, &read); err != nil {
		t.Fatal(err)
	}
	if first.String() != second.String() {
		t.Errorf("what was read and written again differs:\n%s\nfirst:\n%s", second.String(), first.String())
	}
}

func TestJSONErrors(t *testing.T) {
	t.Parallel()
	s := passed()
	s.Operations[0].RPS = math.NaN()
	var out bytes.Buffer
	if err := report.WriteJSON(&out, s); err == nil || !strings.HasPrefix(err.Error(), "write summary as JSON: ") {
		t.Errorf("got %v for a figure that is not a number", err)
	}
	if out.Len() > 0 {
		t.Errorf("half a summary was written: %s", out.String())
	}
	if err := report.WriteJSON(brokenWriter{}, passed()); !errors.Is(err, errBroken) {
		t.Errorf("got %v, want %v wrapped", err, errBroken)
	}
}

func TestJSONLeavesSummary(t *testing.T) {
	t.Parallel()
	s := new(report.Summary)
	if err := report.WriteJSON(new(bytes.Buffer), s); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(s, new(report.Summary)) {
		t.Errorf("the summary has changed: %+v", s)
	}
}

func TestSaveJSON(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "runs", "run-1")
	path := filepath.Join(folder, "summary.json")
	for _, s := range []*report.Summary{crossed(), passed()} { // the second replaces the first
		if err := report.SaveJSON(path, s); err != nil {
			t.Fatal(err)
		}
		var want bytes.Buffer
		if err := report.WriteJSON(&want, s); err != nil {
			t.Fatal(err)
		}
		if got := read(t, path); got != want.String() {
			t.Errorf("got %s, want %s", got, want.String())
		}
	}
	onlyFile(t, folder, "summary.json")
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("got mode %v (%v), want a file that everybody may read", info.Mode(), err)
	}
}

func TestSaveJSONInWorkingFolder(t *testing.T) {
	t.Chdir(t.TempDir()) // therefore not parallel
	if err := report.SaveJSON("summary.json", passed()); err != nil {
		t.Fatal(err)
	}
	onlyFile(t, ".", "summary.json")
}

// TestSaveJSONKeepsOld checks that a failure leaves the file that was there,
// and nothing else.
func TestSaveJSONKeepsOld(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	path := filepath.Join(folder, "summary.json")
	if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := passed()
	s.Run.DurationS = math.Inf(1)
	if err := report.SaveJSON(path, s); err == nil {
		t.Error("a summary without a JSON form was saved")
	}
	if got := read(t, path); got != "old" {
		t.Errorf("the old file is now %q", got)
	}
	onlyFile(t, folder, "summary.json")
}

func TestSaveJSONThroughLink(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	file, link := filepath.Join(folder, "file.json"), filepath.Join(folder, "latest.json")
	if err := os.WriteFile(file, bytes.Repeat([]byte("old "), 1e5), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	if err := report.SaveJSON(link, passed()); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link was replaced: %v, %v", info, err)
	}
	if got := read(t, file); !json.Valid([]byte(got)) {
		t.Errorf("the file is no JSON: %.200s", got)
	}
}

// TestSaveJSONErrors checks that an error is one line that names the path as it
// was given, and no other file of this program.
func TestSaveJSONErrors(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	file := filepath.Join(folder, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ path, want string }{
		"a folder":              {folder, "save summary to " + folder + ": is a directory"},
		"in a file":             {file + "/summary.json", "save summary to " + file + "/summary.json: mkdir " + file + ": not a directory"},
		"name longer than fits": {folder + "/" + strings.Repeat("n", 300), "save summary to " + folder + "/" + strings.Repeat("n", 300) + ": file name too long"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := report.SaveJSON(test.path, passed())
			if err == nil || err.Error() != test.want {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
		})
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// onlyFile checks that nothing else was left in a folder.
func onlyFile(t *testing.T, folder, name string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 || entries[0].Name() != name {
		t.Errorf("got %v in the folder, want %s alone", entries, name)
	}
}
