package web_test

import (
	"encoding/csv"
	"encoding/json"
	"io"
	"maps"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// dialect is how a server differs from what the contract says.
type dialect struct {
	name string
	// percentiles are the keys of a row's percentiles beside the median.
	percentiles []string
	// newer says that what Locust has had since 2.20 is there: /logs,
	// /worker-count, /user, /login, worker_count, and current rates and
	// percentiles at the top.
	newer bool
	// seen says that failures say when they were seen first and last.
	seen bool
	// missingIsRefused says that a form that lacks a number, or has a rate of
	// 0, is refused with 200 rather than failing with 500.
	missingIsRefused bool
	// badNumber is the least status for a number that is none.
	badNumber int
	// negativeIsRefused says that numbers below 0 are refused.
	negativeIsRefused bool
	// stopWait is how long a stop may take to show: Locust keeps the report for
	// two seconds.
	stopWait time.Duration
}

// Debian's Locust is 2.12.1. What it lacks came later.
var locust2121 = dialect{
	name: "locust 2.12.1", percentiles: []string{"ninetieth_response_time", "ninety_ninth_response_time"},
	badNumber: http.StatusInternalServerError, stopWait: 10 * time.Second,
}

var throng = dialect{
	name: "throng", percentiles: []string{"response_time_percentile_0.95", "response_time_percentile_0.99"},
	newer: true, seen: true, missingIsRefused: true, badNumber: http.StatusBadRequest, negativeIsRefused: true, stopWait: 10 * time.Second,
}

// api is a server that the contract is held against.
type api struct {
	base string
	dialect
}

func (a api) do(t *testing.T, method, path, kind, body string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, a.base+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, string(text)
}

func (a api) get(t *testing.T, path string) (*http.Response, string) {
	t.Helper()
	return a.do(t, http.MethodGet, path, "", "")
}

// json gets a path and decodes the answer.
func (a api) json(t *testing.T, path string) map[string]any {
	t.Helper()
	answer, text := a.get(t, path)
	if answer.StatusCode != http.StatusOK || !strings.HasPrefix(answer.Header.Get("Content-Type"), "application/json") {
		t.Fatalf("GET %s: status %d, type %q, want 200 and JSON: %.200s", path, answer.StatusCode, answer.Header.Get("Content-Type"), text)
	}
	var v map[string]any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("GET %s: %v in %.200s", path, err, text)
	}
	return v
}

// swarm posts a form to /swarm.
func (a api) swarm(t *testing.T, form url.Values) (int, map[string]any) {
	t.Helper()
	return decoded(t)(a.do(t, http.MethodPost, "/swarm", "application/x-www-form-urlencoded", form.Encode()))
}

func decoded(t *testing.T) func(*http.Response, string) (int, map[string]any) {
	return func(answer *http.Response, text string) (int, map[string]any) {
		t.Helper()
		var v map[string]any
		if answer.StatusCode == http.StatusOK {
			if err := json.Unmarshal([]byte(text), &v); err != nil {
				t.Fatalf("POST /swarm: %v in %.200s", err, text)
			}
		}
		return answer.StatusCode, v
	}
}

func load(users, rate string) url.Values {
	return url.Values{"user_count": {users}, "spawn_rate": {rate}}
}

// until gets the report until it is as wanted.
func (a api) until(t *testing.T, what string, ok func(report map[string]any) bool) map[string]any {
	t.Helper()
	end := time.Now().Add(30 * time.Second)
	for {
		report := a.json(t, "/stats/requests")
		if ok(report) {
			return report
		}
		if time.Now().After(end) {
			t.Fatalf("after 30 s the report is not yet as wanted (%s): %v", what, report)
		}
		select {
		case <-time.After(50 * time.Millisecond): // it is asked, as any page asks: there is no event to wait for
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		}
	}
}

func inState(states ...string) func(map[string]any) bool {
	return func(report map[string]any) bool { return slices.Contains(states, report["state"].(string)) }
}

