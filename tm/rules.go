package tm

import "errors"

// ErrorRule picks errors, those that it returns true for.
type ErrorRule func(err error) bool

// Is picks the errors that errors.Is finds target in.
func Is(target error) ErrorRule {
	return func(err error) bool { return errors.Is(err, target) }
}

// As picks the errors that errors.As finds an E in.
func As[E error]() ErrorRule {
	return func(err error) bool {
		var found E
		return errors.As(err, &found)
	}
}

// rollsBack tells whether fn's error rolls back.
func (o Options) rollsBack(err error) bool {
	picks := func(rules []ErrorRule) bool {
		for _, rule := range rules {
			if rule(err) {
				return true
			}
		}
		return false
	}
	if picks(o.RollbackFor) {
		return true
	}
	return len(o.RollbackFor) == 0 && !picks(o.NoRollbackFor)
}
