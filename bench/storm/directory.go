package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/tokensvc/tokensvc/bench/lab"
	"github.com/tokensvc/tokensvc/internal/directory/roster"
	"github.com/tokensvc/tokensvc/internal/directory/store"
	"github.com/tokensvc/tokensvc/internal/directory/store/pgtest"
)

// issuer is the name that the only issuer has.
const issuer = "main"

// postgreSQL starts a PostgreSQL that has everybody in it.
func postgreSQL(ctx context.Context, users []lab.User) (*pgtest.Server, error) {
	server, err := pgtest.New(pgtest.Options{})
	if err != nil {
		return nil, err
	}
	if err := fill(ctx, server.URL(), users); err != nil {
		return nil, errors.Join(err, server.Close())
	}
	return server, nil
}

func fill(ctx context.Context, address string, users []lab.User) (err error) {
	s, err := store.Open(store.Config{Postgres: address})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if _, _, err := s.Migrate(ctx); err != nil {
		return err
	}
	list := bytes.NewBufferString("user,device,credential_id\n")
	for _, u := range users {
		fmt.Fprintf(list, "%s,default,%s\n", u.Name, u.Credential)
	}
	var wrong error
	_, err = roster.Import(ctx, s, store.By{Actor: "bench"}, store.ImportEach, roster.NewReader(list, roster.CSV, []string{issuer}),
		func(line int, text string) { wrong = fmt.Errorf("line %d: %s", line, text) })
	return errors.Join(err, wrong)
}