func number(t *testing.T, v map[string]any, key string) float64 {
	t.Helper()
	n, ok := v[key].(float64)
	if !ok {
		t.Fatalf("%s is %v (%T), want a number, among %v", key, v[key], v[key], slices.Sorted(maps.Keys(v)))
	}
	return n
}

// checkContract holds a server that has workers and no run yet against the fact
// sheet. It ends with no run.
func checkContract(t *testing.T, a api) {
	a.checkRoutes(t)
	a.checkEmpty(t)
	a.checkBadForms(t)
	a.checkRun(t)
}

func (a api) checkRoutes(t *testing.T) {
	routes := map[string]string{"/": "GET", "/swarm": "POST", "/stop": "GET", "/stats/requests": "GET", "/stats/reset": "GET",
		"/stats/requests/csv": "GET", "/stats/failures/csv": "GET", "/exceptions/csv": "GET", "/exceptions": "GET", "/tasks": "GET", "/stats/report": "GET"}
	if a.newer {
		maps.Copy(routes, map[string]string{"/logs": "GET", "/worker-count": "GET", "/user": "POST", "/login": "GET"})
	}
	for path, method := range routes {
		wrong := map[string]string{"GET": "POST", "POST": "GET"}[method]
		answer, _ := a.do(t, wrong, path, "", "")
		if answer.StatusCode != http.StatusMethodNotAllowed || !strings.Contains(answer.Header.Get("Allow"), method) {
			t.Errorf("%s %s: status %d, Allow %q, want 405 and %s", wrong, path, answer.StatusCode, answer.Header.Get("Allow"), method)
		}
		if got := answer.Header.Get("Access-Control-Allow-Origin"); got != "*" {
			t.Errorf("%s %s: Access-Control-Allow-Origin %q, want *", wrong, path, got)
		}
		answer, text := a.do(t, http.MethodOptions, path, "", "")
		if answer.StatusCode != http.StatusOK || !strings.Contains(answer.Header.Get("Allow"), method) || text != "" {
			t.Errorf("OPTIONS %s: status %d, Allow %q, body %q", path, answer.StatusCode, answer.Header.Get("Allow"), text)
		}
	}
	for _, path := range []string{"/", "/stats/requests", "/tasks", "/exceptions/csv"} {
		got, text := a.do(t, http.MethodHead, path, "", "")
		want, _ := a.get(t, path)
		if got.StatusCode != http.StatusOK || text != "" || got.Header.Get("Content-Type") != want.Header.Get("Content-Type") {
			t.Errorf("HEAD %s: status %d, type %q (GET has %q), body %q", path, got.StatusCode, got.Header.Get("Content-Type"), want.Header.Get("Content-Type"), text)
		}
	}
	for _, path := range []string{"/nothing", "/stats", "/stats/requests/", "/assets/nothing.js"} {
		answer, text := a.get(t, path)
		if answer.StatusCode != http.StatusNotFound || !strings.HasPrefix(answer.Header.Get("Content-Type"), "text/html") || !strings.Contains(text, "Not Found") {
			t.Errorf("GET %s: status %d, type %q, want 404 in HTML", path, answer.StatusCode, answer.Header.Get("Content-Type"))
		}
		if got := answer.Header.Get("Access-Control-Allow-Origin"); got != "*" {
			t.Errorf("GET %s: Access-Control-Allow-Origin %q, want *", path, got)
		}
	}
	if answer, _ := a.get(t, "/?tab=charts"); answer.StatusCode != http.StatusOK || answer.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("GET /?tab=charts: status %d, type %q", answer.StatusCode, answer.Header.Get("Content-Type"))
	}
	answer, text := a.get(t, "/stats/requests_full_history/csv")
	if answer.StatusCode != http.StatusNotFound || text != "Error: Server was not started with option to generate full history." {
		t.Errorf("full history: status %d, %q", answer.StatusCode, text)
	}
	if a.newer {
		answer, _ := a.get(t, "/login")
		if answer.StatusCode != http.StatusFound || answer.Header.Get("Location") != "/" {
			t.Errorf("GET /login: status %d to %q, want 302 to /", answer.StatusCode, answer.Header.Get("Location"))
		}
	}
}

