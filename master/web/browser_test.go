package web_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/throng-load/throng/master/web"
)

// artifacts is where screenshots are kept; git ignores it.
const artifacts = "testdata/artifacts"

// chromium is the browser of this machine. Without it, or without the page, the
// test is skipped on a laptop and fails in CI.
func chromium(t *testing.T) string {
	t.Helper()
	missing := ""
	path, err := exec.LookPath("chromium")
	switch {
	case err != nil:
		missing = "chromium is not installed: .ci/setup installs it"
	case !web.PageBuilt():
		missing = "the page is not built: make ui"
	}
	if missing == "" {
		return path
	}
	if os.Getenv("CI") != "" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}

// browser is one browser window.
type browser struct {
	t    *testing.T
	ctx  context.Context
	base string
}

func open(t *testing.T, base string, width int) *browser {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(chromium(t)), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-dev-shm-usage", true), chromedp.WindowSize(width, 900))
	ctx, cancelAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, cancel := chromedp.NewContext(ctx)
	t.Cleanup(func() { cancel(); cancelAllocator() })
	// The browser lives as long as the context that it is first used with.
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start %s: %v", chromium(t), err)
	}
	b := &browser{t, ctx, base}
	b.do("open the page", chromedp.Steps(chromedp.EmulateViewport(int64(width), 900), chromedp.Navigate(base)))
	return b
}

// patience is how long anything in the page may take.
const patience = 30 * time.Second

// do runs an action.
func (b *browser) do(what string, action chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	run(b, what, action)
}

// run runs an action and returns what it returns.
func run[T any](b *browser, what string, action chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, action)
	if err != nil {
		text, _ := chromedp.Run(b.ctx, chromedp.Evaluate[string](`document.body.innerText`))
		b.shoot("failed-" + strings.ReplaceAll(b.t.Name(), "/", "-"))
		b.t.Fatalf("%s: %v; the page shows:\n%.2000s", what, err, text)
	}
	return v
}

// until waits until an expression is true in the page.
func (b *browser) until(what, expression string) {
	b.t.Helper()
	b.do(what, chromedp.Poll[chromedp.Void](expression, chromedp.WithPollingInterval(100*time.Millisecond)))
}

// click clicks the first visible element of a kind with this text.
func (b *browser) click(selector, text string) {
	b.t.Helper()
	b.until("click "+text, fmt.Sprintf(`(() => {
		const found = [...document.querySelectorAll(%q)].find(e => e.innerText.trim().toLowerCase() === %q && e.offsetParent && !e.disabled);
		found?.click();
		return !!found;
	})()`, selector, strings.ToLower(text)))
}

// press presses the button with this text.
func (b *browser) press(text string) {
	b.t.Helper()
	b.click("button", text)
}

// tab opens a tab.
func (b *browser) tab(title string) {
	b.t.Helper()
	b.click("[role=tab]", title)
	b.until(title+" is selected", fmt.Sprintf(`document.querySelector('[role=tab][aria-selected=true]')?.innerText.trim().toLowerCase() === %q`, strings.ToLower(title)))
}

// fill puts a text into a field of the form.
func (b *browser) fill(name, text string) {
	b.t.Helper()
	b.until("fill "+name, fmt.Sprintf(`(() => {
		const field = document.querySelector('form input[name=' + %q + ']');
		if (!field) return false;
		Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set.call(field, %q);
		field.dispatchEvent(new Event("input", { bubbles: true }));
		return true;
	})()`, name, text))
}

func (b *browser) text() string {
	b.t.Helper()
	return run(b, "read the page", chromedp.Evaluate[string](`document.body.innerText`))
}

// shows waits until the page shows a text.
func (b *browser) shows(text string) {
	b.t.Helper()
	b.until(fmt.Sprintf("the page shows %q", text), fmt.Sprintf(`document.body.innerText.toLowerCase().includes(%q)`, strings.ToLower(text)))
}

// users waits until so many users run.
func (b *browser) users(n int) {
	b.t.Helper()
	b.until(fmt.Sprint(n, " users"), fmt.Sprintf(`/users\s+%d\b/i.test(document.body.innerText)`, n))
}

// stop stops the swarm.
func (b *browser) stop() {
	b.t.Helper()
	b.press("Stop")
	b.shows("stopped")
}

// shoot keeps a screenshot of the whole page.
func (b *browser) shoot(name string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.MkdirAll(artifacts, 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(artifacts, name+".png"), png, 0o644)
	}
	if err != nil {
		b.t.Errorf("screenshot %s: %v", name, err)
	}
}

// theme makes the page dark or light, as a person's choice that it remembers.
func (b *browser) theme(name string) {
	b.t.Helper()
	b.do("theme", chromedp.Steps(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`localStorage.theme = %q`, name)), chromedp.Reload()))
}

// fits checks that nothing but tables and tabs is wider than the window.
func (b *browser) fits(where string) {
	b.t.Helper()
	if over := run(b, "measure", chromedp.Evaluate[int](`document.documentElement.scrollWidth - document.documentElement.clientWidth`)); over > 0 {
		b.t.Errorf("%s is %d pixels wider than the window", where, over)
	}
}

