package scenarios_test

import (
	"strings"
	"testing"
	"time"

	"github.com/throng-load/throng/scenarios"
	"github.com/throng-load/throng/scenarios/classroom"
)

func classroomSpec(t *testing.T) (*scenarios.Spec, []scenarios.Scenario) {
	t.Helper()
	known := []scenarios.Scenario{classroom.Scenario}
	spec, err := scenarios.ParseSpec("throng.yaml", []byte(
		"scenario: classroom\ntarget: http+poll://127.0.0.1:1\nparams: {questions: 3, think: {uniform: [300ms, 1s500ms]}}\n"),
		scenarios.ParseEnv{Scenarios: known, Schemes: []string{"http+poll"}})
	if err != nil {
		t.Fatal(err)
	}
	return spec, known
}

func TestParamsReadBackAsTheyAre(t *testing.T) {
	t.Parallel()
	spec, known := classroomSpec(t)
	params, err := spec.Params()
	if err != nil {
		t.Fatal(err)
	}
	texts := make(map[string]string)
	for _, p := range params {
		texts[p.Name] = p.Text
	}
	for name, want := range map[string]string{"questions": "3", "students_per_proctor": "30", "think": "{uniform: [300ms, 1s500ms]}"} {
		if texts[name] != want {
			t.Errorf("%s: got %q, want %q", name, texts[name], want)
		}
	}
	again, err := spec.WithParams(texts, known)
	if err != nil {
		t.Fatal(err)
	}
	before, _ := spec.Marshal()
	after, _ := again.Marshal()
	if string(before) != string(after) {
		t.Errorf("read back differently:\n%s\nwant\n%s", after, before)
	}
}

func TestWithParamsChangesACopy(t *testing.T) {
	t.Parallel()
	spec, known := classroomSpec(t)
	changed, err := spec.WithParams(map[string]string{"questions": "7", "think": "250ms", "students_per_proctor": " 4 "}, known)
	if err != nil {
		t.Fatal(err)
	}
	c, was := changed.Behaviour.(*classroom.Classroom), spec.Behaviour.(*classroom.Classroom)
	if c.Questions != 7 || c.StudentsPerProctor != 4 || c.Think.Mean() != 250*time.Millisecond {
		t.Errorf("got %+v", c)
	}
	if was.Questions != 3 || was.StudentsPerProctor != 30 {
		t.Errorf("the original changed: %+v", was)
	}
}

func TestWithParamsSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	spec, known := classroomSpec(t)
	for text, want := range map[string]string{
		"many":                       `params.questions: "many" is not a whole number`,
		"{uniform: [1s":              "params.questions",
		"1\nstudents_per_proctor: 2": "params.questions",
	} {
		_, err := spec.WithParams(map[string]string{"questions": text}, known)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("questions %q: got %v, want it to say %q", text, err, want)
		}
	}
}