// checkEmpty is before the first run.
func (a api) checkEmpty(t *testing.T) {
	report := a.json(t, "/stats/requests")
	if report["state"] != "ready" || number(t, report, "user_count") != 0 || number(t, report, "fail_ratio") != 0 {
		t.Errorf("before a run: %v", report)
	}
	stats := report["stats"].([]any)
	if len(stats) != 1 || stats[0].(map[string]any)["name"] != "Aggregated" {
		t.Errorf("before a run there is Aggregated alone, got %v", stats)
	}
	if errs, ok := report["errors"].([]any); !ok || len(errs) != 0 {
		t.Errorf("errors: %v, want an empty list", report["errors"])
	}
	if a.newer {
		current := report["current_response_time_percentiles"].(map[string]any)
		if len(current) != 2 || current["response_time_percentile_0.5"] != nil || current["response_time_percentile_0.95"] != nil {
			t.Errorf("current percentiles before a run: %v, want two that are null", current)
		}
		if n := number(t, a.json(t, "/worker-count"), "worker_count"); n != number(t, report, "worker_count") || n < 1 {
			t.Errorf("worker_count: %v and %v, want the same, above 0", n, report["worker_count"])
		}
		logs := a.json(t, "/logs")
		if _, ok := logs["workers"].(map[string]any); !ok || len(logs["master"].([]any)) == 0 {
			t.Errorf("logs: %v", logs)
		}
	}
	answer, text := a.get(t, "/stop")
	var stopped map[string]any
	if err := json.Unmarshal([]byte(text), &stopped); err != nil || answer.StatusCode != http.StatusOK || stopped["success"] != true || stopped["message"] != "Test stopped" {
		t.Errorf("stop without a run: %d %q", answer.StatusCode, text)
	}
	if state := a.json(t, "/stats/requests")["state"]; state != "ready" {
		t.Errorf("state after a stop without a run: %v, want ready", state)
	}
	if rows := a.csv(t, "/stats/requests/csv"); len(rows) != 2 || rows[1][1] != "Aggregated" || rows[1][0] != "" || rows[1][11] != "N/A" {
		t.Errorf("requests CSV before a run: %v", rows)
	}
	if exceptions := a.json(t, "/exceptions")["exceptions"].([]any); len(exceptions) != 0 {
		t.Errorf("exceptions: %v", exceptions)
	}
	a.checkTasks(t, false)
}

func (a api) checkTasks(t *testing.T, running bool) {
	t.Helper()
	tasks := a.json(t, "/tasks")
	per, total := tasks["per_class"].(map[string]any), tasks["total"].(map[string]any)
	if len(per) == 0 || !slices.Equal(slices.Sorted(maps.Keys(per)), slices.Sorted(maps.Keys(total))) {
		t.Errorf("tasks: classes %v and %v, want the same", slices.Sorted(maps.Keys(per)), slices.Sorted(maps.Keys(total)))
	}
	sum := 0.
	for _, class := range per {
		sum += class.(map[string]any)["ratio"].(float64)
		inside := 0.
		for _, task := range class.(map[string]any)["tasks"].(map[string]any) {
			inside += task.(map[string]any)["ratio"].(float64)
		}
		if inside < 0.999 || inside > 1.001 {
			t.Errorf("tasks of a class add up to %v, want 1", inside)
		}
	}
	if want := map[bool]float64{true: 1, false: 0}[running]; sum < want-0.001 || sum > want+0.001 {
		t.Errorf("class ratios add up to %v, want %v", sum, want)
	}
}

