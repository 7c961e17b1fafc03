package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	queryTime = 30 * time.Second
	mostBytes = 16 << 20
	// rateInterval stands for $__rate_interval, which Grafana makes of the scrape
	// interval: four of them at least.
	rateInterval = "5s"
)

// A prometheus is asked about a span of time.
type prometheus struct {
	address  string
	from, to time.Time
}

// fill asks a panel's queries.
func (p prometheus) fill(ctx context.Context, of *panel) error {
	for _, t := range of.Targets {
		lines, err := p.ask(ctx, t)
		if err != nil {
			return err
		}
		of.lines = append(of.lines, lines...)
	}
	return nil
}

// ask asks one query, an instant one about the end.
func (p prometheus) ask(ctx context.Context, t target) ([]line, error) {
	expr := strings.NewReplacer("$__rate_interval", rateInterval, "$job", ".*").Replace(t.Expr)
	path, form := "query_range", url.Values{
		"query": {expr}, "start": {seconds(p.from)}, "end": {seconds(p.to)}, "step": {"1"},
	}
	if t.Instant {
		path, form = "query", url.Values{"query": {expr}, "time": {seconds(p.to)}}
	}
	var answer struct {
		Error string
		Data  struct {
			Result []struct {
				Metric map[string]string
				Value  pair
				Values []pair
			}
		}
	}
	if err := p.get(ctx, path, form, &answer); err != nil {
		return nil, err
	}
	if answer.Error != "" {
		return nil, fmt.Errorf("%s: %s", expr, answer.Error)
	}
	var lines []line
	for _, r := range answer.Data.Result {
		l := line{name: legend(t.LegendFormat, r.Metric)}
		if t.Instant {
			r.Values = []pair{r.Value}
		}
		for _, v := range r.Values {
			if !math.IsNaN(v.value) {
				l.points = append(l.points, point(v))
			}
		}
		if len(l.points) > 0 {
			lines = append(lines, l)
		}
	}
	return lines, nil
}

func (p prometheus) get(ctx context.Context, path string, form url.Values, into any) error {
	ctx, cancel := context.WithTimeout(ctx, queryTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.address+"/api/v1/"+path+"?"+form.Encode(), nil)
	if err != nil {
		return err
	}
	res, err := new(http.Client).Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	return json.NewDecoder(io.LimitReader(res.Body, mostBytes)).Decode(into)
}

func seconds(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64) }

// legend is what Grafana would call a series.
func legend(format string, labels map[string]string) string {
	if format != "__auto" {
		for name, value := range labels {
			format = strings.ReplaceAll(format, "{{"+name+"}}", value)
		}
		return format
	}
	return strings.Join(slices.Sorted(maps.Values(labels)), " ")
}

// A pair is how Prometheus writes a sample: [1700000000.123,"0.5"].
type pair point

// UnmarshalJSON reads one.
func (p *pair) UnmarshalJSON(text []byte) error {
	var raw [2]json.RawMessage
	if err := json.Unmarshal(text, &raw); err != nil {
		return err
	}
	var value string
	if err := json.Unmarshal(raw[0], &p.at); err != nil {
		return err
	}
	if err := json.Unmarshal(raw[1], &value); err != nil {
		return err
	}
	var err error
	p.value, err = strconv.ParseFloat(value, 64)
	return err
}
