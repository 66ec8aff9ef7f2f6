package web

import (
	"encoding/csv"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// listed are the percentiles of the CSV files.
var listed = []float64{0.5, 0.66, 0.75, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999, 0.9999, 1}

func (s *Server) requestsCSV(w http.ResponseWriter, _ *http.Request) {
	rows := [][]string{{"Type", "Name", "Request Count", "Failure Count", "Median Response Time", "Average Response Time",
		"Min Response Time", "Max Response Time", "Average Content Size", "Requests/s", "Failures/s",
		"50%", "66%", "75%", "80%", "90%", "95%", "98%", "99%", "99.9%", "99.99%", "100%"}}
	f := s.newest()
	for _, r := range f.rows {
		fields := []string{r.Method, r.Name, whole(r.NumRequests), whole(r.NumFailures), whole(r.Median), number(r.AvgResponseTime),
			whole(r.MinResponseTime), whole(r.MaxResponseTime), number(r.AvgContentLength), number(r.TotalRPS), number(r.TotalFailRate)}
		for _, p := range listed {
			if r.NumRequests == 0 {
				fields = append(fields, "N/A")
				continue
			}
			fields = append(fields, whole(r.times.percentile(p)))
		}
		rows = append(rows, fields)
	}
	s.writeCSV(w, "requests", rows)
}

func (s *Server) failuresCSV(w http.ResponseWriter, _ *http.Request) {
	rows := [][]string{{"Method", "Name", "Error", "Occurrences", "First Seen", "Last Seen"}}
	for _, e := range s.newest().errors {
		rows = append(rows, []string{e.Method, e.Name, e.Error, whole(e.Occurrences), seenStamp(e.FirstSeen), seenStamp(e.LastSeen)})
	}
	s.writeCSV(w, "failures", rows)
}

func (s *Server) exceptionsCSV(w http.ResponseWriter, _ *http.Request) {
	rows := [][]string{{"Count", "Message", "Traceback", "Nodes"}}
	for _, e := range s.newest().sessionExceptions() {
		rows = append(rows, []string{whole(e.Count), e.Message, e.Traceback, e.Nodes})
	}
	s.writeCSV(w, "exceptions", rows)
}

// historyCSV is Locust's answer without --csv-full-history, which Throng does
// not have.
func (s *Server) historyCSV(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(http.StatusNotFound)
	_, _ = io.WriteString(w, "Error: Server was not started with option to generate full history.")
}

// writeCSV answers with a file of the run.
func (s *Server) writeCSV(w http.ResponseWriter, kind string, rows [][]string) {
	w.Header().Set("Content-Type", "text/csv")
	w.Header().Set("Content-Disposition", "attachment;filename="+s.fileName(kind)+".csv")
	out := csv.NewWriter(w)
	out.UseCRLF = true
	_ = out.WriteAll(rows) // whoever asked may have gone
}

// fileName is what a download of the run is called, without its ending.
func (s *Server) fileName(kind string) string {
	spec, _ := s.settings()
	began := time.Now()
	if view := s.newest().view; view != nil && view.Summary != nil {
		began = view.Summary.Run.StartedAt
	}
	file := strings.TrimSuffix(filepath.Base(s.cfg.File), filepath.Ext(s.cfg.File))
	parts := []string{"Locust", began.Format("2006-01-02-15h04"), file, spec.Target}
	if kind != "" {
		parts = append(parts, kind)
	}
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-+", r) {
			return r
		}
		return '-'
	}, strings.Join(parts, "_"))
}

func whole(n int64) string { return strconv.FormatInt(n, 10) }

// number writes a float as Python does: 3.0, not 3.
func number(v float64) string {
	if v == float64(int64(v)) {
		return fmt.Sprintf("%.1f", v)
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}

// seenStamp is when an error was seen; empty when that is not known.
func seenStamp(at *float64) string {
	if at == nil {
		return ""
	}
	return stamp(time.UnixMilli(int64(*at * 1000)))
}
