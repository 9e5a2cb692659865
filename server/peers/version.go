package peers

import (
	"fmt"
	"strconv"
	"strings"
)

// Version is a Seata version as a number that orders as versions do; 0 when
// there is none to be read.
type Version int64

// versionUndoLogDelete has the message UndoLogDelete; a client before it closes
// the connection on it.
var versionUndoLogDelete = NewVersion(0, 8, 0)

// NewVersion is the Version of major.minor.patch.
func NewVersion(major, minor, patch int64) Version {
	return Version(major<<40 | minor<<20 | patch)
}

// String is major.minor.patch.
func (v Version) String() string {
	const part = 1<<20 - 1
	return fmt.Sprintf("%d.%d.%d", v>>40, v>>20&part, v&part)
}

// ParseVersion reads "2.5.0", "1.4.2" or "2.6.0-SNAPSHOT". A suffix does not
// count: a snapshot behaves like what it will become, as Seata holds it too.
// A text that begins with no number is 0, the oldest.
func ParseVersion(s string) Version {
	var parts [3]int64
	s, _, _ = strings.Cut(s, "-")
	for i, part := range strings.SplitN(s, ".", len(parts)+1) {
		if i == len(parts) {
			break
		}
		n, err := strconv.ParseUint(part, 10, 20)
		if err != nil {
			break
		}
		parts[i] = int64(n)
	}
	return NewVersion(parts[0], parts[1], parts[2])
}
