package scenarios

import "math"

// RoleProbe is the role of the accounts that the probe uses, whatever the
// scenario.
const RoleProbe = "probe"

// probeAccounts is how many accounts one route of the probe needs: a publisher
// and a subscriber.
const probeAccounts = 2

// UsesProbe says whether the run measures delivery.
func (s *Spec) UsesProbe() bool { return len(s.Probe.Routes) > 0 }

// NeededAccounts returns, by role, how many accounts are leased at once when
// all users run: with fewer, users wait.
func (s *Spec) NeededAccounts() map[string]int {
	need := PeakByRole(s.Acting(), s.Load.Users)
	if s.UsesProbe() {
		need[RoleProbe] += probeAccounts * len(s.Probe.Routes)
	}
	return need
}

// WantedAccounts returns, by role, how many accounts the pool is to hold: the
// peak users of each role plus headroom, or the given size shared out in
// proportion, plus the probe's accounts. Shares are rounded up: no role that has
// users is without an account, so the sum may be above the size by a few.
func (s *Spec) WantedAccounts() map[string]int {
	want := make(map[string]int)
	for role, n := range PeakByRole(s.Acting(), s.Load.Users) {
		if size := int(s.Accounts.Size); size > 0 {
			want[role] = (n*size + s.Load.Users - 1) / s.Load.Users
			continue
		}
		// 50 users and a tenth are 55 accounts, though the product is a
		// little above.
		want[role] = int(math.Ceil(float64(n)*(1+s.Accounts.Headroom) - 1e-6))
	}
	if s.UsesProbe() {
		want[RoleProbe] += probeAccounts * len(s.Probe.Routes)
	}
	return want
}
