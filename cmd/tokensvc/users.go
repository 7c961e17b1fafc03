package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/user"

	"github.com/tokensvc/tokensvc/internal/directory"
)

// usersCommand is a sub-command of `tokensvc users`.
type usersCommand struct {
	name     string
	synopsis string // of its own flags and arguments
	about    string
	least    int // arguments
	most     int
	fills    bool // an empty directory too
	changes  bool // something, and so is recorded
	declare  func(u *usersRun, flags *flag.FlagSet)
	run      func(ctx context.Context, u *usersRun) error
}

var usersCommands = []usersCommand{
	{name: "list", synopsis: "[-search TEXT]", about: "Lists the people in the directory.", declare: declareList, run: listUsers},
	{
		name: "show", synopsis: "USER", about: "Shows a user and the telephony credentials of the user's devices.",
		least: 1, most: 1, run: showUser,
	}, {
		name: "add", synopsis: "USER [-name NAME] [-credential UUID [-device LABEL]]",
		about:   "Puts a user into the directory, or gives one that is there a name or a credential.",
		changes: true, least: 1, most: 1, fills: true, declare: declareAdd, run: addUser,
	}, {
		name: "disable", synopsis: "USER",
		about:   "Takes a user's access away: no further token, and the user's credentials are deleted at Telnyx.",
		changes: true, least: 1, most: 1, run: disableUser,
	}, {
		name: "enable", synopsis: "USER", about: "Lets a disabled user have tokens again, with new credentials.",
		changes: true, least: 1, most: 1, run: enableUser,
	}, {
		name: "remove", synopsis: "USER [-device LABEL] [-keep-credentials]",
		about:   "Takes a user, or one of the user's devices, out of the directory. The credentials are deleted at Telnyx.",
		changes: true, least: 1, most: 1, declare: declareRemove, run: removeUser,
	}, {
		name: "import", synopsis: "FILE [-format csv|ndjson] [-dry-run] [-atomic]",
		about:   "Puts the people of a list into the directory, a line each; FILE may be - for standard input. See docs/users.md.",
		changes: true, least: 1, most: 1, fills: true, declare: declareImport, run: importUsers,
	}, {
		name: "export", synopsis: "[-format csv|ndjson]", about: "Writes the list that import reads to standard output.",
		declare: declareExport, run: exportUsers,
	},
	{name: "events", synopsis: "[USER] [-limit N]", about: "Lists who changed what, the newest first.", most: 1, declare: declareEvents, run: listEvents},
}

// usersRun is one run of a sub-command.
type usersRun struct {
	t     terminal
	books books
	args  []string
	json  bool

	search, device, credential, format string
	name                               *string // nil leaves it as it is
	limit                              int
	keep, dryRun, atomic               bool
}

// errSaid says that the status is 1 and what went wrong has been said.
var errSaid = errors.New("failed")

// A usageError is what is wrong with the command line or the configuration.
type usageError struct{ error }

func misused(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// users is `tokensvc users`: the people in the directory, in its database or by
// the admin API of a service.
func users(ctx context.Context, t terminal, args []string) int {
	if len(args) == 0 {
		usersUsage(t)
		return exitUsage
	}
	for _, c := range usersCommands {
		if c.name == args[0] {
			return c.start(ctx, t, args[1:])
		}
	}
	usersUsage(t)
	switch args[0] {
	case "help", "-h", "-help", "--help":
		return exitOK
	}
	say(t.err, "\ntokensvc users: there is no command of that name\n")
	return exitUsage
}

func usersUsage(t terminal) {
	say(t.err, "usage: tokensvc users COMMAND [-config tokensvc.yaml | -server URL -token-file FILE] [-json] …\n\n")
	for _, c := range usersCommands {
		say(t.err, "  %-8s %s\n", c.name, c.about)
	}
	say(t.err, "\nA command's flags: tokensvc users COMMAND -h\n")
}

func (c usersCommand) start(ctx context.Context, t terminal, args []string) int {
	u := &usersRun{t: t}
	flags := newFlags("users "+c.name, t, "[-config tokensvc.yaml | -server URL -token-file FILE] [-json] "+c.synopsis, c.about)
	var at whereBooks
	at.declare(flags)
	flags.BoolVar(&u.json, "json", false, "print JSON objects, one on each line")
	if c.declare != nil {
		c.declare(u, flags)
	}
	var err error
	if u.args, err = parseAround(flags, args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return exitOK
		}
		return exitUsage
	}
	if n := len(u.args); n < c.least || n > c.most {
		say(t.err, "usage: tokensvc users %s [FLAGS] %s\n", c.name, c.synopsis)
		return exitUsage
	}
	if u.books, err = at.open(ctx, t.environ, c.fills); err == nil {
		defer func() { _ = u.books.close() }() // every change has been answered
		err = c.runRecorded(ctx, u, at.audit)
	}
	return u.status(err)
}

// status says what went wrong, and with what status to exit.
func (u *usersRun) status(err error) int {
	_, isUsage := errors.AsType[usageError](err)
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errSaid):
		return exitFailed
	}
	sayError(u.t.err, err)
	if isUsage {
		return exitUsage
	}
	return exitFailed
}

// parseAround reads flags that stand before and after the arguments, and returns
// the arguments. After --, all are arguments. What is wrong has been said.
func parseAround(flags *flag.FlagSet, args []string) (arguments []string, err error) {
	for {
		if err := flags.Parse(args); err != nil {
			return nil, err
		}
		rest := flags.Args()
		if read := len(args) - len(rest); len(rest) == 0 || read > 0 && args[read-1] == "--" {
			return append(arguments, rest...), nil
		}
		arguments, args = append(arguments, rest[0]), rest[1:]
	}
}

// actor is who makes a change, for the books: the owner of this process.
func actor() string {
	name := fmt.Sprint("uid ", os.Getuid()) // in a container there may be no name for it
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	return "cli " + oneLine(name)
}

// deviceOr reads the label of a device, or returns another if there is none.
func deviceOr(label string, other directory.Device) (directory.Device, error) {
	if label == "" {
		return other, nil
	}
	device, err := directory.ParseDevice(label)
	if err != nil {
		return "", misused("-device: %w", err)
	}
	return device, nil
}

// counted is "1 line" or "2 lines".
func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
