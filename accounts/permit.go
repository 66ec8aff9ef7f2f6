package accounts

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/go-redis/redis_rate/v10"
)

// burstTime is how much of a rate may come at once.
const burstTime = 100 * time.Millisecond

// Burst is the most permits that can be taken at once at a rate a second: what
// the rate allows in a tenth of a second, and at least one. It is small so that
// the rate holds in every window, not only on average: in a time W no more than
// W times the rate and one burst are granted. So at 1000 a minute, where the
// burst is one, no 60 seconds see more than 1000 grants.
func Burst(perSecond float64) int {
	return int(min(max(1, perSecond*burstTime.Seconds()), math.MaxInt32))
}

// slowest is the greatest interval between permits.
const slowest = 24 * time.Hour

// Permit asks for n permits, at most Burst, to call the target: permits come at
// a rate that all who name it share, in whatever process, by Redis's clock. They
// are granted together when wait is 0. Otherwise none is, and it is pointless to
// ask again before wait has passed. Permits are granted to whoever asks first
// once they are there; who asks for fewer at a time has the better chance.
func (p *Pool) Permit(ctx context.Context, perSecond float64, n int) (wait time.Duration, err error) {
	if !(perSecond > 0) || n < 1 || n > Burst(perSecond) {
		return 0, p.wrap("take a permit", fmt.Errorf("%d at %g a second: out of range", n, perSecond))
	}
	ctx, cancel := context.WithTimeout(ctx, p.settings.callTimeout())
	defer cancel()
	// One permit an interval, rounded up: never more than the rate.
	interval := time.Duration(min(math.Ceil(float64(time.Second)/perSecond), float64(slowest)))
	limit := redis_rate.Limit{Rate: 1, Period: interval, Burst: Burst(perSecond)}
	key := strings.TrimPrefix(p.store.keys.permits(), permitsPrefix)
	got, err := redis_rate.NewLimiter(p.store.rdb).AllowN(ctx, key, limit, n)
	switch {
	case err != nil:
		return 0, p.wrap("take a permit", err)
	case got.Allowed >= n:
		return 0, nil
	default:
		return max(got.RetryAfter, time.Millisecond/10), nil
	}
}
