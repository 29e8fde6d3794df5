package ops

import (
	"fmt"
	"math"
	"reflect"
	"strconv"

	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/pkg/errors"
)

// identity writes a plain value so that two values have the same text only if they are equal: the full names of types and all
// fields, exported or not, whatever the value's own String and GoString print. Rules and target setters enter the hash by which
// Gorgonia merges nodes in this form.
//
// Values that differ in what no text shows (pointers, functions, maps, channels, or anything that holds one) are an error, which
// says where in the value it is.
func identity(v any) (string, error) {
	b, err := appendIdentity(nil, reflect.ValueOf(v), "", 0)
	return string(b), err
}

// maxDepth bounds how deep a value may be nested: a slice can hold itself.
const maxDepth = 64

func appendIdentity(b []byte, v reflect.Value, path string, depth int) ([]byte, error) {
	if !v.IsValid() { // a nil interface
		return append(b, "nil"...), nil
	}
	if depth > maxDepth {
		return nil, errors.Errorf("%s is nested more than %d deep", path, maxDepth)
	}
	t := v.Type()
	if path == "" {
		path = t.String()
	}
	if t.Name() != "" {
		b = append(b, t.PkgPath()...)
		b = append(b, '.')
		b = append(b, t.Name()...)
	} else {
		b = append(b, t.String()...)
	}
	b = append(b, '{')
	var err error
	switch t.Kind() {
	case reflect.Bool:
		b = strconv.AppendBool(b, v.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		b = strconv.AppendInt(b, v.Int(), 10)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		b = strconv.AppendUint(b, v.Uint(), 10)
	case reflect.Float32, reflect.Float64:
		b = appendBits(b, v.Float())
	case reflect.Complex64, reflect.Complex128:
		b = appendBits(append(appendBits(b, real(v.Complex())), ','), imag(v.Complex()))
	case reflect.String:
		b = strconv.AppendQuote(b, v.String())
	case reflect.Interface:
		b, err = appendIdentity(b, v.Elem(), path, depth+1)
	case reflect.Struct:
		for i := range t.NumField() {
			if b, err = appendIdentity(b, v.Field(i), path+"."+t.Field(i).Name, depth+1); err != nil {
				break
			}
			b = append(b, ',')
		}
	case reflect.Array, reflect.Slice:
		for i := range v.Len() {
			if b, err = appendIdentity(b, v.Index(i), fmt.Sprintf("%s[%d]", path, i), depth+1); err != nil {
				break
			}
			b = append(b, ',')
		}
	default:
		kind := t.Kind().String()
		switch t.Kind() {
		case reflect.Pointer, reflect.UnsafePointer, reflect.Uintptr:
			kind = "pointer"
		case reflect.Chan:
			kind = "channel"
		}
		return nil, errors.Errorf("%s is a %s", path, kind)
	}
	if err != nil {
		return nil, err
	}
	return append(b, '}'), nil
}

func appendBits(b []byte, x float64) []byte { return strconv.AppendUint(b, math.Float64bits(x), 16) }

// checkIdentity returns an error unless a rule or setter, v, is told from others by its value.
func checkIdentity(what string, v any) error {
	if _, err := identity(v); err != nil {
		return opkit.Errorf("ops", "%s %T: %v, and two of them could not be told apart: it must be a plain value of numbers, strings and structs of them",
			what, v, err)
	}
	return nil
}

// printed returns a rule or setter as its constructor, also one of a user's without String.
func printed(v any) string {
	if _, ok := v.(fmt.Stringer); ok {
		return fmt.Sprintf("%v", v) // survives a String that panics
	}
	if _, err := identity(v); err != nil {
		return fmt.Sprintf("%T", v) // no addresses, and it may hold itself
	}
	return fmt.Sprintf("%#v", v)
}
