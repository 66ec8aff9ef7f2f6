package scenarios_test

import (
	"maps"
	"testing"

	"pgregory.net/rapid"

	"github.com/throng-load/throng/scenarios"
)

// teams has groups of one leader and a number of members, of different roles.
type teams struct{ members int }

func (teams) Validate() error          { return nil }
func (teams) Crowd() scenarios.Channel { return scenarios.Channel{Name: "all", Pattern: "all"} }
func (b teams) ClassOf(number int) int { return min(number%(b.members+1), 1) }
func (b teams) Classes() []scenarios.Class {
	return []scenarios.Class{{Name: "Leader", Role: "leader", Weight: 1}, {Name: "Member", Role: "member", Weight: b.members}}
}

// sized returns a spec of which only what sizes a pool is set.
func sized(users, members, size int, headroom float64, routes ...string) *scenarios.Spec {
	return &scenarios.Spec{
		Behaviour: teams{members},
		Load:      scenarios.LoadSpec{Users: users},
		Accounts:  scenarios.AccountsSpec{Size: scenarios.PoolSize(size), Headroom: headroom},
		Probe:     scenarios.ProbeSpec{Routes: routes},
	}
}

func TestPoolSize(t *testing.T) {
	t.Parallel()
	type counts = map[string]int
	for _, tt := range []struct {
		name         string
		spec         *scenarios.Spec
		need, wanted counts
	}{
		{"auto without headroom is the peak", sized(62, 30, 0, 0),
			counts{"leader": 2, "member": 60}, counts{"leader": 2, "member": 60}},
		{"a group that is not full has a leader", sized(63, 30, 0, 0),
			counts{"leader": 3, "member": 60}, counts{"leader": 3, "member": 60}},
		{"one user has one role", sized(1, 30, 0, 0), counts{"leader": 1}, counts{"leader": 1}},
		{"headroom is rounded up", sized(62, 30, 0, 0.34),
			counts{"leader": 2, "member": 60}, counts{"leader": 3, "member": 81}},
		{"headroom that comes out even is not", sized(55, 10, 0, 0.1),
			counts{"leader": 5, "member": 50}, counts{"leader": 6, "member": 55}},
		{"headroom of all", sized(62, 30, 0, 1),
			counts{"leader": 2, "member": 60}, counts{"leader": 4, "member": 120}},
		{"each route of the probe has two accounts", sized(31, 30, 0, 0.5, scenarios.RouteQuiet, scenarios.RouteCrowd),
			counts{"leader": 1, "member": 30, "probe": 4}, counts{"leader": 2, "member": 45, "probe": 4}},
		{"a size that is the peak is not changed by headroom", sized(62, 30, 62, 0.34),
			counts{"leader": 2, "member": 60}, counts{"leader": 2, "member": 60}},
		{"a size above the peak is shared out", sized(62, 30, 620, 0.34, scenarios.RouteQuiet),
			counts{"leader": 2, "member": 60, "probe": 2}, counts{"leader": 20, "member": 600, "probe": 2}},
		{"with a size below the peak users take turns", sized(62, 30, 31, 0.34),
			counts{"leader": 2, "member": 60}, counts{"leader": 1, "member": 30}},
		{"a third", sized(300, 2, 100, 0),
			counts{"leader": 100, "member": 200}, counts{"leader": 34, "member": 67}},
		{"even the smallest pool serves every role", sized(62, 30, 1, 0),
			counts{"leader": 2, "member": 60}, counts{"leader": 1, "member": 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := tt.spec.NeededAccounts(); !maps.Equal(got, tt.need) {
				t.Errorf("needed: got %v, want %v", got, tt.need)
			}
			if got := tt.spec.WantedAccounts(); !maps.Equal(got, tt.wanted) {
				t.Errorf("wanted: got %v, want %v", got, tt.wanted)
			}
		})
	}
}

// Whatever the figures: an automatic pool lets all users run at once, a given
// size is kept but for rounding, and no role that has users is left out.
func TestPoolSizeLaws(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		users, members := rapid.IntRange(1, 3000).Draw(t, "users"), rapid.IntRange(1, 50).Draw(t, "members")
		size := rapid.IntRange(0, 5000).Draw(t, "size")
		headroom := float64(rapid.IntRange(0, 1000).Draw(t, "headroom")) / 100
		spec := sized(users, members, size, headroom, scenarios.RouteQuiet)
		need, want := spec.NeededAccounts(), spec.WantedAccounts()
		sum := 0
		for role, n := range need {
			if want[role] < 1 {
				t.Errorf("role %s has %d users and no account", role, n)
			}
			if size == 0 && want[role] < n {
				t.Errorf("role %s: %d accounts for %d users", role, want[role], n)
			}
			if exact := float64(n) * (1 + headroom); size == 0 && role != scenarios.RoleProbe && float64(want[role]) >= exact+1 {
				t.Errorf("role %s: %d accounts, where %.3f are wanted", role, want[role], exact)
			}
			if role != scenarios.RoleProbe {
				sum += want[role]
			}
		}
		if len(want) != len(need) {
			t.Errorf("wanted %v, needed %v", want, need)
		}
		if roles := len(need) - 1; size > 0 && (sum < size || sum > size+roles-1) {
			t.Errorf("%d accounts for a size of %d", sum, size)
		}
		if want[scenarios.RoleProbe] != 2 || need[scenarios.RoleProbe] != 2 {
			t.Errorf("the probe has %d of %d accounts", want[scenarios.RoleProbe], need[scenarios.RoleProbe])
		}
	})
}
