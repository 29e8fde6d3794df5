package opkit

import (
	"fmt"
	"path"
	"reflect"
	"strings"

	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
)

// A public package puts its name before its errors once, where they leave it: functions with Errorf or In, operations with OfOp, which
// Infer, Dispatch, CheckInputs and Accumulate do for them. What is in between has no prefix.

// packageError is an error with the name of a package before it, in place of all names that errors which it wraps had.
type packageError struct {
	pkg string
	err error
	op  bool // err names the operation
}

func (e *packageError) Error() string { return e.pkg + ": " + e.bare() }
func (e *packageError) Unwrap() error { return e.err }

// bare is the message without a package's name.
func (e *packageError) bare() string {
	text := e.err.Error()
	var inner *packageError
	if errors.As(e.err, &inner) {
		text = strings.Replace(text, inner.Error(), inner.bare(), 1)
	}
	return text
}

// In returns an error as one of the package that the user called: nil for nil.
func In(pkg string, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := err.(*packageError); ok && e.pkg == pkg {
		return err
	}
	return &packageError{pkg: pkg, err: err}
}

// Errorf returns an error of a package.
func Errorf(pkg, format string, args ...any) error { return In(pkg, errors.Errorf(format, args...)) }

// OfOp returns an error as one of an operation's package, with the operation's name unless an operation has put its own there.
func OfOp(op any, err error) error {
	if err == nil {
		return nil
	}
	for e := err; ; {
		var inner *packageError
		if !errors.As(e, &inner) {
			err = errors.WithMessage(err, fmt.Sprint(op))
			break
		}
		if inner.op {
			break
		}
		e = inner.err
	}
	t := reflect.TypeOf(op)
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil || t.PkgPath() == "" {
		return err
	}
	if e, ok := err.(*packageError); ok && e.op && e.pkg == path.Base(t.PkgPath()) {
		return err
	}
	return &packageError{path.Base(t.PkgPath()), err, true}
}

// Differentiating returns the error of an operation whose gradient's node could not be made.
func Differentiating(op fmt.Stringer, err error) error {
	return OfOp(op, errors.WithMessagef(err, "differentiating %v", op))
}

// OnNode says in the error of an operation which node it read.
func OnNode(n *gorgonia.Node, err error) error {
	var e *packageError
	if err == nil || n == nil || !errors.As(err, &e) {
		return err
	}
	return &packageError{e.pkg, errors.WithMessagef(err, "node %q", n.Name()), true}
}

// Guard turns a panic into an error of an operation. A panic inside an operation would end the process, since
// Gorgonia's machines run operations in goroutines of their own.
func Guard(op any, err *error) {
	if r := recover(); r != nil {
		*err = OfOp(op, errors.Errorf("panic: %v", r))
	}
}
