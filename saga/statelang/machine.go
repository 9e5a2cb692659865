package statelang

// Kinds of states, as the key Type names them.
const (
	ServiceTask          = "ServiceTask"
	ScriptTask           = "ScriptTask"
	SubStateMachine      = "SubStateMachine"
	CompensateSubMachine = "CompensateSubMachine"
	CompensationTrigger  = "CompensationTrigger"
	Choice               = "Choice"
	Succeed              = "Succeed"
	Fail                 = "Fail"
)

// RecoverStrategy says what a coordinator's time-out does with a machine.
type RecoverStrategy string

// Strategies of recovery. Without one, a time-out compensates.
const (
	Compensate RecoverStrategy = "Compensate"
	Forward    RecoverStrategy = "Forward"
)

// Machine is a parsed definition. It is not changed after Parse.
type Machine struct {
	Name            string
	Comment         string
	Version         string
	StartState      string
	RecoverStrategy RecoverStrategy
	// Persist: instances are logged. Default true.
	Persist bool
	// RetryUpdate and CompensateUpdate (IsRetryPersistModeUpdate,
	// IsCompensatePersistModeUpdate): a retry or repeated compensation reuses the
	// row of the one before instead of adding one. Nil: the engine's default.
	RetryUpdate, CompensateUpdate *bool

	States map[string]*State
	// Order lists the names of the states as the text does.
	Order []string
	// Content is the text that was parsed.
	Content string
	// Warnings are oddities that change nothing, such as unknown keys.
	Warnings []Problem

	places map[string]location
}

// location is a place in the text.
type location struct{ line, column int }

// Problem describes a mistake at a path of the machine, with its place.
func (m *Machine) Problem(path, text string) Problem {
	at := m.places[path]
	return Problem{Path: path, Line: at.line, Column: at.column, Text: text}
}

// State is one state. Which fields count depends on its Type.
type State struct {
	Name, Type, Comment string
	Next                string
	// Path leads to the state in the text, for messages.
	Path string

	Task
	// ServiceTask.
	ServiceName, ServiceMethod, ServiceType string
	ParameterTypes                          []string
	// Async: the machine goes on without waiting for the service.
	Async bool
	// ScriptTask.
	ScriptType, ScriptContent string
	// SubStateMachine: the name of the machine to run.
	StateMachineName string
	// Choice.
	Choices []Branch
	Default string
	// Fail.
	ErrorCode, Message string
}

// Task is what tasks have in common: services, scripts and machines in machines.
type Task struct {
	// CompensateState undoes the task. A task that has one is ForUpdate.
	CompensateState string
	// ForCompensation: it is some task's CompensateState.
	ForCompensation bool
	// ForUpdate: it changes data, so that a failure leaves doubt about it.
	ForUpdate bool
	// Persist: its runs are logged. Default true; false for scripts.
	Persist                       bool
	RetryUpdate, CompensateUpdate *bool

	Input  []any
	Output []Assignment
	Status []StatusRule
	Retry  []Retry
	Catch  []Catch
	Loop   *Loop
}

// Assignment gives a variable the value of an expression, or a constant.
type Assignment struct {
	Name  string
	Value any
}

// StatusRule decides the status of a run whose expression is true.
type StatusRule struct {
	Expression string
	// Status is SU, FA, UN or SK.
	Status string
}

// Retry says after which errors a service is called again.
type Retry struct {
	// Exceptions are class names. None means errors of the network.
	Exceptions      []string
	IntervalSeconds float64
	MaxAttempts     int
	BackoffRate     float64
}

// Catch leads an error to a state.
type Catch struct {
	Exceptions []string
	Next       string
}

// Branch is an arm of a Choice.
type Branch struct {
	Expression string
	Next       string
}

// Loop runs a task for each element of a collection.
type Loop struct {
	// Parallel is how many runs may be under way at once; at least 1.
	Parallel            int
	Collection          string
	ElementVariable     string
	ElementIndex        string
	CompletionCondition string
}

// IsTask tells whether runs of the state have input and output.
func (s *State) IsTask() bool {
	switch s.Type {
	case ServiceTask, ScriptTask, SubStateMachine, CompensateSubMachine:
		return true
	}
	return false
}

// implicitCompensation begins the name of the state that compensates a
// SubStateMachine without a CompensateState of its own, as in Seata.
const implicitCompensation = "_compensate_sub_machine_state_"

// Implicit tells whether the state stands in no text: the compensation of a
// SubStateMachine.
func (s *State) Implicit() bool {
	return s.Type == CompensateSubMachine && len(s.Name) > len(implicitCompensation) &&
		s.Name[:len(implicitCompensation)] == implicitCompensation
}

// Successors returns the states that may follow s, without compensations, each
// with the path of the key that names it.
func (s *State) Successors() []Reference {
	var all []Reference
	add := func(key, name string) {
		if name != "" {
			all = append(all, Reference{Path: s.Path + "." + key, State: name})
		}
	}
	add("Next", s.Next)
	for i, c := range s.Choices {
		add(index("Choices", i)+".Next", c.Next)
	}
	add("Default", s.Default)
	for i, c := range s.Catch {
		add(index("Catch", i)+".Next", c.Next)
	}
	return all
}

// Reference is a place that names a state.
type Reference struct{ Path, State string }
