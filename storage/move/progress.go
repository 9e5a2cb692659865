package move

import "sync"

// Progress tells how far a copy is. It is safe for concurrent use.
type Progress struct {
	mu   sync.Mutex
	step Step
}

// Step is what a copy is about.
type Step struct {
	// Stage says what is done now.
	Stage string
	// Done of Total are; a Total of 0 is not known.
	Done, Total int64
}

// Step returns how far the copy is now.
func (p *Progress) Step() Step {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.step
}

func (p *Progress) enter(stage string, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.step = Step{Stage: stage, Total: total}
}

func (p *Progress) add(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.step.Done += n
}

func (p *Progress) stage() string { return p.Step().Stage }
