package web

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// reportPage is the HTML report: one file, which loads nothing.
//
//go:embed report.html
var reportPage []byte

// report answers with the run as one HTML file.
func (s *Server) report(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	theme := "light"
	if query.Get("theme") == "dark" {
		theme = "dark"
	}
	download := query.Get("download") != ""
	args, err := json.Marshal(s.reportArgs(!download))
	if err != nil {
		plainPage(w, http.StatusInternalServerError, "Internal Server Error", "The report cannot be written.")
		return
	}
	script := fmt.Sprintf("<script>window.templateArgs = %s; window.theme = %q;</script>", args, theme)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if download {
		w.Header().Set("Content-Disposition", "attachment;filename="+s.fileName("")+".html")
	}
	_, _ = w.Write(bytes.Replace(reportPage, []byte(argsPlace), []byte(script), 1))
}

func (s *Server) reportArgs(link bool) map[string]any {
	f := s.newest()
	spec, profile := s.settings()
	start, end, users := time.Now(), time.Now(), f.UserCount
	var own any
	if f.view != nil && f.view.Summary != nil {
		run := f.view.Summary.Run
		start = run.StartedAt
		end = start.Add(time.Duration(run.DurationS * float64(time.Second)))
		if f.State == StateStopped {
			users = run.UsersPeak // as they were when it was stopped
		}
		own = f.view.Summary
	}
	var responseTimes []map[string]any
	for _, row := range f.rows {
		times := map[string]any{"name": row.Name, "method": row.Method}
		for _, p := range []struct {
			name string
			at   float64
		}{{"0.5", 0.5}, {"0.6", 0.6}, {"0.7", 0.7}, {"0.8", 0.8}, {"0.9", 0.9}, {"0.95", 0.95}, {"0.99", 0.99}, {"1.0", 1}} {
			times[p.name] = row.times.percentile(p.at)
		}
		responseTimes = append(responseTimes, times)
	}
	return map[string]any{
		"is_report": true, "show_download_link": link,
		"requests_statistics": f.Stats, "failures_statistics": f.Errors, "exceptions_statistics": f.sessionExceptions(),
		"response_time_statistics": responseTimes,
		"start_time":               stamp(start), "end_time": stamp(end), "duration": inWords(end.Sub(start)),
		"host": spec.Target, "history": s.points(), "locustfile": s.cfg.File, "tasks": ratios(spec, users),
		"percentiles_to_chart": []float64{0.5, 0.95}, "percentiles_to_statistics": []float64{0.95, 0.99},
		"profile": profile, "version": s.cfg.Version, "summary": own,
	}
}

// inWords is a duration as Locust writes it: 1 hour, 2 minutes and 3 seconds.
func inWords(d time.Duration) string {
	seconds := int64(max(0, d.Round(time.Second)) / time.Second)
	var parts []string
	for _, unit := range []struct {
		name string
		size int64
	}{{"day", 86400}, {"hour", 3600}, {"minute", 60}, {"second", 1}} {
		if n := seconds / unit.size; n > 0 {
			name := unit.name
			if n != 1 {
				name += "s"
			}
			parts = append(parts, fmt.Sprintf("%d %s", n, name))
			seconds -= n * unit.size
		}
	}
	switch n := len(parts); n {
	case 0:
		return "0 seconds"
	case 1:
		return parts[0]
	default:
		return strings.Join(parts[:n-1], ", ") + " and " + parts[n-1]
	}
}
