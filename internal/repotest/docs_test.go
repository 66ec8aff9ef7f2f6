package repotest

import (
	"encoding/json"
	"go/format"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The scenario in the docs is what people copy: it must compile and be
// formatted.
func TestScenarioInDocsCompiles(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/scenarios.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, found := strings.Cut(string(text), "```go\n")
	code, _, closed := strings.Cut(after, "```")
	if !found || !closed {
		t.Fatal("docs/scenarios.md has no Go code")
	}
	formatted, err := format.Source([]byte(code))
	if err != nil {
		t.Fatal(err)
	}
	if string(formatted) != code {
		t.Errorf("gofmt would write it like this:\n%s", formatted)
	}

	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	source, overlay := filepath.Join(folder, "heartbeat.go"), filepath.Join(folder, "overlay.json")
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {filepath.Join(root, "internal/heartbeat/heartbeat.go"): source}})
	if err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string][]byte{source: []byte(code), overlay: replace} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("go", "build", "-overlay", overlay, "./internal/heartbeat")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
