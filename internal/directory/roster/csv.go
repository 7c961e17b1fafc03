package roster

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// csvReader reads CSV. encoding/csv sees one record at a time, none of which is
// too long.
type csvReader struct {
	records *records
	record  *bytes.Reader
	parser  *csv.Reader
	columns []int // what stands where, once the header is read
}

func newCSVReader(r io.Reader) *csvReader {
	c := &csvReader{records: newRecords(r, true), record: bytes.NewReader(nil)}
	c.parser = csv.NewReader(c.record)
	c.parser.ReuseRecord = true
	c.parser.FieldsPerRecord = -1 // ours to count, for the message
	return c
}

func (c *csvReader) next() (line int, v values, err error) {
	if c.columns == nil {
		if err := c.readHeader(); err != nil {
			return 0, v, err
		}
	}
	fields, line, err := c.read()
	switch {
	case err != nil:
		return line, v, err
	case len(fields) != len(c.columns):
		return line, v, &LineError{line, fmt.Sprintf("has %d values, and there are %d columns", len(fields), len(c.columns))}
	}
	for i, text := range fields {
		v.text[c.columns[i]] = text
	}
	return line, v, nil
}

// read returns the next record's values, until the next call.
func (c *csvReader) read() (fields []string, line int, err error) {
	record, line, err := c.records.next()
	if err != nil {
		return nil, line, err
	}
	c.record.Reset(record)
	fields, err = c.parser.Read()
	switch {
	case errors.Is(err, csv.ErrBareQuote):
		return nil, line, &LineError{line, "a value with a quote in it must be in quotes, and the quote doubled"}
	case err != nil:
		return nil, line, &LineError{line, "after a closing quote there must be a comma or the line's end"}
	}
	return fields, line, nil
}

// readHeader reads the first record, which says what stands where.
func (c *csvReader) readHeader() error {
	fields, line, err := c.read()
	bad, ok := errors.AsType[*LineError](err)
	switch {
	case ok:
		return (*HeaderError)(bad)
	case errors.Is(err, io.EOF):
		return &HeaderError{line, "there is none; it is some of " + columnNames()}
	case err != nil:
		return err
	}
	columns, wrong := columnsOf(fields)
	if wrong != "" {
		return &HeaderError{line, wrong}
	}
	c.columns = columns
	return nil
}

// columnsOf says what stands where, or what is wrong with the header.
func columnsOf(header []string) (all []int, wrong string) {
	if hint := misread(header); hint != "" {
		return nil, hint
	}
	for i, field := range header {
		column := columnOf(strings.ToLower(field)) // as a spreadsheet may have it
		switch {
		case column < 0:
			return nil, fmt.Sprintf("column %d is none of %s", i+1, columnNames())
		case slices.Contains(all, column):
			return nil, "there are two columns " + columns[column]
		}
		all = append(all, column)
	}
	if !slices.Contains(all, user) {
		return nil, "the column user is missing"
	}
	return all, ""
}

// misread says why a header that is no CSV of ours may look as it does: a
// spreadsheet has its own idea of CSV in many a country.
func misread(header []string) string {
	switch {
	case strings.HasPrefix(header[0], "\xFF\xFE") || strings.HasPrefix(header[0], "\xFE\xFF"):
		return "this is UTF-16, and must be UTF-8"
	case len(header) == 1 && strings.ContainsAny(header[0], ";\t"):
		return "there must be commas between them; save as CSV with commas"
	}
	return ""
}
