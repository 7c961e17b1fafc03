package telnyx

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/tokensvc/tokensvc/internal/secret"
)

// A diary is a tracer that writes down what it is told.
type diary struct{ said []string }

type page struct{}

func (d *diary) Attempt(ctx context.Context, op string, number int) (context.Context, func(Attempt)) {
	line := fmt.Sprint(op, " ", number)
	return context.WithValue(ctx, page{}, line), func(a Attempt) {
		d.said = append(d.said, fmt.Sprint(line, ": ", a.Status, " ", a.Kind))
	}
}

func (d *diary) Carry(ctx context.Context, header http.Header) {
	line, _ := ctx.Value(page{}).(string)
	header.Set("Traceparent", line)
}

// Attempts are counted through a call, whether for another key or as a repetition, and
// each says to Telnyx which it is.
func TestTheTracerSeesEveryAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var came []string
		answering := func(status int) step {
			return func(w http.ResponseWriter, r *http.Request) {
				came = append(came, r.Header.Get("Traceparent"))
				if status == 0 {
					done(w, r)
					return
				}
				w.WriteHeader(status)
			}
		}
		d := &diary{}
		client, _ := play(t, answering(401), answering(503), answering(0))
		client.keys.list = func() []secret.Text { return []secret.Text{secret.New("OLD"), secret.New("NEW")} }
		client.tracer = d
		if _, err := client.Mint(t.Context(), someID); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{
			"mint 1: 401 " + ErrKeyRejected.Error(), "mint 2: 503 " + ErrUnavailable.Error(), "mint 3: 200 <nil>",
		}, d.said); diff != "" {
			t.Errorf("wanted (-), told (+):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"mint 1", "mint 2", "mint 3"}, came); diff != "" {
			t.Errorf("wanted (-), came (+):\n%s", diff)
		}
	})
}