func (a api) csv(t *testing.T, path string) [][]string {
	t.Helper()
	answer, text := a.get(t, path)
	if answer.StatusCode != http.StatusOK || !strings.HasPrefix(answer.Header.Get("Content-Type"), "text/csv") {
		t.Fatalf("GET %s: status %d, type %q", path, answer.StatusCode, answer.Header.Get("Content-Type"))
	}
	if disposition := answer.Header.Get("Content-Disposition"); !strings.HasPrefix(disposition, "attachment;filename=") || !strings.HasSuffix(disposition, ".csv") {
		t.Errorf("GET %s: Content-Disposition %q", path, disposition)
	}
	if !strings.Contains(text, "\r\n") {
		t.Errorf("GET %s: lines do not end with CRLF: %q", path, text)
	}
	rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

const missing = "Missing user_count or spawn_rate from /swarm request"

func (a api) checkBadForms(t *testing.T) {
	runTime := "Valid run_time formats are : 20, 20s, 3m, 2h, 1h20m, 3h30m10s, etc."
	wrong := []string{"bogus", "1.5s"}
	if a.newer {
		wrong = append(wrong, "3s2m") // 2.12.1 reads its first part
	}
	for _, text := range wrong {
		form := load("2", "2")
		form.Set("run_time", text)
		if status, answer := a.swarm(t, form); status != http.StatusOK || answer["success"] != false || answer["message"] != runTime {
			t.Errorf("run_time %q: %d %v", text, status, answer)
		}
	}
	for name, form := range map[string]url.Values{"no rate": {"user_count": {"2"}}, "no count": {"spawn_rate": {"2"}}, "nothing": {}, "rate 0": load("2", "0")} {
		status, answer := a.swarm(t, form)
		switch {
		case a.missingIsRefused && (status != http.StatusOK || answer["success"] != false || answer["message"] != missing):
			t.Errorf("%s: %d %v, want 200 and a refusal", name, status, answer)
		case !a.missingIsRefused && name != "rate 0" && status < 400:
			t.Errorf("%s: %d %v, want an error", name, status, answer)
		}
	}
	for _, form := range []url.Values{load("abc", "1"), load("1.5", "1"), load("", "1"), load("1", "abc")} {
		if status, _ := a.swarm(t, form); status < a.badNumber || status > 599 {
			t.Errorf("%v: status %d, want at least %d", form, status, a.badNumber)
		}
	}
	if a.negativeIsRefused {
		for _, form := range []url.Values{load("-1", "1"), load("1", "-1"), load("1", "NaN"), load("1", "Inf")} {
			if status, _ := a.swarm(t, form); status != http.StatusBadRequest {
				t.Errorf("%v: status %d, want 400", form, status)
			}
		}
	}
	if a.missingIsRefused {
		answer, text := a.do(t, http.MethodPost, "/swarm?user_count=1&spawn_rate=1", "application/json", `{"user_count": 1, "spawn_rate": 1}`)
		if !strings.Contains(text, missing) || answer.StatusCode != http.StatusOK {
			t.Errorf("query and JSON count as missing: got %d %s", answer.StatusCode, text)
		}
	}
	if a.newer {
		for _, body := range []string{"{", `{"user_class_name": "Nobody", "weight": 2}`} {
			if answer, _ := a.do(t, http.MethodPost, "/user", "application/json", body); answer.StatusCode < 400 {
				t.Errorf("/user with %s: status %d, want an error", body, answer.StatusCode)
			}
		}
	}
	if state := a.json(t, "/stats/requests")["state"]; state != "ready" {
		t.Errorf("state after refused forms: %v, want ready", state)
	}
}

// checkRun starts, edits, resets, stops and starts again.
func (a api) checkRun(t *testing.T) {
	status, answer := a.swarm(t, load("4", "4"))
	if status != http.StatusOK || answer["success"] != true || answer["message"] != "Swarming started" {
		t.Fatalf("start: %d %v", status, answer)
	}
	if _, ok := answer["host"].(string); !ok || answer["run_time"] != nil {
		t.Errorf("start: host %v, run_time %v, want a text and none", answer["host"], answer["run_time"])
	}
	report := a.until(t, "4 users, 20 requests and a failure", func(r map[string]any) bool {
		total := aggregated(t, r)
		return r["state"] == "running" && number(t, r, "user_count") == 4 && number(t, total, "num_requests") >= 20 && number(t, total, "num_failures") >= 1
	})
	a.checkRows(t, report)
	a.checkTasks(t, true)
	a.checkFiles(t)

	if status, answer := a.swarm(t, url.Values{"user_count": {"2"}, "spawn_rate": {"2"}, "run_time": {"x"}}); status != http.StatusOK || answer["success"] != false {
		t.Errorf("refused form: %d %v", status, answer)
	}
	before := aggregated(t, a.json(t, "/stats/requests"))["num_requests"].(float64)

	// An edit, in the other encoding.
	var body strings.Builder
	form := multipart.NewWriter(&body)
	for key, value := range map[string]string{"user_count": "2", "spawn_rate": "2", "run_time": "1h"} {
		if err := form.WriteField(key, value); err != nil {
			t.Fatal(err)
		}
	}
	if err := form.Close(); err != nil {
		t.Fatal(err)
	}
	status, answer = decoded(t)(a.do(t, http.MethodPost, "/swarm", form.FormDataContentType(), body.String()))
	if status != http.StatusOK || answer["success"] != true || answer["run_time"] != 3600. {
		t.Errorf("edit: %d %v", status, answer)
	}
	report = a.until(t, "2 users", func(r map[string]any) bool {
		if inState("ready", "stopped")(r) {
			t.Fatalf("an edit passed through state %v", r["state"])
		}
		return number(t, r, "user_count") == 2
	})
	if n := aggregated(t, report)["num_requests"].(float64); n < before {
		t.Errorf("an edit lost statistics: %v requests, before %v", n, before)
	}

	if answer, text := a.get(t, "/stats/reset"); answer.StatusCode != http.StatusOK || text != "ok" || answer.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("reset: %d %q", answer.StatusCode, text)
	}
	a.until(t, "fewer requests after a reset", func(r map[string]any) bool {
		return aggregated(t, r)["num_requests"].(float64) < before && len(r["stats"].([]any)) > 1
	})

	if answer, text := a.get(t, "/stop"); answer.StatusCode != http.StatusOK || !strings.Contains(text, "Test stopped") {
		t.Errorf("stop: %d %q", answer.StatusCode, text)
	}
	began := time.Now()
	report = a.until(t, "stopped", inState("stopped"))
	if took := time.Since(began); took > a.stopWait {
		t.Errorf("a stop showed after %v", took)
	}
	if number(t, report, "user_count") != 0 || len(report["stats"].([]any)) < 2 {
		t.Errorf("after a stop: %v users, %d rows, want none and the run's", report["user_count"], len(report["stats"].([]any)))
	}

	if status, answer := a.swarm(t, load("1", "1")); status != http.StatusOK || answer["success"] != true {
		t.Fatalf("start again: %d %v", status, answer)
	}
	a.until(t, "running again with statistics of its own", func(r map[string]any) bool {
		return r["state"] == "running" && number(t, r, "user_count") == 1
	})
	a.get(t, "/stop")
	a.until(t, "stopped again", inState("stopped"))
}

