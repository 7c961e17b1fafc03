package handler

import (
	"maps"
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

var reasonsInPattern = regexp.MustCompile(`error_description="\(([^)]*)\)"`)

func TestTheContractNamesEveryReason(t *testing.T) {
	contract := contracttest.Load(t)
	pattern := contract.Doc.Components.Headers["Challenge"].Value.Schema.Value.Pattern
	found := reasonsInPattern.FindStringSubmatch(pattern)
	if found == nil {
		t.Fatalf("no reasons in the pattern of a challenge: %s", pattern)
	}
	var declared []string
	for _, r := range authz.Reasons {
		declared = append(declared, string(r))
	}
	documented := strings.Split(found[1], "|")
	slices.Sort(declared)
	slices.Sort(documented)
	if !slices.Equal(declared, documented) {
		t.Errorf("authz knows      %v\nopenapi.yaml has %v", declared, documented)
	}
}

// unasked are statuses that a request for a token does not have by itself: it has a route and
// the right method, changes nothing in the directory, and has somebody who waits
// for the answer.
var unasked = []int{
	http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusConflict, http.StatusPreconditionFailed, statusCanceled,
}

func TestTheContractNamesEveryStatus(t *testing.T) {
	contract := contracttest.Load(t)
	for route, own := range map[string][]string{
		tokenRoute:     {"200"},
		operationRoute: {"201", "404"},
	} {
		statuses := make(map[string]bool)
		for _, status := range own {
			statuses[status] = true
		}
		for _, told := range refusals {
			if !slices.Contains(unasked, told.status) {
				statuses[strconv.Itoa(told.status)] = true
			}
		}
		answered := slices.Sorted(maps.Keys(statuses))
		documented := slices.Sorted(maps.Keys(contract.Doc.Paths.Value(route).Post.Responses.Map()))
		if !slices.Equal(answered, documented) {
			t.Errorf("%s: the service answers %v\nopenapi.yaml has    %v", route, answered, documented)
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
	public := new(Service).routes(Config{Origins: []string{"https://phone.example.com"}}, false)
	ops, admin := NewOps(nil, prometheus.NewRegistry()), &Admin{}
	admin.metrics = NewMetrics(prometheus.NewRegistry())
	admin.routes = admin.router()
	ops.Administer(admin)
	for _, routes := range []chi.Routes{public, ops.routes} {
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
