// Command tokensvc hands out Telnyx login tokens to verified people. It wires
// the parts together; what they decide, and why, stands in their packages.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// version is set when the binary is built.
var version = "dev"

// Exit statuses, which scripts may rely on.
const (
	exitOK     = 0
	exitFailed = 1 // something went wrong while running
	exitUsage  = 2 // the command line or the configuration is not in order
)

// terminal is what a command reads and writes.
type terminal struct {
	environ []string
	in      io.Reader
	out     io.Writer
	err     io.Writer
}

// command is a sub-command. run ends when ctx does, and returns the exit status.
type command struct {
	name string
	help string
	run  func(ctx context.Context, t terminal, args []string) int
}

var commands = []command{
	{"serve", "serve tokens: tokensvc serve [-config tokensvc.yaml]", serve},
	{"explain", "say why somebody gets a token or not: tokensvc explain [-config tokensvc.yaml] < bearer", explain},
	{"check", "say whether all that serve needs is there: tokensvc check [-config tokensvc.yaml]", check},
	{"probe", "try a running service from outside, logins and refusals: tokensvc probe -url URL -bearer-file FILE", probe},
	{"users", "see and change the people in the directory: tokensvc users COMMAND", users},
	{"migrate", "bring the directory's database to this version's schema: tokensvc migrate [-config tokensvc.yaml]", migrate},
	{"reconcile", "compare the directory with what is at Telnyx: tokensvc reconcile [-config tokensvc.yaml] [-apply]", reconcile},
	{"audit", "say whether records of decisions are whole: tokensvc audit verify FILE…", auditCommand},
	{"dev", "try everything on this machine: tokensvc dev", dev},
	{"healthcheck", "ask a running service whether it is ready, for a container's HEALTHCHECK", healthcheck},
	{"version", "print the version", printVersion},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	go func() {
		<-ctx.Done()
		stop() // a second signal ends the process at once
	}()
	t := terminal{environ: os.Environ(), in: os.Stdin, out: os.Stdout, err: os.Stderr}
	os.Exit(run(ctx, t, os.Args[1:]))
}

func run(ctx context.Context, t terminal, args []string) int {
	if len(args) == 0 {
		usage(t.err)
		return exitUsage
	}
	for _, c := range commands {
		if c.name == args[0] {
			return c.run(ctx, t, args[1:])
		}
	}
	switch args[0] {
	case "help":
		if len(args) > 1 {
			return run(ctx, t, []string{args[1], "-h"})
		}
		usage(t.out)
		return exitOK
	case "-h", "-help", "--help":
		usage(t.out)
		return exitOK
	case "-version", "--version":
		return printVersion(ctx, t, args[1:])
	}
	say(t.err, "tokensvc: there is no command of that name\n\n")
	usage(t.err)
	return exitUsage
}

func usage(w io.Writer) {
	say(w, "tokensvc hands out Telnyx login tokens to verified people.\n\n")
	for _, c := range commands {
		say(w, "  %-12s %s\n", c.name, c.help)
	}
	say(w, "\nA command's flags: tokensvc COMMAND -h, or tokensvc help COMMAND\n")
}

func printVersion(_ context.Context, t terminal, args []string) int {
	if status, ok := parse(newFlags("version", t, "", "Prints the version."), args); !ok {
		return status
	}
	say(t.out, "tokensvc %s\n", version)
	return exitOK
}

// say prints to the person at the terminal, who may have gone.
func say(w io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(w, format, args...) }
