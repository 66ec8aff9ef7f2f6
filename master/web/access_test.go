package web_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/throng-load/throng/master/web"
)

// ask makes a request with headers and returns status, headers and body.
func ask(t *testing.T, method, address string, header map[string]string, body string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range header {
		r.Header.Set(name, value)
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	return answer, readAll(t, answer)
}

func TestOtherSitesChangeNothing(t *testing.T) {
	t.Parallel()
	swarm, base := serve(t, nil)
	cross := map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "https://example.com", "Content-Type": "application/x-www-form-urlencoded"}
	for path, method := range map[string]string{"/swarm": "POST", "/user": "POST", "/stop": "GET", "/stats/reset": "GET"} {
		if answer, _ := ask(t, method, base+path, cross, load("1", "1").Encode()); answer.StatusCode != http.StatusForbidden {
			t.Errorf("%s %s from another site: status %d, want 403", method, path, answer.StatusCode)
		}
	}
	if swarm.run != 0 {
		t.Error("another site has started a run")
	}
	if answer, _ := ask(t, "GET", base+"/stats/requests", cross, ""); answer.StatusCode != http.StatusOK {
		t.Errorf("reading from another site: status %d, want 200 as with Locust", answer.StatusCode)
	}
}

func TestLoginIsAskedFor(t *testing.T) {
	t.Parallel()
	const user, password = "ann", "correct-horse-battery"
	_, base := serve(t, func(cfg *web.Config) { cfg.User, cfg.Password = user, password })
	for _, path := range []string{"/stats/requests", "/metrics", "/throng/status", "/stop", "/stats/report", "/logs"} {
		if answer, _ := ask(t, "GET", base+path, nil, ""); answer.StatusCode != http.StatusUnauthorized {
			t.Errorf("GET %s without a login: status %d, want 401", path, answer.StatusCode)
		}
	}
	if answer, _ := ask(t, "GET", base+"/", map[string]string{"Accept": "text/html"}, ""); answer.StatusCode != http.StatusFound || answer.Header.Get("Location") != "/login" {
		t.Errorf("the page without a login: %d to %q, want 302 to /login", answer.StatusCode, answer.Header.Get("Location"))
	}
	form := map[string]string{"Content-Type": "application/x-www-form-urlencoded"}
	wrong := url.Values{"username": {user}, "password": {"wrong"}}.Encode()
	if answer, text := ask(t, "POST", base+"/login", form, wrong); answer.StatusCode != http.StatusUnauthorized || !strings.Contains(text, "is wrong") || answer.Header.Get("Set-Cookie") != "" {
		t.Errorf("a wrong password: %d %s", answer.StatusCode, text)
	}
	answer, _ := ask(t, "POST", base+"/login", form, url.Values{"username": {user}, "password": {password}}.Encode())
	cookies := answer.Cookies()
	if answer.StatusCode != http.StatusSeeOther || len(cookies) != 1 || !cookies[0].HttpOnly || cookies[0].SameSite != http.SameSiteLaxMode {
		t.Fatalf("log in: %d, cookies %v", answer.StatusCode, cookies)
	}
	in := map[string]string{"Cookie": cookies[0].Name + "=" + cookies[0].Value}
	for _, path := range []string{"/", "/stats/requests", "/metrics", "/throng/status", "/stats/report", "/logs"} {
		answer, text := ask(t, "GET", base+path, in, "")
		if answer.StatusCode != http.StatusOK || strings.Contains(text, password) {
			t.Errorf("GET %s logged in: status %d, or the password is in it", path, answer.StatusCode)
		}
	}
	r, _ := http.NewRequest("GET", base+"/worker-count", nil)
	r.SetBasicAuth(user, password)
	if answer, err := http.DefaultClient.Do(r); err != nil || answer.StatusCode != http.StatusOK {
		t.Errorf("a script's basic authentication: %v %v", answer, err)
	}
	ask(t, "POST", base+"/logout", in, "")
	if answer, _ := ask(t, "GET", base+"/stats/requests", in, ""); answer.StatusCode != http.StatusUnauthorized {
		t.Errorf("after logging out: status %d, want 401", answer.StatusCode)
	}
}

