package child

import "syscall"

// dieWithParent has the kernel kill the process when its parent has died.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
