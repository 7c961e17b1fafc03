package handler

import (
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tokensvc/tokensvc/internal/authz"
	"github.com/tokensvc/tokensvc/internal/handler/contracttest"
)

func TestTheContractNamesEveryOutcome(t *testing.T) {
	contract := contracttest.Load(t)
	var declared, documented []string
	for _, o := range Outcomes() {
		declared = append(declared, string(o))
	}
	for _, o := range contract.Doc.Components.Schemas["Outcome"].Value.Enum {
		documented = append(documented, o.(string))
	}
	slices.Sort(declared)
	slices.Sort(documented)
	if !slices.Equal(declared, documented) {
		t.Errorf("the service knows    %v\nopenapi.yaml has %v", declared, documented)
	}
}

func TestTheReadmeNamesEveryOutcome(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range Outcomes() {
		if !strings.Contains(string(readme), "`"+string(o)+"`") {
			t.Errorf("README.md does not name %q", o)
		}
		told, refused := refusals[o]
		row := regexp.MustCompile("(?m)^\\|[^|]*`" + string(o) + "`[^|]*\\|([^|]*)\\|").FindStringSubmatch(string(readme))
		if refused && o != Canceled && (row == nil || !strings.Contains(row[1], strconv.Itoa(told.status))) {
			t.Errorf("README.md does not give %q its status %d", o, told.status)
		}
	}
}

func TestTheContractNamesEveryReason(t *testing.T) {
	contract := contracttest.Load(t)
	text := contract.Doc.Components.Headers["Challenge"].Value.Description
	for _, r := range authz.Reasons {
		if !strings.Contains(text, string(r)) {
			t.Errorf("openapi.yaml does not name the reason %q", r)
		}
	}
}

func TestTheContractNamesEveryRoute(t *testing.T) {
	contract := contracttest.Load(t)
	var served []string
	walk := func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		served = append(served, method+" "+route)
		return nil
	}
	s := &Service{}
	s.public = s.routes(Config{Origins: []string{"https://phone.example.com"}}, false)
	ops := NewOps(nil, prometheus.NewRegistry())
	for _, routes := range []chi.Routes{s.public, ops.routes} {
		if err := chi.Walk(routes, walk); err != nil {
			t.Fatal(err)
		}
	}
	var documented []string
	for path, item := range contract.Doc.Paths.Map() {
		for method := range item.Operations() {
			documented = append(documented, method+" "+path)
		}
	}
	slices.Sort(served)
	slices.Sort(documented)
	if !slices.Equal(served, documented) {
		t.Errorf("served       %v\nopenapi.yaml %v", served, documented)
	}
}