func TestEverythingMovesUnderTheBasePath(t *testing.T) {
	t.Parallel()
	_, base := serve(t, func(cfg *web.Config) { cfg.BasePath = "/load" })
	if answer, _ := ask(t, "GET", base+"/load?tab=logs", nil, ""); answer.StatusCode != http.StatusPermanentRedirect || answer.Header.Get("Location") != "/load/?tab=logs" {
		t.Errorf("/load: %d to %q, want 308 to /load/", answer.StatusCode, answer.Header.Get("Location"))
	}
	for _, path := range []string{"/", "/stats/requests", "/loader/stats/requests"} {
		if answer, _ := ask(t, "GET", base+path, nil, ""); answer.StatusCode != http.StatusNotFound {
			t.Errorf("GET %s: status %d, want 404", path, answer.StatusCode)
		}
	}
	if n := number(t, (api{base + "/load", throng}).json(t, "/worker-count"), "worker_count"); n != 2 {
		t.Errorf("workers under the base path: %v, want 2", n)
	}
}

func TestNamesDoNotEndTheScript(t *testing.T) {
	t.Parallel()
	const nasty = `</script><script>alert("&")</script>`
	_, base := serve(t, func(cfg *web.Config) { cfg.File = nasty })
	for _, path := range []string{"/", "/stats/report"} {
		if _, text := ask(t, "GET", base+path+"?", nil, ""); strings.Contains(text, nasty) || !strings.Contains(text, `\u003c/script\u003e`) {
			t.Errorf("GET %s holds the name as it is", path)
		}
	}
}

func TestMetricsAreThere(t *testing.T) {
	t.Parallel()
	_, base := serve(t, nil)
	a := api{base, throng}
	a.swarm(t, load("4", "4"))
	a.until(t, "20 requests", func(r map[string]any) bool { return aggregated(t, r)["num_requests"].(float64) >= 20 })
	_, text := a.get(t, "/metrics")
	for _, want := range []string{`throng_users 4`, `throng_workers{state="running"} 2`, `throng_operations_total{name="class/progress",type="PUBLISH"}`,
		`throng_accounts{pool="classroom",role="student",state="leased"} 210`, `throng_delivery_messages_total{outcome="lost",route="quiet"} 0`,
		`throng_delivery_latency_seconds{route="crowd",quantile="0.95"} 0.06`, `throng_threshold_ok{expr="delivery.p95 <= 2s"} 1`, `throng_state{state="running"} 1`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
}

func TestStartsThatCannotBe(t *testing.T) {
	t.Parallel()
	_, base := serve(t, func(cfg *web.Config) { cfg.FixedTarget, cfg.ClassPicker = true, true })
	a := api{base, throng}
	for name, c := range map[string]struct {
		form url.Values
		want string
	}{
		"too many users":       {load("20000", "1"), "safety.max_users"},
		"another target":       {with(load("1", "1"), "host", "http+poll://127.0.0.2:1"), "fixed"},
		"wrong parameter":      {with(load("1", "1"), "questions", "many"), "params.questions"},
		"a class there is not": {with(load("1", "1"), "user_classes", "Nobody"), "has none of these"},
	} {
		status, answer := a.swarm(t, c.form)
		message, _ := answer["message"].(string)
		if status != http.StatusOK || answer["success"] != false || !strings.Contains(message, c.want) {
			t.Errorf("%s: %d %v, want a refusal that says %q", name, status, answer, c.want)
		}
	}
	if status, _ := a.swarm(t, with(load("1", "1"), "shape_class", "Nothing")); status != http.StatusBadRequest {
		t.Errorf("unknown shape: status %d, want 400", status)
	}
	status, answer := a.swarm(t, with(with(load("0", "1"), "questions", "5"), "user_classes", "Nobody", "Student", "Proctor"))
	if status != http.StatusOK || answer["success"] != true || fmt.Sprint(answer["user_classes"]) != "[Proctor Student]" {
		t.Errorf("no users, a parameter, and an unknown class: %d %v", status, answer)
	}
	if _, answer := a.swarm(t, with(load("1", "1"), "questions", "6")); answer["success"] != false {
		t.Errorf("another parameter while it runs: %v, want a refusal", answer)
	}
}

func with(form url.Values, key string, values ...string) url.Values {
	form[key] = values
	return form
}
