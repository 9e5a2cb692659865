//go:build linux

package compat

import (
	"testing"

	"github.com/qiao-tx/qiao/internal/testenv"
)

// coordinator is what the clients work on.
type coordinator interface {
	// Address stays the same after Restart.
	Address() string
	Kill()
	Restart()
}

// Kinds of coordinator, as the table and the files of testdata name them.
const (
	kindQiao = "qiao"
	kindJava = "java"
)

// start starts a coordinator of a kind; batch has it answer merged requests
// with a BatchResult where the client knows that.
func start(t *testing.T, kind string, batch bool) coordinator {
	if kind == kindJava {
		options := testenv.JavaTCOptions{}
		if batch {
			options.Properties = map[string]string{"transport.enableTcServerBatchSendResponse": "true"}
		}
		return testenv.JavaTC(t, options)
	}
	if batch {
		return testenv.Qiao(t, "--batch-responses")
	}
	return testenv.Qiao(t)
}
