package manual_test

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"go.yaml.in/yaml/v3"
)

// composition is what counts here of a compose file: the services made of our image.
type composition struct {
	Services map[string]struct {
		Image       string
		Command     any
		Environment map[string]string
		Secrets     []string
	}
	Secrets map[string]struct{ File string }
}

// compose does `docker compose -f FILE up --build --wait` and `… exec tokensvc …`.
func compose(s surroundings, args []string) error {
	if len(args) < 3 || args[0] != "-f" {
		return fmt.Errorf("does not know %q", args)
	}
	file, command, rest := args[1], args[2], args[3:]
	switch {
	case command == "up" && slices.Contains(rest, "--wait"):
		return composeUp(s, file)
	case command == "exec" && len(rest) > 1 && rest[0] == "tokensvc":
		return s.exec(rest[1:])
	}
	return fmt.Errorf("does not know %s %q", command, rest)
}

func composeUp(s surroundings, file string) error {
	c, err := readComposition(file)
	if err != nil {
		return err
	}
	for server, secret := range s.Passwords {
		if err := s.setPassword(server, filepath.Join(filepath.Dir(file), c.Secrets[secret].File)); err != nil {
			return err
		}
	}
	for _, name := range []string{"migrate", "tokensvc"} {
		service := c.Services[name]
		words, _ := service.Command.([]any)
		one := container{Env: map[string]string{}}
		for _, word := range words {
			one.Args = append(one.Args, fmt.Sprint(word))
		}
		for variable, value := range service.Environment {
			if value != "" { // the image's program takes an empty variable for none
				one.Env[variable] = value
			}
		}
		for _, secret := range service.Secrets {
			path, err := filepath.Abs(filepath.Join(filepath.Dir(file), c.Secrets[secret].File))
			if err != nil {
				return err
			}
			if _, err := os.Stat(path); err != nil {
				return err
			}
			one.Mounts = append(one.Mounts, "/run/secrets/"+secret, path)
		}
		if !strings.HasPrefix(service.Image, "tokensvc:") || len(one.Args) == 0 {
			return fmt.Errorf("the service %s is not made of our image, or has no command", name)
		}
		start := s.up
		if name == "migrate" {
			start = s.toEnd
		}
		if err := start(one); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

var variable = regexp.MustCompile(`\$\{([A-Z_]+)(?::([-?])([^}]*))?\}`)

// readComposition reads a compose file, with the variables of the environment and
// of the .env beside it.
func readComposition(file string) (c composition, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return c, err
	}
	given, err := besideIt(file)
	if err != nil {
		return c, err
	}
	var missing error
	whole := variable.ReplaceAllStringFunc(string(text), func(found string) string {
		parts := variable.FindStringSubmatch(found)
		value := os.Getenv(parts[1])
		if value == "" {
			value = given[parts[1]]
		}
		if value == "" && parts[2] == "?" {
			missing = fmt.Errorf("%s is not set: %s", parts[1], parts[3])
		}
		if value == "" {
			return parts[3]
		}
		return value
	})
	if missing != nil {
		return c, missing
	}
	return c, yaml.Unmarshal([]byte(strings.ReplaceAll(whole, "$$", "$")), &c)
}

func besideIt(file string) (map[string]string, error) {
	given := map[string]string{}
	text, err := os.ReadFile(filepath.Join(filepath.Dir(file), ".env"))
	if os.IsNotExist(err) {
		return given, nil
	}
	for line := range strings.Lines(string(text)) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if ok && !strings.HasPrefix(name, "#") {
			given[name] = value
		}
	}
	return given, err
}

// setPassword has the database or the cache of this machine take the password that
// its container would have been started with.
func (s surroundings) setPassword(server, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	password := strings.TrimSpace(string(text))
	if server == "cache" {
		conn, err := (&net.Dialer{Timeout: comesUp}).DialContext(context.Background(), "tcp", s.Cache)
		if err != nil {
			return err
		}
		defer conn.Close()
		answer := make([]byte, 64)
		if _, err := fmt.Fprintf(conn, "CONFIG SET requirepass %s\r\n", password); err != nil {
			return err
		}
		n, err := conn.Read(answer)
		if err == nil && !strings.HasPrefix(string(answer[:n]), "+OK") {
			err = fmt.Errorf("the cache takes no password: %s", answer[:n])
		}
		return err
	}
	conn, err := pgx.Connect(context.Background(), s.Database)
	if err != nil {
		return err
	}
	defer conn.Close(context.Background())
	address, err := url.Parse(s.Database)
	if err != nil {
		return err
	}
	_, err = conn.Exec(context.Background(), fmt.Sprintf("ALTER ROLE %s PASSWORD '%s'", address.User.Username(), password))
	return err
}
