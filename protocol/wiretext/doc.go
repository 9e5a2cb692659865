// Package wiretext is frames as text.
//
// Job: a frame to a JSON object and back, byte for byte; a frame to lines for
// people.
// Owner: qiao frame; whoever shows or writes down what passes on the wire.
// It must not know: where frames come from, the layout of any codec, or a
// message by name: fields.go describes the fields of all of them at once.
package wiretext
