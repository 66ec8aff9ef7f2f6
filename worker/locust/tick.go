package locust

import (
	"encoding/json"
	"fmt"
	"maps"
)

// tick is what throng's locustfile sends to each worker, each second and when it
// changes.
type tick struct {
	// Test is the id of the test that runs, or ran last.
	Test string `json:"test"`
	// Users is how many users of each class the worker has been told to have.
	Users map[string]int `json:"users"`
}

// parseTick reads the content of a message, which is JSON as text: boomer does
// not hand on maps.
func parseTick(data any) (tick, error) {
	var t tick
	text, ok := data.(string)
	if !ok {
		raw, isRaw := data.([]byte)
		if !isRaw {
			return t, fmt.Errorf("message of type %s: want text, got %T", message, data)
		}
		text = string(raw)
	}
	if err := json.Unmarshal([]byte(text), &t); err != nil {
		return t, fmt.Errorf("message of type %s: %w", message, err)
	}
	if len(t.Test) > 64 {
		return t, fmt.Errorf("message of type %s: an id of %d characters", message, len(t.Test))
	}
	for class, n := range t.Users {
		if n < 0 {
			return t, fmt.Errorf("message of type %s: %d users of class %s", message, n, class)
		}
	}
	return t, nil
}

// classes is the number of users of each class if that is of the same order as
// the number of all users, otherwise nil: the one has come and the other has not.
func (t tick) classes(users int) map[string]int {
	if t.Users == nil || sum(t.Users) != users {
		return nil
	}
	return t.Users
}

func sum(m map[string]int) int {
	total := 0
	for _, n := range m {
		total += n
	}
	return total
}

func equal(a, b map[string]int) bool { return maps.Equal(a, b) && (a == nil) == (b == nil) }
