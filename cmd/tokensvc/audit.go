package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/tokensvc/tokensvc/internal/audit"
)

// auditCommand is `tokensvc audit`, of which there is one sub-command.
func auditCommand(_ context.Context, t terminal, args []string) int {
	flags := newFlags("audit", t, "verify FILE…",
		"Reads records of decisions, those that were put away first, and says whether any is missing; - is standard input.\n"+
			"The status is 3 if one is.")
	if len(args) > 0 && args[0] == "verify" {
		args = args[1:]
	} else if len(args) > 0 && args[0] != "-h" && args[0] != "-help" && args[0] != "--help" {
		say(t.err, "tokensvc audit: there is no command of that name\n\n")
		flags.Usage()
		return exitUsage
	}
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return exitUsage
	case flags.NArg() == 0:
		flags.Usage()
		return exitUsage
	}
	var reading audit.Reading
	for _, name := range flags.Args() {
		if err := readRecords(&reading, name, t.in); err != nil {
			sayError(t.err, err)
			return exitFailed
		}
	}
	if !sayReading(t.out, &reading) {
		return exitAmiss
	}
	return exitOK
}

func readRecords(into *audit.Reading, name string, in io.Reader) error {
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	if err := into.Read(in); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// maxGapsSaid bounds how many gaps are said of a run.
const maxGapsSaid = 10

// sayReading says what was read, and whether all of it is there.
func sayReading(w io.Writer, reading *audit.Reading) (whole bool) {
	var records, missing, lost, again uint64
	for _, r := range reading.Runs() {
		records, missing, lost, again = records+r.Records, missing+r.Missing(), lost+r.Lost, again+r.Again
		sayRun(w, r)
	}
	whole = missing == 0 && lost == 0 && records > 0
	say(w, "%s %s in %s: %d missing, %d lost", sign(whole), counted(int(records), "record"), counted(len(reading.Runs()), "run"), missing, lost)
	if again > 0 {
		say(w, ", %d there twice", again)
	}
	if reading.Torn > 0 {
		say(w, ", %s no record", counted(reading.Torn, "line"))
	}
	say(w, "\n")
	return whole
}

func sayRun(w io.Writer, r *audit.Run) {
	gaps := r.Gaps()
	say(w, "%s run %s", sign(len(gaps) == 0 && r.Lost == 0), oneLine(r.ID))
	if r.Began != "" {
		say(w, " of %s, version %s", oneLine(r.Began), oneLine(r.Version))
	}
	say(w, ": %s to number %d", counted(int(r.Records), "record"), r.Last()) //nolint:gosec // one for each line that was read
	if !r.Stopped {
		say(w, "; no end: it still runs, or was killed")
	}
	if r.Lost > 0 {
		say(w, "; says that it lost %d", r.Lost)
	}
	say(w, "\n")
	for n, g := range gaps {
		if n == maxGapsSaid {
			say(w, "    and %d gaps more\n", len(gaps)-n)
			break
		}
		say(w, "    missing: %d to %d\n", g.First, g.Last)
	}
}
