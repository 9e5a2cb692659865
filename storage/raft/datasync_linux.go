package raft

import (
	"os"
	"syscall"
)

func syncData(fd uintptr) error {
	for {
		err := syscall.Fdatasync(int(fd))
		if err != syscall.EINTR {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}

// The flags of sync_file_range: wait for what is being written, write the rest,
// and wait for that.
const writeAndWait = 1 | 2 | 4

// writeOut waits until the data of a file has been written to the disk. It does
// not make it durable: the file system's journal, for which the log's syncs wait,
// is left alone.
func writeOut(file *os.File) error {
	for {
		err := syscall.SyncFileRange(int(file.Fd()), 0, 0, writeAndWait)
		if err != syscall.EINTR {
			return os.NewSyscallError("sync_file_range", err)
		}
	}
}
