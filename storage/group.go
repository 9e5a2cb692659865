package storage

import (
	"fmt"
	"strings"
)

// Group says that a cluster of coordinators serves a transaction group: a row of
// Seata's vgroup_table. Its note's value says nothing but that it is there.
type Group struct {
	Name      string
	Namespace string
	Cluster   string
}

const groupSeparator = "\x00"

// Note is the note that keeps g.
func (g Group) Note() Note {
	return Note{Kind: NoteGroup, Key: g.Name + groupSeparator + g.Namespace + groupSeparator + g.Cluster, Value: "+"}
}

// Gone is the note that removes g.
func (g Group) Gone() Note {
	n := g.Note()
	n.Value = ""
	return n
}

// ParseGroup undoes Note and Gone. The error wraps ErrBadNote.
func ParseGroup(n Note) (Group, error) {
	parts := strings.Split(n.Key, groupSeparator)
	if n.Kind != NoteGroup || len(parts) != 3 || parts[0] == "" {
		return Group{}, fmt.Errorf("%w: %q of kind %q names no transaction group", ErrBadNote, n.Key, n.Kind)
	}
	return Group{Name: parts[0], Namespace: parts[1], Cluster: parts[2]}, nil
}