func aggregated(t *testing.T, report map[string]any) map[string]any {
	t.Helper()
	stats := report["stats"].([]any)
	last := stats[len(stats)-1].(map[string]any)
	if last["name"] != "Aggregated" {
		t.Fatalf("the last row is %v, want Aggregated", last["name"])
	}
	return last
}

func (a api) checkRows(t *testing.T, report map[string]any) {
	stats := report["stats"].([]any)
	requests, failures := 0., 0.
	for i, item := range stats {
		row := item.(map[string]any)
		for _, key := range append([]string{"num_requests", "num_failures", "min_response_time", "max_response_time", "avg_response_time",
			"median_response_time", "current_rps", "current_fail_per_sec", "avg_content_length"}, a.percentiles...) {
			if number(t, row, key) < 0 {
				t.Errorf("row %v: %s is %v", row["name"], key, row[key])
			}
		}
		if a.newer {
			number(t, row, "total_rps")
			number(t, row, "total_fail_per_sec")
			if row["min_response_time"].(float64) > row["median_response_time"].(float64) || row["median_response_time"].(float64) > row["max_response_time"].(float64) {
				t.Errorf("row %v: the median is not between min and max: %v", row["name"], row)
			}
		}
		if i == len(stats)-1 {
			if row["num_requests"] != requests || row["num_failures"] != failures {
				t.Errorf("Aggregated has %v requests and %v failures, the rows %v and %v", row["num_requests"], row["num_failures"], requests, failures)
			}
			continue
		}
		requests += row["num_requests"].(float64)
		failures += row["num_failures"].(float64)
		if i > 0 {
			before := stats[i-1].(map[string]any)
			if before["name"].(string)+"\x00"+before["method"].(string) > row["name"].(string)+"\x00"+row["method"].(string) {
				t.Errorf("rows are not sorted: %v comes after %v", row["name"], before["name"])
			}
		}
	}
	if len(report["errors"].([]any)) == 0 {
		t.Error("no errors, though requests fail")
	}
	for _, item := range report["errors"].([]any) {
		e := item.(map[string]any)
		if number(t, e, "occurrences") < 1 || e["method"] == "" || e["name"] == "" || e["error"] == "" {
			t.Errorf("error %v", e)
		}
		if a.seen && (number(t, e, "first_seen") > number(t, e, "last_seen") || number(t, e, "last_seen") < 1e9) {
			t.Errorf("error seen from %v to %v", e["first_seen"], e["last_seen"])
		}
	}
	workers := report["workers"].([]any)
	if len(workers) == 0 {
		t.Error("no workers")
	}
	for _, item := range workers {
		w := item.(map[string]any)
		number(t, w, "user_count")
		number(t, w, "cpu_usage")
		if w["id"] == "" || !slices.Contains([]string{"ready", "spawning", "running", "missing"}, w["state"].(string)) {
			t.Errorf("worker %v", w)
		}
		if a.newer {
			number(t, w, "memory_usage")
		}
	}
	if a.newer {
		for _, key := range []string{"current_rps", "current_fail_per_sec", "total_rps", "total_fail_per_sec", "worker_count"} {
			number(t, report, key)
		}
	}
}

