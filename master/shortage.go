package master

import (
	"context"

	"github.com/throng-load/throng/master/report"
)

// noteShortage notes who holds the accounts of a role when more leases of it are
// waited for than ever before in the run.
func (m *Master) noteShortage(ctx context.Context) error {
	for _, a := range m.accounts {
		short := m.short[a.Role]
		if a.Waiting == 0 || short != nil && a.Waiting <= short.Waiting {
			continue
		}
		most, err := m.pool.MostHeld(ctx, a.Role)
		if err != nil {
			return err
		}
		short = &report.Short{Waiting: a.Waiting, HeldBy: []report.Held{}}
		for _, by := range most {
			short.HeldBy = append(short.HeldBy, report.Held{Name: by.Name, Accounts: by.Accounts})
		}
		m.short[a.Role] = short
	}
	return nil
}
