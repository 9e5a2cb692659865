//go:build !linux

package raft

import (
	"os"
	"syscall"
)

func syncData(fd uintptr) error { return os.NewSyscallError("fsync", syscall.Fsync(int(fd))) }

// writeOut waits until the data of a file has been written to the disk.
func writeOut(file *os.File) error { return syncData(file.Fd()) }