func (a api) checkFiles(t *testing.T) {
	rows := a.csv(t, "/stats/requests/csv")
	want := "Type,Name,Request Count,Failure Count,Median Response Time,Average Response Time,Min Response Time,Max Response Time,Average Content Size,Requests/s,Failures/s,50%,66%,75%,80%,90%,95%,98%,99%,99.9%,99.99%,100%"
	if strings.Join(rows[0], ",") != want || rows[len(rows)-1][1] != "Aggregated" {
		t.Errorf("requests CSV: header %v, last row %v", rows[0], rows[len(rows)-1])
	}
	failures := a.csv(t, "/stats/failures/csv")
	want = "Method,Name,Error,Occurrences"
	if a.seen {
		want += ",First Seen,Last Seen"
	}
	if strings.Join(failures[0], ",") != want || len(failures) < 2 {
		t.Errorf("failures CSV: header %v and %d rows", failures[0], len(failures)-1)
	}
	if rows := a.csv(t, "/exceptions/csv"); strings.Join(rows[0], ",") != "Count,Message,Traceback,Nodes" {
		t.Errorf("exceptions CSV: header %v", rows[0])
	}
	for _, path := range []string{"/stats/report", "/stats/report?theme=dark", "/stats/report?download=1"} {
		answer, text := a.get(t, path)
		if answer.StatusCode != http.StatusOK || !strings.HasPrefix(answer.Header.Get("Content-Type"), "text/html") || !strings.Contains(text, "<html") {
			t.Errorf("GET %s: status %d, type %q", path, answer.StatusCode, answer.Header.Get("Content-Type"))
		}
		if got := strings.HasPrefix(answer.Header.Get("Content-Disposition"), "attachment;filename="); got != strings.Contains(path, "download") {
			t.Errorf("GET %s: Content-Disposition %q", path, answer.Header.Get("Content-Disposition"))
		}
	}
}

func readAll(t *testing.T, answer *http.Response) string {
	t.Helper()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
