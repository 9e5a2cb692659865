package service

import "fmt"

// Mode is how a change of a database can be undone.
type Mode string

// The modes of this shop.
const (
	// AT: plain SQL. What was changed is written down and put back.
	AT Mode = "at"
	// XA: plain SQL. The database itself holds the change until the decision.
	XA Mode = "xa"
	// TCC: the service reserves first, and then confirms or cancels.
	TCC Mode = "tcc"
	// Saga: the service changes at once, and takes it back if the order fails.
	Saga Mode = "saga"
)

// Modes are all of them.
var Modes = []Mode{AT, XA, TCC, Saga}

// ParseMode reads a mode's name.
func ParseMode(name string) (Mode, error) {
	for _, m := range Modes {
		if string(m) == name {
			return m, nil
		}
	}
	return "", fmt.Errorf("no mode %q: want one of %v", name, Modes)
}
