// Package hist measures durations: a Histogram that merges exactly and
// travels in few bytes, and a Recorder that any number of goroutines may feed.
//
// The buckets are those of HdrHistogram with 3 significant digits from 1 µs to
// 1 h, as published by its author:
//
//	microseconds v < 2048         one bucket each
//	2048 << k  <=  v < 4096 << k  1024 buckets, each 2 << k wide, k = 0, 1, ...
//
// so a quantile is off by at most one part in 1000, or 1 µs if that is more.
// The library github.com/HdrHistogram/hdrhistogram-go hides the index of a
// bucket and allocates 188 KB per histogram, therefore the arithmetic is done
// here; the tests prove it equal to the library's.
//
// # What is exact
//
// The count, the sum, the mean, the least and the greatest duration are exact
// to the nanosecond, also across merging, encoding and a Recorder. Only the
// quantiles have the precision of the buckets. A duration over 1 h is recorded
// as 1 h, a negative one as its absolute value, in every figure; how often
// that happened is counted beside them.
//
// The package knows nothing of operations, users or of how a histogram travels.
package hist
