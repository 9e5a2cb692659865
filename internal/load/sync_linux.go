package load

import (
	"os"
	"syscall"
)

// syncData makes written bytes durable; the file's size does not change.
func syncData(file *os.File) error { return syscall.Fdatasync(int(file.Fd())) }
