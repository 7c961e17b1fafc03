package main

import (
	"context"
	"flag"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/mattn/go-isatty"
	"github.com/rs/zerolog"

	"github.com/tokensvc/tokensvc/internal/journal"
)

// serve is `tokensvc serve`.
func serve(ctx context.Context, t terminal, args []string) int {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP) // which would end the process
	flags := newFlags("serve", t, "[-config tokensvc.yaml]", "Serves tokens until it is told to stop.")
	path := flags.String("config", "", "`file` in YAML; without one, environment variables alone")
	if status, ok := parse(flags, args); !ok {
		return status
	}
	cfg, problems := Load(*path, t.environ)
	if len(problems) > 0 {
		sayError(t.err, joined(problems))
		return exitUsage
	}
	tuneCollector(t.environ)
	log, end := newLog(cfg.Log, t.err)
	defer end()
	limitMemory(t.environ, memlimit.FromCgroup, log)
	// Whoever reads standard output may go. That ends the process unless it is ignored.
	signal.Ignore(syscall.SIGPIPE)
	s, err := newService(cfg, log, t.out)
	if err != nil {
		sayError(t.err, err)
		return exitUsage
	}
	if err := s.prepare(ctx); err != nil {
		sayError(t.err, err)
		return exitUsage
	}
	s.hangup = hangup
	s.followRules(*path, t.environ)
	if err := s.listen(ctx); err != nil {
		log.Error().Err(err).Msg("cannot listen")
		return exitFailed
	}
	if err := s.run(ctx); err != nil {
		log.Error().Err(err).Msg("stopped")
		return exitFailed
	}
	return exitOK
}

// newFlags returns the flags of a command, whose -h shows its synopsis and says
// what it is about.
func newFlags(name string, t terminal, synopsis, about string) *flag.FlagSet {
	flags := flag.NewFlagSet("tokensvc "+name, flag.ContinueOnError)
	flags.SetOutput(t.err)
	flags.Usage = func() {
		say(t.err, "usage: %s\n\n%s\n\n", strings.TrimSpace("tokensvc "+name+" "+synopsis), about)
		flags.PrintDefaults()
	}
	return flags
}

// parse reads flags, and says with what status to exit if that is all. No
// argument may be left over: it would be a flag misspelt.
func parse(flags *flag.FlagSet, args []string) (status int, ok bool) {
	switch err := flags.Parse(args); {
	case err == flag.ErrHelp: //nolint:errorlint // documented as exactly this
		return exitOK, false
	case err != nil:
		return exitUsage, false
	case flags.NArg() > 0:
		hint := ""
		if flags.Lookup("config") != nil {
			hint = ": a configuration file is named by -config FILE"
		}
		say(flags.Output(), "%s takes no arguments, only flags%s\n", flags.Name(), hint)
		return exitUsage, false
	}
	return exitOK, true
}

// newLog returns a log that writes to w, and what to call when there is no more to
// be written.
func newLog(cfg LogConfig, w io.Writer) (log zerolog.Logger, end func()) {
	level, err := zerolog.ParseLevel(cfg.Level)
	if err != nil {
		panic(err) // the configuration allows only levels that there are
	}
	if cfg.Format == "console" || cfg.Format == "" && isTerminal(w) {
		return newLogTo(zerolog.ConsoleWriter{Out: w}, level), func() {}
	}
	lines := journal.New(w)
	return newLogTo(lines, level), func() { _ = lines.Close() } // there is nowhere left to say it
}

func newLogTo(w io.Writer, level zerolog.Level) zerolog.Logger {
	return zerolog.New(w).Level(level).With().Timestamp().Logger()
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}
