//go:build linux

package dubbojava

import (
	"os"
	"testing"

	getty "github.com/apache/dubbo-getty"
	"github.com/dubbogo/gost/log/logger"

	"github.com/qiao-tx/qiao/client/dubbo"
)

// providerVariable holds the configuration of a process that is a provider.
const providerVariable = "QIAO_TEST_DUBBO_PROVIDER"

func TestMain(m *testing.M) {
	logger.SetLoggerLevel("fatal")
	if err := getty.SetLoggerLevel(getty.LoggerLevelFatal); err != nil {
		panic(err)
	}
	dubbo.Register(dubbo.Config{})
	if config := os.Getenv(providerVariable); config != "" {
		os.Exit(provide(config))
	}
	os.Exit(m.Run())
}
