package main

import (
	"encoding/json"
	"fmt"
	"os"
)

// A dashboard is as much of Grafana's as is drawn.
type dashboard struct {
	Title  string
	Panels []panel
}

type panel struct {
	Type, Title string
	GridPos     struct{ X, Y, W, H int }
	Targets     []target
	FieldConfig struct{ Defaults field }

	lines []line // what its queries gave
}

type target struct {
	Expr, LegendFormat string
	Instant            bool
}

type field struct {
	Unit, NoValue string
	Decimals      *int
	Thresholds    struct {
		Steps []struct {
			Color string
			Value *float64
		}
	}
	Custom struct{ Stacking struct{ Mode string } }
}

// A line is one series and its name.
type line struct {
	name   string
	points []point
}

type point struct{ at, value float64 }

func read(path string) (dashboard, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return dashboard{}, err
	}
	var d dashboard
	if err := json.Unmarshal(content, &d); err != nil {
		return dashboard{}, fmt.Errorf("%s: %w", path, err)
	}
	return d, nil
}

// last is the newest value of a line.
func (l line) last() float64 { return l.points[len(l.points)-1].value }

// colour is that of the highest threshold that a value reaches.
func (f field) colour(value float64) string {
	colour := ""
	for _, s := range f.Thresholds.Steps {
		if s.Value == nil || value >= *s.Value {
			colour = s.Color
		}
	}
	return colour
}
