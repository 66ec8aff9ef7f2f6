// Package repotest holds tests about the repository itself: which package may
// import which, and that each says what it is for.
package repotest

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/throng-load/throng/"

type pkg struct {
	ImportPath string
	Name       string
	Doc        string
	Imports    []string
	GoFiles    []string
}

// packages lists the module's packages as the Go tool sees them.
func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Name,Doc,Imports,GoFiles", module+"...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		p.ImportPath = strings.TrimPrefix(p.ImportPath, module)
		all = append(all, p)
	}
	if len(all) < 10 {
		t.Fatalf("go list found only %d packages", len(all))
	}
	return all
}

// within says whether a package is a tree's root or lies in it.
func within(path, tree string) bool { return path == tree || strings.HasPrefix(path, tree+"/") }

func withinAny(path string, trees []string) bool {
	return slices.ContainsFunc(trees, func(tree string) bool { return within(path, tree) })
}

// Dependencies point one way.
func TestImportsPointOneWay(t *testing.T) {
	t.Parallel()
	rules := []struct {
		from   string   // this package and those beneath it
		never  []string // must not import these or anything beneath them
		except []string // but for these
		why    string
	}{
		{"accounts", []string{"cmd", "master", "worker", "scenarios", "internal/coord"}, nil,
			"a pool knows nothing of who leases from it"},
		{"scenarios", []string{"cmd", "master", "worker", "internal/coord"}, nil,
			"the author of a scenario needs no swarm to compile it"},
		{"scenarios", []string{"accounts/provision"}, nil,
			"a scenario knows accounts only as the type of a leased account"},
		{"master", []string{"worker", "cmd", "internal/dial", "scenarios/pubsub"}, nil,
			"master and worker meet in Redis alone, and the master never talks to the target"},
		{"worker", []string{"master", "cmd"}, nil,
			"master and worker meet in Redis alone"},
		{"worker/bridge", []string{"worker/locust", "worker/rig", "worker/probe", "accounts"}, nil,
			"orders are the same whoever gives them, and users are not the bridge's"},
		{"worker/locust", []string{"worker/rig", "worker/probe", "internal/coord", "accounts", "scenarios"}, nil,
			"it is an adapter between protocols: users, their pace and their times stay with the worker"},
		{"internal", []string{"cmd", "master", "worker", "scenarios", "accounts"}, nil,
			"internal is what the others stand on"},
		{"internal/keyspace", []string{"accounts", "scenarios", "internal/coord"}, nil, "it only names keys"},
		{"internal/hist", []string{"accounts", "scenarios", "internal/coord", "internal/opstats"}, nil, "a histogram knows no operations"},
		{"internal/target", []string{"accounts", "scenarios", "internal/coord"}, nil,
			"the target is a witness: it must not share code with what it judges"},
		{"master/web", []string{"accounts", "internal", "scenarios/pubsub"}, []string{"internal/hist", "internal/opstats"},
			"the page shows figures: it does not know Redis, the protocol or the pool"},
		{"master/report", []string{"internal", "accounts", "scenarios"}, nil, "a report knows figures, not where they come from"},
	}
	for _, p := range packages(t) {
		for _, rule := range rules {
			if !within(p.ImportPath, rule.from) {
				continue
			}
			for _, imported := range p.Imports {
				path, own := strings.CutPrefix(imported, module)
				if own && withinAny(path, rule.never) && !withinAny(path, rule.except) {
					t.Errorf("%s imports %s, but %s", p.ImportPath, path, rule.why)
				}
			}
		}
	}
}

// A library that is imported in one place can be replaced in one place.
func TestLibrariesStayInTheirRoom(t *testing.T) {
	t.Parallel()
	rooms := map[string][]string{
		"github.com/myzhan/boomer":       {"worker/locust"},
		"github.com/asaskevich/EventBus": {"worker/locust"},
		"github.com/spf13/cobra":         {"cmd"},
		"github.com/spf13/pflag":         {"cmd"},
		"github.com/alicebob/miniredis":  {"internal/embedded", "internal/redistest"},
		"github.com/goccy/go-yaml":       {"scenarios"},
		"github.com/jedib0t/go-pretty":   {"master/report"},
		"github.com/failsafe-go":         {"accounts/provision", "scenarios/pubsub", "worker"},
		"github.com/HdrHistogram":        {"internal/hist"},
		"github.com/fxamacker/cbor":      {"internal/coord"},
		"github.com/jackc/pgx":           {"accounts/provision", "internal/pgtest"},
		"github.com/schollz/progressbar": {"cmd"},
		"github.com/prometheus":          {"master/web"},
		"github.com/chromedp":            {"master/web"}, // its tests
		"github.com/redis/go-redis":      {"accounts", "cmd", "internal/coord", "internal/redistest", "internal/redisurl", "worker/rig", "worker/bridge", "master", "internal/embedded"},
	}
	for _, p := range packages(t) {
		for _, imported := range p.Imports {
			for library, allowed := range rooms {
				if strings.HasPrefix(imported, library) && !withinAny(p.ImportPath, allowed) {
					t.Errorf("%s imports %s: only %s may", p.ImportPath, imported, strings.Join(allowed, ", "))
				}
			}
		}
	}
}

func TestPackagesSayWhatTheyAreFor(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		if len(p.GoFiles) == 0 {
			continue // tests alone
		}
		want := "Package " + p.Name
		if p.Name == "main" {
			want = "Command "
		}
		if !strings.HasPrefix(p.Doc, want) {
			t.Errorf("%s has no doc comment that begins with %q", p.ImportPath, want)
		}
	}
}
