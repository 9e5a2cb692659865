//go:build !linux

package load

import "os"

// syncData makes written bytes durable.
func syncData(file *os.File) error { return file.Sync() }
