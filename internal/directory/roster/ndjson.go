package roster

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4/json" // case-sensitive, and refuses duplicate names
)

// ndjsonReader reads NDJSON.
type ndjsonReader struct{ records *records }

func newNDJSONReader(r io.Reader) *ndjsonReader { return &ndjsonReader{newRecords(r, false)} }

func (n *ndjsonReader) next() (line int, v values, err error) {
	record, line, err := n.records.next()
	for err == nil && len(bytes.TrimSpace(record)) == 0 {
		record, line, err = n.records.next()
	}
	if err != nil {
		return line, v, err
	}
	v, text := object(record)
	if text != "" {
		return line, v, &LineError{line, text}
	}
	return line, v, nil
}

// object reads one object, or says what is wrong with it.
func object(record []byte) (v values, wrong string) {
	if !utf8.Valid(record) { // which the parser would mend
		return v, "is not UTF-8"
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(record, &members); err != nil || members == nil {
		return v, "must be one JSON object, in which no member stands twice"
	}
	for member := range members {
		if columnOf(member) < 0 {
			return v, "has a member that is none of " + columnNames()
		}
	}
	for column, member := range columns {
		text, ok := v.set(column, members[member])
		if !ok {
			return v, fmt.Sprintf("%s must be a %s", member, kind(column))
		}
		if strings.ContainsRune(text, utf8.RuneError) && !bytes.ContainsRune(record, utf8.RuneError) {
			return v, member + " is not Unicode" // half of a surrogate pair
		}
	}
	return v, ""
}

func kind(column int) string {
	if column == disabled {
		return "boolean"
	}
	return "string"
}

// set takes a member's value, and reports whether it is of the right kind. null is
// as good as none.
func (v *values) set(column int, value json.RawMessage) (text string, ok bool) {
	if value == nil || string(value) == "null" {
		return "", true
	}
	if column == disabled {
		v.text[column] = string(value)
		return "", string(value) == "true" || string(value) == "false"
	}
	if err := json.Unmarshal(value, &text); err != nil {
		return "", false
	}
	v.text[column] = text
	v.named = v.named || column == name
	return text, true
}
