package actiongen

import (
	"fmt"
	"go/token"
	"strings"
)

// Problem is something in the source that cannot be generated from.
type Problem struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Message string `json:"message"`
}

func (p Problem) String() string {
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Message)
}

// Problems are all that was found in a file. As an error it has a line for each.
type Problems []Problem

func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i := range p {
		lines[i] = p[i].String()
	}
	return strings.Join(lines, "\n")
}

func (p *Problems) add(at token.Position, format string, args ...any) {
	*p = append(*p, Problem{File: at.Filename, Line: at.Line, Column: at.Column, Message: fmt.Sprintf(format, args...)})
}
