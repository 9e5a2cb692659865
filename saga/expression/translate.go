package expression

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxNesting bounds the depth of an expression.
const maxNesting = 100

// translator writes an expression in the language of expr. Operators become
// calls of functions with Java's meaning; constants go into a list, so that no
// text of the user becomes code.
type translator struct {
	source    string
	tokens    []token
	at        int
	groovy    bool
	depth     int
	constants []any
	// focus is what a bare name or [index] is looked up in: the root, or inside
	// a selection the element.
	focus string
}

func (t *translator) peek() token { return t.tokens[t.at] }

func (t *translator) take() token {
	token := t.tokens[t.at]
	if token.kind != end {
		t.at++
	}
	return token
}

func (t *translator) is(signs ...string) bool {
	token := t.peek()
	for _, s := range signs {
		if token.kind == sign && token.text == s {
			return true
		}
	}
	return false
}

// word tells whether the next token is one of SpEL's words for an operator.
func (t *translator) word(words ...string) bool {
	token := t.peek()
	for _, w := range words {
		if !t.groovy && token.kind == name && strings.EqualFold(token.text, w) {
			return true
		}
	}
	return false
}

func (t *translator) accept(s string) bool {
	if t.is(s) {
		t.at++
		return true
	}
	return false
}

func (t *translator) want(s string) error {
	if !t.accept(s) {
		return t.bad(t.peek(), "want %q, found %s", s, t.peek())
	}
	return nil
}

func (t *translator) bad(at token, format string, args ...any) error {
	return fmt.Errorf("%q, character %d: %s", t.source, utf8.RuneCountInString(t.source[:at.offset])+1, fmt.Sprintf(format, args...))
}

func (t *translator) constant(v any) string {
	t.constants = append(t.constants, v)
	return fmt.Sprintf("k[%d]", len(t.constants)-1)
}

func (t *translator) whole() (string, error) {
	code, err := t.expression()
	if err == nil && t.is("=") {
		err = t.bad(t.peek(), "an assignment is not allowed; did you mean \"==\"?")
	}
	if err == nil && t.peek().kind != end {
		err = t.bad(t.peek(), "%s is not expected here", t.peek())
	}
	return code, err
}

func (t *translator) expression() (string, error) {
	t.depth++
	defer func() { t.depth-- }()
	if t.depth > maxNesting {
		return "", t.bad(t.peek(), "nested more than %d deep", maxNesting)
	}
	condition, err := t.binary(0)
	if err != nil {
		return "", err
	}
	if t.accept("?:") {
		otherwise, err := t.expression()
		return "elvis(" + condition + "," + otherwise + ")", err
	}
	if !t.accept("?") {
		return condition, nil
	}
	yes, err := t.expression()
	if err == nil {
		err = t.want(":")
	}
	if err != nil {
		return "", err
	}
	no, err := t.expression()
	return "(" + t.truth(condition) + " ? " + yes + " : " + no + ")", err
}

// truth wraps a condition: Groovy takes any value, SpEL only a boolean.
func (t *translator) truth(code string) string {
	if t.groovy {
		return "truth(" + code + ")"
	}
	return "condition(" + code + ")"
}

// operator is a binary operator: its signs and words, and its function.
type operator struct {
	sign, word, function string
}

// levels of operators, the weakest first.
var levels = [][]operator{
	{{"||", "or", "||"}},
	{{"&&", "and", "&&"}},
	{{"==", "eq", "eq"}, {"!=", "ne", "ne"}, {"<=", "le", "le"}, {">=", "ge", "ge"}, {"<", "lt", "lt"}, {">", "gt", "gt"},
		{"", "matches", "like"}, {"", "between", "within"}},
	{{"+", "", "add"}, {"-", "", "subtract"}},
	{{"*", "", "multiply"}, {"/", "div", "divide"}, {"%", "mod", "remainder"}},
	{{"^", "", "power"}},
}

