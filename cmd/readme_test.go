package cmd

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/throng-load/throng/scenarios"
	"github.com/throng-load/throng/scenarios/classroom"
)

// Every throng command that the docs show exists, with the flags that it is
// shown with.
func TestCommandsInDocsParse(t *testing.T) {
	t.Parallel()
	shown := regexp.MustCompile(`(?m)^(?:#?   +|  )throng ([a-z].*)$`)
	n := 0
	for _, file := range []string{"../README.md", "../docs/scenarios.md", "../docs/accounts.md", "../docs/locust.md", "../examples/classroom.yaml"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range shown.FindAllStringSubmatch(string(text), -1) {
			line, _, _ := strings.Cut(match[1], "#")
			n++
			root := newRoot(env{scenarios: []scenarios.Scenario{classroom.Scenario}})
			cmd, rest, err := root.Find(strings.Fields(line))
			if err == nil && !cmd.HasSubCommands() {
				err = cmd.ParseFlags(rest)
			}
			if err != nil || cmd == root {
				t.Errorf("%s shows `throng %s`: %v", file, strings.TrimSpace(line), err)
			}
		}
	}
	if n < 6 {
		t.Errorf("found only %d commands in the docs", n)
	}
}
