package eureka

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv(benchServer) != "" {
		serveBenchmark()
		return
	}
	goleak.VerifyTestMain(m)
}
