package web_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/throng-load/throng/master/web"
	"github.com/throng-load/throng/scenarios"
)

// toggle picks a user class, or drops it.
func (b *browser) toggle(class string) {
	b.t.Helper()
	b.until("toggle "+class, fmt.Sprintf(`(() => {
		const row = [...document.querySelectorAll("tr")].find(r => r.cells[1]?.innerText.trim() === %q && r.querySelector("input[type=checkbox]"));
		row?.cells[0].click();
		return !!row;
	})()`, class))
}

// choose chooses a load shape.
func (b *browser) choose(shape string) {
	b.t.Helper()
	b.until("choose "+shape, fmt.Sprintf(`(() => {
		const select = document.querySelector("form select[name=shapeClass]");
		if (![...(select?.options ?? [])].some(o => o.value === %q)) return false;
		Object.getOwnPropertyDescriptor(HTMLSelectElement.prototype, "value").set.call(select, %q);
		select.dispatchEvent(new Event("change", { bubbles: true }));
		return true;
	})()`, shape, shape))
}

// counts waits until the form's users and rate can be filled in, or not.
func (b *browser) counts(enabled bool) {
	b.t.Helper()
	b.until(fmt.Sprint("users and rate are enabled: ", enabled), fmt.Sprintf(`["userCount", "spawnRate"].every(name => {
		const field = document.querySelector("form input[name=" + name + "]");
		return field && field.disabled === !%t;
	})`, enabled))
}

// editable waits until the running load can be edited, or not.
func (b *browser) editable(enabled bool) {
	b.t.Helper()
	b.until(fmt.Sprint("edit is enabled: ", enabled), fmt.Sprintf(`[...document.querySelectorAll("button")].some(e => e.innerText.trim().toLowerCase() === "edit" && e.disabled === !%t)`, enabled))
}

// started is the spec of the newest run.
func (f *fakeSwarm) started() *scenarios.Spec {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.spec
}

// edited is what the swarm was told to change so far.
func (f *fakeSwarm) edited() []web.Load {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.edits)
}

func TestPagePicksUserClasses(t *testing.T) {
	t.Parallel()
	chromium(t)
	swarm, base := serve(t, func(cfg *web.Config) { cfg.ClassPicker = true })
	b := open(t, base, 1300)
	b.toggle("Proctor")
	b.fill("userCount", "4")
	b.fill("spawnRate", "8")
	b.press("Start")
	b.users(4)
	if got := swarm.started().Load.Classes; !slices.Equal(got, []string{"Student"}) {
		t.Errorf("started with the classes %q, want Student alone", got)
	}
	b.tab("Current Ratio")
	b.shows("100.0% Student")
	if strings.Contains(b.text(), "Proctor") {
		t.Error("a class that was not picked is among the ratios")
	}

	// The form of the running load has no picker: the classes stay.
	b.press("Edit")
	b.shows("Edit running load test")
	b.fill("userCount", "6")
	b.press("Update")
	b.users(6)
	if got := swarm.edited(); len(got) != 1 || got[0].Users != 6 {
		t.Errorf("edits: %+v", got)
	}
	b.stop()
	b.press("New")
	b.shows("Start new load test")
	b.fill("userCount", "5")
	b.press("Start")
	b.users(5)
	if got := swarm.started().Load.Classes; len(got) != 0 {
		t.Errorf("started with the classes %q, want all", got)
	}
	b.shows("80.0% Student")
}

const stagesText = `
scenario: classroom
target: http+poll://127.0.0.1:9090
load: { stages: [ { for: 10s, users: 3 }, { for: 1m, users: 3 } ] }
`

func TestPageChoosesALoadShape(t *testing.T) {
	t.Parallel()
	chromium(t)
	swarm, base := serve(t, func(cfg *web.Config) { cfg.ClassPicker, cfg.Spec = true, parseSpec(t, stagesText) })
	b := open(t, base, 1300)
	b.counts(true)
	b.choose("Stages")
	b.counts(false)
	b.press("Start")
	b.users(3)
	if got := swarm.started().Load; len(got.Stages) != 2 || got.Users != 3 {
		t.Errorf("started with %+v, want the stages of the file", got)
	}
	b.editable(false)
	b.do("load the page again", chromedp.Reload())
	b.editable(false)
	b.stop()

	// The form says Default then, so it must take numbers.
	b.press("New")
	b.counts(true)
	b.fill("userCount", "5")
	b.fill("spawnRate", "5")
	b.press("Start")
	b.users(5)
	if got := swarm.started().Load; len(got.Stages) != 0 || got.Users != 5 || got.SpawnRate != 5 {
		t.Errorf("started with %+v, want 5 users without stages", got)
	}
	b.editable(true)
}

// Without the class picker the stages of the file are what runs.
func TestPageRunsTheOnlyShape(t *testing.T) {
	t.Parallel()
	chromium(t)
	swarm, base := serve(t, func(cfg *web.Config) { cfg.Spec = parseSpec(t, stagesText) })
	b := open(t, base, 1300)
	for range 2 {
		b.counts(false)
		b.press("Start")
		b.users(3)
		if got := swarm.started().Load; len(got.Stages) != 2 {
			t.Errorf("started with %+v, want the stages of the file", got)
		}
		b.editable(false)
		b.stop()
		b.press("New")
	}
}

// What the master refuses has to be seen, though the form is closed.
func TestPageShowsARefusedEdit(t *testing.T) {
	t.Parallel()
	chromium(t)
	_, base := serve(t, func(cfg *web.Config) { cfg.ClassPicker = true })
	b := open(t, base, 1300)
	b.until("the settings of a user class", `(() => {
		document.querySelector("td button").click();
		return true;
	})()`)
	b.fill("weight", "7")
	b.press("Save")
	b.shows("user classes follow from the scenario's parameters")
	b.fill("userCount", "4")
	b.fill("spawnRate", "8")
	b.press("Start")
	b.until("4 users, and nothing is refused", `/users\s+4\b/i.test(document.body.innerText) && !document.body.innerText.includes("Not changed")`)
	b.press("Edit")
	b.fill("userCount", "20000")
	b.press("Update")
	b.until("the form is closed", `!document.querySelector("form")`)
	b.shows("safety.max_users")
}
