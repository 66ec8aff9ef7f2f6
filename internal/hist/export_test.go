package hist

// The arithmetic of the buckets, for the tests that prove it equal to the
// library's.
var (
	BucketOf     = bucketOf
	BucketBounds = bucketBounds
)
