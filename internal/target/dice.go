package target

// dice makes the draws of the faults. A draw is a pure function of the seed,
// what it is drawn for, and a number: there is no state whose order of use
// could differ between two runs.
type dice struct{ seed uint64 }

// draw names what a number is drawn for, so that draws for one message are
// independent of each other.
type draw uint64

const (
	drawLoss draw = iota + 1
	drawDuplicate
	drawDelay
	drawRefusePublish
	drawRefuseLogin
)

// roll returns the draw with number n, uniform in [0, 1).
func (d dice) roll(what draw, n int64) float64 {
	x := mix(mix(d.seed+uint64(what)*golden) + uint64(n)*golden)
	return float64(x>>11) / (1 << 53)
}

// hits says whether something of the given probability happens to number n.
func (d dice) hits(probability float64, what draw, n int64) bool {
	return probability > 0 && d.roll(what, n) < probability
}

// golden is 2^64 divided by the golden ratio: steps of it spread best.
const golden = 0x9e3779b97f4a7c15

// mix is the finalizer of SplitMix64: each bit of x changes about half of the
// bits of the result.
func mix(x uint64) uint64 {
	x += golden
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
