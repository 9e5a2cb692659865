//go:build !linux

package child

import "syscall"

// dieWithParent: elsewhere the end of standard input has to do.
func dieWithParent() *syscall.SysProcAttr { return nil }