func (t *translator) binary(level int) (string, error) {
	if level == len(levels) {
		return t.unary()
	}
	left, err := t.binary(level + 1)
	for err == nil {
		op, ok := t.operator(level)
		if !ok {
			break
		}
		var right string
		right, err = t.binary(level + 1)
		switch op.function {
		case "||", "&&":
			left = "(" + t.truth(left) + " " + op.function + " " + t.truth(right) + ")"
		default:
			left = op.function + "(" + left + "," + right + ")"
		}
	}
	return left, err
}

func (t *translator) operator(level int) (operator, bool) {
	if t.groovy && t.peek().line { // a new line begins a new statement
		return operator{}, false
	}
	for _, op := range levels[level] {
		if op.sign != "" && t.is(op.sign) || op.word != "" && t.word(op.word) {
			t.at++
			return op, true
		}
	}
	return operator{}, false
}

func (t *translator) unary() (string, error) {
	t.depth++
	defer func() { t.depth-- }()
	if t.depth > maxNesting {
		return "", t.bad(t.peek(), "nested more than %d deep", maxNesting)
	}
	switch {
	case t.is("!") || t.word("not"):
		t.at++
		x, err := t.unary()
		return "!" + t.truth(x), err
	case t.accept("-"):
		x, err := t.unary()
		return "subtract(" + t.constant(int64(0)) + "," + x + ")", err
	case t.accept("+"):
		return t.unary()
	}
	x, err := t.primary()
	for err == nil {
		var more bool
		x, more, err = t.postfix(x)
		if !more {
			break
		}
	}
	return x, err
}

// postfix reads what may follow a value: a property, method, index or selection.
func (t *translator) postfix(x string) (code string, more bool, err error) {
	if t.groovy && t.peek().line && !t.is(".", "?.") {
		return x, false, nil
	}
	switch {
	case t.accept("."), t.is("?."):
		safe := t.accept("?.")
		member := t.take()
		if member.kind != name {
			return "", false, t.bad(member, "want the name of a property or method, found %s", member)
		}
		code, err = t.member(x, member.text, safe)
		return code, true, err
	case t.accept("["):
		code, err = t.index(x)
		return code, true, err
	case t.is(".?[", ".![", ".^[", ".$["):
		code, err = t.selection(x, t.take().text)
		return code, true, err
	}
	return x, false, nil
}

func (t *translator) member(x, member string, safe bool) (string, error) {
	function := "property"
	if safe {
		function = "safeProperty"
	}
	if !t.accept("(") {
		return function + "(" + x + "," + t.constant(member) + ")", nil
	}
	arguments, err := t.list(")")
	function = "method"
	if safe {
		function = "safeMethod"
	}
	return function + "(" + strings.Join(append([]string{x, t.constant(member)}, arguments...), ",") + ")", err
}

