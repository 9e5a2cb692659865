//go:build !linux

package raft

import (
	"os"
	"syscall"
)

func syncData(fd uintptr) error { return os.NewSyscallError("fsync", syscall.Fsync(int(fd))) }
