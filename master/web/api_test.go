package web_test

import "testing"

func TestThrongKeepsTheContract(t *testing.T) {
	t.Parallel()
	_, base := serve(t, nil)
	checkContract(t, api{base, throng})
}
