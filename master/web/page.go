package web

import (
	"bytes"
	"compress/gzip"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"sync"

	"github.com/throng-load/throng/scenarios"
)

// bundle is the page as `make ui` builds it, or else a page that says how to.
//
//go:embed all:ui/dist
var bundle embed.FS

const (
	bundleRoot  = "ui/dist"
	builtPage   = "index.html"
	placeholder = "placeholder.html"
	// argsPlace is where the page wants its arguments.
	argsPlace = "<!-- templateArgs -->"
)

// assets are the files of the page.
type assets struct {
	files fs.FS
	index []byte

	mu     sync.Mutex        // guards packed
	packed map[string][]byte // gzipped, by name, when first asked for
}

func newAssets() (*assets, error) {
	files, err := fs.Sub(bundle, bundleRoot)
	if err != nil {
		return nil, err
	}
	a := &assets{files: files, packed: make(map[string][]byte)}
	a.index, err = fs.ReadFile(files, builtPage)
	if errors.Is(err, fs.ErrNotExist) {
		a.index, err = fs.ReadFile(files, placeholder)
	}
	if err != nil {
		return nil, fmt.Errorf("web page: %w", err)
	}
	return a, nil
}

// PageBuilt says whether this executable has the page, and not the placeholder.
func PageBuilt() bool {
	_, err := fs.Stat(bundle, path.Join(bundleRoot, builtPage))
	return err == nil
}

// file answers with one of the assets. Their names change with their content,
// so they may be kept for ever.
func (a *assets) file(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := fs.ReadFile(a.files, path.Join("assets", name))
		if err != nil || !fs.ValidPath(name) {
			plainPage(w, http.StatusNotFound, "Not Found", "The requested URL was not found on the server.")
			return
		}
		kind := mime.TypeByExtension(path.Ext(name))
		if path.Ext(name) == ".js" {
			kind = "text/javascript; charset=utf-8" // whatever this machine's tables say
		}
		w.Header().Set("Content-Type", kind)
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
		w.Header().Set("Vary", "Accept-Encoding")
		if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			w.Header().Set("Content-Encoding", "gzip")
			body = a.pack(name, body)
		}
		_, _ = w.Write(body) // whoever asked may have gone
	}
}

func (a *assets) pack(name string, body []byte) []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	if packed, ok := a.packed[name]; ok {
		return packed
	}
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, err := z.Write(body)
	if err = errors.Join(err, z.Close()); err != nil {
		panic(err) // a buffer takes everything
	}
	a.packed[name] = out.Bytes()
	return a.packed[name]
}

// page answers with the page and its arguments.
func (s *Server) page(a *assets) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		args, err := s.templateArgs()
		if err != nil {
			plainPage(w, http.StatusInternalServerError, "Internal Server Error", "The page's arguments cannot be written.")
			return
		}
		// encoding/json escapes <, > and &, so that no name ends the script.
		script := []byte("<script>window.templateArgs = " + string(args) + ";</script>")
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		_, _ = w.Write(bytes.Replace(a.index, []byte(argsPlace), script, 1))
	}
}

// extraOption is a parameter of the scenario in the form.
type extraOption struct {
	Default  string   `json:"default_value"`
	Secret   bool     `json:"is_secret"`
	Required bool     `json:"is_required"`
	Help     string   `json:"help_text"`
	Multiple bool     `json:"is_multiple"`
	Choices  []string `json:"choices"`
}

// userClass is a class as the form shows it.
type userClass struct {
	Host       string   `json:"host"`
	Weight     int      `json:"weight"`
	FixedCount int      `json:"fixed_count"`
	Tasks      []string `json:"tasks"`
}

func userClasses(spec *scenarios.Spec) map[string]userClass {
	classes := make(map[string]userClass)
	for _, class := range spec.Behaviour.Classes() {
		classes[class.Name] = userClass{Host: spec.Target, Weight: class.Weight, Tasks: []string{taskName}}
	}
	return classes
}

func extraOptions(spec *scenarios.Spec) (map[string]extraOption, error) {
	params, err := spec.Params()
	if err != nil {
		return nil, err
	}
	options := make(map[string]extraOption)
	for _, p := range params {
		options[p.Name] = extraOption{Default: p.Text, Help: "as under params in throng.yaml"}
	}
	return options, nil
}

// templateArgs is what the page is given when it is loaded, as JSON.
func (s *Server) templateArgs() ([]byte, error) {
	spec, profile := s.settings()
	f := s.newest()
	options, err := extraOptions(spec)
	if err != nil {
		return nil, err
	}
	tasks := make(map[string][]string)
	for _, name := range classNames(spec) {
		tasks[name] = []string{taskName}
	}
	shapes := []string{defaultShape}
	if followsStages(s.cfg.Spec) {
		shapes = append(shapes, stagesShape)
	}
	var runTime any
	if spec.Load.RunTime > 0 {
		runTime = spec.Load.RunTime.String()
	}
	return json.Marshal(map[string]any{
		"state": f.State, "is_distributed": true, "worker_count": f.WorkerCount, "user_count": f.UserCount,
		"host": spec.Target, "history": s.points(),
		"num_users": spec.Load.Users, "spawn_rate": spec.Load.SpawnRate, "run_time": runTime,
		"version": s.cfg.Version, "locustfile": s.cfg.File,
		"override_host_warning": false, "missing_host_warning": false, "is_host_required": true,
		"hide_common_options":      s.loadIsFixed(f.State),
		"shape_use_common_options": false, "stats_history_enabled": false,
		"extra_options": options, "show_userclass_picker": s.cfg.ClassPicker,
		"available_user_classes": classNames(spec), "available_shape_classes": shapes,
		"available_user_tasks": tasks, "users": userClasses(spec),
		"percentiles_to_chart": []float64{0.5, 0.95}, "percentiles_to_statistics": []float64{0.95, 0.99},
		"profile": profile, "tasks": "{}",
		// Throng's own.
		"base_path": s.cfg.BasePath, "has_login": s.login != nil,
	})
}
