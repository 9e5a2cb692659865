//go:build !linux

package child

import (
	"errors"
	"os/exec"
)

// IsolatedAddress is of no use here.
const IsolatedAddress = "192.0.2.1"

// ErrNotIsolated: only Linux has network namespaces.
var ErrNotIsolated = errors.New("a network namespace takes Linux")

// Isolated is for Linux.
func Isolated(*exec.Cmd) error { return ErrNotIsolated }