var tabTitles = []string{"Statistics", "Charts", "Delivery", "Accounts", "Failures", "Exceptions", "Current Ratio", "Download Data", "Logs", "Workers"}

func TestPageDrivesASwarm(t *testing.T) {
	t.Parallel()
	chromium(t)
	swarm, base := serve(t, func(cfg *web.Config) { cfg.ClassPicker = true })
	b := open(t, base, 1300)
	b.shows("Start new load test")
	b.shoot("start-1300-light")
	b.fill("userCount", "40")
	b.fill("spawnRate", "20")
	b.press("Start")
	b.shows("running")
	b.users(40)

	for _, title := range tabTitles {
		b.tab(title)
		b.fits(title)
	}
	b.tab("Statistics")
	b.shows("class/progress")
	for _, width := range []int64{910, 1100} {
		b.do("another width", chromedp.EmulateViewport(width, 900))
		b.fits(fmt.Sprint("Statistics at ", width))
	}
	b.do("the width before", chromedp.EmulateViewport(1300, 900))
	b.press("Edit")
	b.shows("Edit running load test")
	b.fill("userCount", "10")
	b.fill("spawnRate", "30")
	b.press("Update")
	b.users(10)
	if len(swarm.edits) != 1 || swarm.edits[0].Users != 10 || swarm.edits[0].SpawnRate != 30 {
		t.Errorf("edits: %+v", swarm.edits)
	}
	b.stop()
	b.press("New")
	b.shows("Start new load test")
	b.fill("userCount", "5")
	b.press("Start")
	b.users(5)

	// A second browser sees the run, and what the first does.
	other := open(t, base, 1300)
	other.shows("running")
	b.stop()
	other.shows("stopped")
	other.press("New")
	other.fill("userCount", "6")
	other.press("Start")
	b.users(6)
	other.stop()
}

func TestPageShowsWhatIsWrong(t *testing.T) {
	t.Parallel()
	chromium(t)
	swarm, base := serve(t, nil)
	b := open(t, base, 1300)
	b.shows("Start new load test")
	b.fill("userCount", "20000")
	b.press("Start")
	b.shows("safety.max_users")
	b.fill("userCount", "1.5")
	b.press("Start")
	b.shows("is not a whole number")
	b.fill("userCount", "8")
	b.fill("spawnRate", "8")
	b.press("Start")
	b.shows("running")
	if text := b.text(); strings.Contains(text, "at its limits") {
		t.Error("a banner, though all is well")
	}
	swarm.mu.Lock()
	swarm.trust = "degraded"
	swarm.mu.Unlock()
	b.shows("The generator is at its limits")
	b.shows("97% of its cores")
	swarm.mu.Lock()
	swarm.members = swarm.members[1:]
	swarm.mu.Unlock()
	b.tab("Workers")
	b.shows("missing")
	b.stop()
}

// TestPageLooks keeps pictures of every tab, for people to look at.
func TestPageLooks(t *testing.T) {
	t.Parallel()
	chromium(t)
	swarm, base := serve(t, func(cfg *web.Config) { cfg.ClassPicker = true })
	if status, answer := (api{base, throng}).swarm(t, load("200", "100")); status != 200 || answer["success"] != true {
		t.Fatalf("start: %d %v", status, answer)
	}
	swarm.mu.Lock()
	swarm.events = append(swarm.events, workerLost(swarm.began))
	swarm.mu.Unlock()
	wide, narrow := open(t, base, 1300), open(t, base, 400)
	wide.shows("running")
	wide.until("a history", `window.points > 2 || (fetch("throng/status").then(r => r.json()).then(s => { window.points = s.history.length }), false)`)
	for _, theme := range []string{"light", "dark"} {
		for width, b := range map[int]*browser{1300: wide, 400: narrow} {
			if theme == "dark" {
				swarm.mu.Lock()
				swarm.trust = "degraded"
				swarm.mu.Unlock()
			}
			b.theme(theme)
			b.until("the tabs", `document.querySelectorAll("[role=tab]").length > 5`)
			for _, title := range tabTitles {
				b.tab(title)
				if title == "Charts" || title == "Delivery" || title == "Accounts" {
					// They are drawn in, and pictures are for people.
					b.do("settle", chromedp.Evaluate[chromedp.Void](`new Promise(done => setTimeout(done, 1200)).then(() => 0)`, chromedp.EvalAwaitPromise))
				}
				b.fits(fmt.Sprintf("%s at %d", title, width))
				b.shoot(fmt.Sprintf("%s-%d-%s", strings.ToLower(strings.ReplaceAll(title, " ", "-")), width, theme))
			}
			b.do("report", chromedp.Navigate(base+"/stats/report?theme="+theme))
			b.fits(fmt.Sprintf("the report at %d", width))
			b.shoot(fmt.Sprintf("report-%d-%s", width, theme))
			b.do("back", chromedp.Navigate(base))
		}
	}
}
