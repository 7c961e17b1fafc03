package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// devToken is `tokensvc dev token NAME`: a fresh bearer, from a running dev.
func devToken(ctx context.Context, t terminal, args []string) int {
	flags := newFlags("dev token", t, "[-issuer URL] NAME", "Prints a fresh bearer of one of the running dev's people: "+names()+".")
	issuer := flags.String("issuer", "http://"+devIssuerListen, "`URL` of the running dev's issuer")
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return exitUsage
	case flags.NArg() > 1 && strings.HasPrefix(flags.Arg(1), "-"):
		say(t.err, "flags go before the name: tokensvc dev token [-issuer URL] NAME\n")
		return exitUsage
	case flags.NArg() != 1:
		say(t.err, "one name is wanted: %s\nusage: tokensvc dev token [-issuer URL] NAME\n", names())
		return exitUsage
	case !isWebAddress(*issuer):
		say(t.err, "-issuer must be a URL, like http://%s\n", devIssuerListen)
		return exitUsage
	}
	bearer, err := fetchBearer(ctx, *issuer, flags.Arg(0))
	if err != nil {
		sayError(t.err, err)
		return exitFailed
	}
	say(t.out, "%s\n", bearer)
	return exitOK
}

func isWebAddress(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

func fetchBearer(ctx context.Context, issuer, name string) (string, error) {
	status, body, err := get(ctx, strings.TrimSuffix(issuer, "/")+"/bearer/"+url.PathEscape(name), nil)
	switch refused := (*net.OpError)(nil); {
	case errors.As(err, &refused):
		return "", fmt.Errorf("nobody answers at %s: is `tokensvc dev` running there?", issuer)
	case err != nil:
		return "", err
	case status == http.StatusNotFound:
		return "", fmt.Errorf("%s: there are %s", body, names())
	case status != http.StatusOK:
		return "", errors.New(body)
	}
	return body, nil
}
