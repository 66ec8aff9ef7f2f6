package probe

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/throng-load/throng/accounts"
	"github.com/throng-load/throng/internal/coord"
	"github.com/throng-load/throng/internal/dial"
	"github.com/throng-load/throng/scenarios"
	"github.com/throng-load/throng/scenarios/pubsub"
)

var errLeaseWait = errors.New("no account in time")

// join leases an account of the probe's role and logs it in.
func (p *probe) join(soft, hard context.Context) (link, error) {
	waitCtx, cancel := context.WithTimeoutCause(soft, time.Duration(p.Spec.Accounts.LeaseWait), errLeaseWait)
	defer cancel()
	lease, err := p.Holder.Lease(waitCtx, scenarios.RoleProbe)
	if err != nil {
		return link{}, err
	}
	// The lease's end closes the connections, whatever goes on over them.
	bound, unbind := lease.Bind(hard)
	dialer := dial.New(p.Allow, lease)
	read, unread := p.LastAnswers(bound)
	detach := context.AfterFunc(read, func() { dialer.Close() })
	leave := func(outcome accounts.Outcome) {
		detach()
		unread()
		dialer.Close()
		unbind()
		p.Holder.Release(lease, outcome)
	}
	conn, err := p.login(soft, read, lease, dialer)
	if err != nil {
		outcome := accounts.OK
		if errors.Is(err, pubsub.ErrAccountRefused) {
			outcome = accounts.Refused(err.Error())
		}
		leave(outcome)
		p.refuseIfForbidden(err)
		return link{}, fmt.Errorf("log in: %w", err)
	}
	return link{conn: conn, over: read.Done(), leave: func() {
		conn.Close() // always with the dialer, whose errors would say nothing new
		leave(accounts.OK)
	}}, nil
}

// login connects. Once begun it is finished also when soft ends.
func (p *probe) login(soft, read context.Context, lease *accounts.Lease, dialer pubsub.Dialer) (pubsub.Conn, error) {
	if soft.Err() != nil {
		return nil, context.Cause(soft)
	}
	ctx, cancel := context.WithTimeout(read, time.Duration(p.Spec.Probe.Timeout))
	defer cancel()
	began := time.Now()
	conn, err := p.Driver.Connect(ctx, lease.Leased, dialer)
	p.recorder.Record(opProbe, "login", time.Since(began), 0, givenUp(ctx, read.Done(), err))
	return conn, err
}

// refuseIfForbidden tells the master that this process must not reach the
// target: waiting does not change that.
func (p *probe) refuseIfForbidden(err error) {
	if forbidden := (*dial.NotAllowedError)(nil); errors.As(err, &forbidden) {
		p.refuse(forbidden)
	}
}

// refuse tells the master why the probe cannot take part in the run.
func (p *probe) refuse(err error) {
	p.SetState(func(s *coord.State) { s.Refusal = err.Error() })
	p.Member.Hurry()
}
