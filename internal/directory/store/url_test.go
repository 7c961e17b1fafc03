package store_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tokensvc/tokensvc/internal/directory/store"
)

func TestWhichURLsOfADatabaseAreTaken(t *testing.T) {
	const hidden = "MARKED-password"
	for _, row := range []struct{ url, want, password string }{
		{"postgres://me@127.0.0.1/books", "postgres://me@127.0.0.1/books", ""},
		{"postgresql://me@localhost:5433/books", "postgresql://me@localhost:5433/books", ""},
		{"postgres://me:" + hidden + "@[::1]/books", "postgres://me@[::1]/books", hidden},
		{"postgres://me@/books?host=/run/postgresql", "postgres://me@/books?host=/run/postgresql", ""},
		{"postgres://me:" + hidden + "@db.example.com/books?sslmode=verify-full", "postgres://me@db.example.com/books?sslmode=verify-full", hidden},
		{"postgres://me@db.example.com/books?sslmode=disable&password=" + hidden, "postgres://me@db.example.com/books?sslmode=disable", hidden},
		{"postgres://me:" + hidden + "@db.example.com/books", "", "sslmode"},
		{"postgres://me:" + hidden + "@localhost,db.example.com/books", "", "sslmode"},
		{"postgres://me@db.example.com/books?sslmode=", "", "sslmode"},
		{"postgres://me@db.example.com/books?sslmode=prefer", "", "neither prefer"},
		{"postgres://me@db.example.com/books?sslmode=allow", "", "neither prefer"},
		{"postgres://me@one,two/books?sslmode=verify-full&target_session_attrs=read-write", "postgres://me@one,two/books?sslmode=verify-full&target_session_attrs=read-write", ""},
		{"postgres://me@db.example.com/books?sslmode=verify-full&sslpassword=" + hidden, "", "sslpassword"},
		{"postgres://me:" + hidden + "@db.example.com/books?sslmode=" + hidden, "", "must be the URL"},
		{"mysql://me:" + hidden + "@db.example.com/books", "", "must be the URL"},
		{"postgres://me:" + hidden + "@db.example.com:port/books?sslmode=disable", "", "must be the URL"},
		{"host=db password=" + hidden, "", "must be the URL"},
		{hidden, "", "must be the URL"},
		{"", "", "must be the URL"},
	} {
		got, password, err := store.ParseURL(row.url)
		if row.want == "" {
			if err == nil || !strings.Contains(err.Error(), row.password) || strings.Contains(fmt.Sprintf("%v%+v%s", err, err, got), hidden) {
				t.Errorf("%s: %q, %v; want it refused with a word of %q", row.url, got, err, row.password)
			}
			continue
		}
		if err != nil || got != row.want || password.Reveal() != row.password {
			t.Errorf("%s: %q, %v; want %q", row.url, got, err, row.want)
		}
	}
}
