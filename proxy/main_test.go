package proxy

import (
	"testing"

	"go.uber.org/goleak"
)

// net/http lingers for half a second behind the answer to a request that it
// could not read, on a goroutine that ends by itself and that nothing waits for;
// goleak waits a little less.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}