// list reads expressions up to a closing sign.
func (t *translator) list(closing string) (items []string, err error) {
	for !t.accept(closing) {
		if len(items) > 0 {
			if err := t.want(","); err != nil {
				return nil, err
			}
		}
		item, err := t.expression()
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	return items, nil
}

// index reads [key]; a bare word is the key itself.
func (t *translator) index(x string) (string, error) {
	key := t.peek()
	if !t.groovy && key.kind == name && t.tokens[t.at+1].text == "]" && t.tokens[t.at+1].kind == sign {
		t.at += 2
		return "index(" + x + "," + t.constant(key.text) + ")", nil
	}
	code, err := t.expression()
	if err == nil {
		err = t.want("]")
	}
	return "index(" + x + "," + code + ")", err
}

func (t *translator) selection(x, form string) (string, error) {
	outer := t.focus
	t.focus = "#"
	inner, err := t.expression()
	t.focus = outer
	if err == nil {
		err = t.want("]")
	}
	switch form {
	case ".![":
		return "map(list(" + x + "), {" + inner + "})", err
	case ".^[":
		return "first(filter(list(" + x + "), {condition(" + inner + ")}))", err
	case ".$[":
		return "last(filter(list(" + x + "), {condition(" + inner + ")}))", err
	}
	return "filter(list(" + x + "), {condition(" + inner + ")})", err
}

func (t *translator) primary() (string, error) {
	token := t.take()
	switch token.kind {
	case number, text:
		return t.constant(token.value), nil
	case name:
		return t.named(token)
	case end:
		return "", t.bad(token, "the expression ends where a value is expected")
	}
	switch token.text {
	case "(":
		inner, err := t.expression()
		if err == nil {
			err = t.want(")")
		}
		return "(" + inner + ")", err
	case "#":
		return t.variable()
	case "[":
		if t.groovy {
			return t.collection("]")
		}
		return t.index(t.focus)
	case "{":
		if !t.groovy {
			return t.collection("}")
		}
	case "@":
		return "", t.bad(token, "a bean, %q, has no counterpart; pass what it holds as a variable", "@…")
	}
	return "", t.bad(token, "%s is not expected here", token)
}

func (t *translator) variable() (string, error) {
	variable := t.take()
	switch variable.text {
	case "root":
		return "root", nil
	case "this":
		return t.focus, nil
	}
	return "", t.bad(variable, "there is no variable #%s; want #root or #this", variable.text)
}

func (t *translator) named(token token) (string, error) {
	switch token.text {
	case "true":
		return t.constant(true), nil
	case "false":
		return t.constant(false), nil
	case "null":
		return "nil", nil
	case "new":
		return "", t.bad(token, "a new object cannot be made in an expression")
	case "T":
		if !t.groovy && t.is("(") {
			return t.static()
		}
	}
	if !t.groovy || t.focus == "root" {
		return t.member(t.focus, token.text, false)
	}
	return t.member("root", token.text, false)
}

// static reads T(class).method(arguments).
func (t *translator) static() (string, error) {
	t.take()
	var class []string
	for !t.accept(")") {
		part := t.take()
		if part.kind == end {
			return "", t.bad(part, "want \")\" after the name of the class")
		}
		class = append(class, part.text)
	}
	if err := t.want("."); err != nil {
		return "", err
	}
	method := t.take()
	if err := t.want("("); err != nil {
		return "", err
	}
	arguments, err := t.list(")")
	if err != nil {
		return "", err
	}
	full := strings.TrimPrefix(strings.Join(class, ""), "java.lang.") + "." + method.text
	if statics[full] == nil {
		return "", t.bad(method, "%s is not supported", full)
	}
	return "static(" + strings.Join(append([]string{t.constant(full)}, arguments...), ",") + ")", nil
}

// collection reads {1,2} or {a:1} of an expression, [1,2] or [a:1] of a script.
func (t *translator) collection(closing string) (string, error) {
	if t.is(":") && t.groovy { // [:]
		t.take()
		return "mapOf()", t.want(closing)
	}
	if t.is(":") || !t.keyed() {
		items, err := t.list(closing)
		return "listOf(" + strings.Join(items, ",") + ")", err
	}
	var items []string
	for !t.accept(closing) {
		if len(items) > 0 {
			if err := t.want(","); err != nil {
				return "", err
			}
		}
		key := t.take()
		value := any(key.text)
		if key.kind == text {
			value = key.value
		}
		if err := t.want(":"); err != nil {
			return "", err
		}
		item, err := t.expression()
		if err != nil {
			return "", err
		}
		items = append(items, t.constant(value), item)
	}
	return "mapOf(" + strings.Join(items, ",") + ")", nil
}

// keyed tells whether a key and a colon come next.
func (t *translator) keyed() bool {
	key := t.peek()
	return (key.kind == name || key.kind == text) && t.tokens[t.at+1].kind == sign && t.tokens[t.at+1].text == ":"
}
