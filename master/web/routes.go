package web

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// route answers one path with one method. Whatever answers GET answers HEAD
// too, and everything answers OPTIONS.
type route struct {
	method, path string
	handle       http.HandlerFunc
	// open needs no login; changes says that a GET changes something, which
	// another site's page must not do.
	open, changes bool
}

func (s *Server) routes() (http.Handler, error) {
	assets, err := newAssets()
	if err != nil {
		return nil, err
	}
	metrics := promhttp.HandlerFor(newMetrics(s), promhttp.HandlerOpts{})
	table := []route{
		{method: "GET", path: "/", handle: s.page(assets)},
		{method: "POST", path: "/swarm", handle: s.swarm},
		{method: "GET", path: "/stop", handle: s.stop, changes: true},
		{method: "GET", path: "/stats/requests", handle: s.statsRequests},
		{method: "GET", path: "/stats/reset", handle: s.statsReset, changes: true},
		{method: "GET", path: "/stats/requests/csv", handle: s.requestsCSV},
		{method: "GET", path: "/stats/failures/csv", handle: s.failuresCSV},
		{method: "GET", path: "/stats/requests_full_history/csv", handle: s.historyCSV},
		{method: "GET", path: "/exceptions/csv", handle: s.exceptionsCSV},
		{method: "GET", path: "/stats/report", handle: s.report},
		{method: "GET", path: "/exceptions", handle: s.exceptions},
		{method: "GET", path: "/tasks", handle: s.tasks},
		{method: "GET", path: "/logs", handle: s.logs},
		{method: "GET", path: "/worker-count", handle: s.workerCount},
		{method: "POST", path: "/user", handle: s.user},
		{method: "GET", path: "/login", handle: s.loginPage, open: true},
		{method: "GET", path: "/metrics", handle: metrics.ServeHTTP},
		{method: "GET", path: "/throng/status", handle: s.status},
	}
	if s.login != nil {
		table = append(table,
			route{method: "POST", path: "/login", handle: s.logIn, open: true},
			route{method: "POST", path: "/logout", handle: s.logOut, open: true})
	}
	paths := make(map[string][]route)
	for _, r := range table {
		paths[r.path] = append(paths[r.path], r)
	}
	crossOrigin := http.NewCrossOriginProtection()
	dispatch := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("X-Frame-Options", "SAMEORIGIN") // nobody lays the Stop button under theirs
		routes := paths[r.URL.Path]
		if name, ok := strings.CutPrefix(r.URL.Path, "/assets/"); ok {
			routes = []route{{method: "GET", handle: assets.file(name), open: true}}
		}
		s.answer(w, r, routes, crossOrigin)
	})
	return s.underBasePath(dispatch), nil
}

// answer has the route of the request's method answer.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, routes []route, crossOrigin *http.CrossOriginProtection) {
	if len(routes) == 0 {
		plainPage(w, http.StatusNotFound, "Not Found", "The requested URL was not found on the server.")
		return
	}
	var allow []string
	for _, route := range routes {
		allow = append(allow, route.method)
		if route.method == http.MethodGet {
			allow = append(allow, http.MethodHead)
		}
	}
	slices.Sort(allow)
	allow = append(allow, http.MethodOptions)
	w.Header().Set("Allow", strings.Join(allow, ", "))
	if r.Method == http.MethodOptions {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		return
	}
	for _, route := range routes {
		if r.Method != route.method && (r.Method != http.MethodHead || route.method != http.MethodGet) {
			continue
		}
		w.Header().Del("Allow")
		if err := checkOrigin(crossOrigin, r, route.changes); err != nil {
			plainPage(w, http.StatusForbidden, "Forbidden", "Another site's page must not change anything here.")
			return
		}
		if !route.open && s.login != nil && !s.login.admits(r) {
			s.turnAway(w, r)
			return
		}
		if r.Method == http.MethodHead && route.changes {
			return // a look must not change anything
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		route.handle(w, r)
		return
	}
	plainPage(w, http.StatusMethodNotAllowed, "Method Not Allowed", "The method is not allowed for the requested URL.")
}

// checkOrigin refuses requests that another site's page has made and that would
// change something, also by GET.
func checkOrigin(protection *http.CrossOriginProtection, r *http.Request, changes bool) error {
	if !changes {
		return protection.Check(r)
	}
	asWrite := r.Clone(r.Context())
	asWrite.Method = http.MethodPost
	return protection.Check(asWrite)
}

// underBasePath moves everything under the base path: the path itself leads to
// the page, everything beside it is not there.
func (s *Server) underBasePath(next http.Handler) http.Handler {
	base := s.cfg.BasePath
	if base == "" {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path, ok := strings.CutPrefix(r.URL.Path, base)
		switch {
		case ok && path == "":
			to := base + "/"
			if r.URL.RawQuery != "" {
				to += "?" + r.URL.RawQuery
			}
			http.Redirect(w, r, to, http.StatusPermanentRedirect)
		case ok && strings.HasPrefix(path, "/"):
			inner := r.Clone(r.Context())
			inner.URL.Path = path
			next.ServeHTTP(w, inner)
		default:
			w.Header().Set("Access-Control-Allow-Origin", "*")
			plainPage(w, http.StatusNotFound, "Not Found", "Everything is under "+base+"/ here.")
		}
	})
}

// plainPage answers with a page of one sentence, which must not hold anything
// from the request.
func plainPage(w http.ResponseWriter, status int, title, text string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<!doctype html>\n<html lang=en>\n<title>%d %s</title>\n<h1>%s</h1>\n<p>%s</p>\n", status, title, title, text)
}

func writeJSON(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = bytes.NewReader(body).WriteTo(w) // whoever asked may have gone
}
