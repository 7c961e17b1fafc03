package handler

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

const short = 5 * time.Second

func newDeadline(ctx context.Context) *deadline {
	return &deadline{Context: ctx, at: time.Now().Add(short)}
}

func TestADeadlineIsMetByWhoeverWaits(t *testing.T) {
	for name, wait := range map[string]func(ctx context.Context){
		"on it":                 func(ctx context.Context) { <-ctx.Done() },
		"on what is made of it": func(ctx context.Context) { child, stop := context.WithCancel(ctx); defer stop(); <-child.Done() },
		"with a longer time-out": func(ctx context.Context) {
			child, stop := context.WithTimeout(ctx, time.Hour)
			defer stop()
			<-child.Done()
		},
		"who has looked at it": func(ctx context.Context) { _ = ctx.Err(); <-ctx.Done() },
		"for a function": func(ctx context.Context) {
			ran := make(chan bool)
			context.AfterFunc(ctx, func() { close(ran) })
			<-ran
		},
		"without looking at it": func(context.Context) { <-time.After(short) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began, ctx := time.Now(), newDeadline(t.Context())
				defer ctx.end()
				wait(ctx)
				if took := time.Since(began); took != short {
					t.Errorf("over after %v, want %v", took, short)
				}
				if err := ctx.Err(); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("it says %v, want context.DeadlineExceeded", err)
				}
			})
		})
	}
}

func TestADeadlineEndsWithItsRequest(t *testing.T) {
	for name, end := range map[string]func(request func(), d *deadline){
		"whose caller goes":      func(request func(), _ *deadline) { request() },
		"that has been answered": func(_ func(), d *deadline) { d.end() },
	} {
		for when, before := range map[string]func(context.Context){
			"nobody waiting":  func(context.Context) {},
			"somebody before": func(ctx context.Context) { _ = ctx.Done() },
		} {
			t.Run(name+", "+when, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					request, gone := context.WithCancel(t.Context())
					defer gone()
					ctx := newDeadline(request)
					before(ctx)
					if err := ctx.Err(); err != nil {
						t.Fatalf("over before its time: %v", err)
					}
					end(gone, ctx)
					if err := ctx.Err(); !errors.Is(err, context.Canceled) {
						t.Errorf("it says %v, want context.Canceled", err)
					}
					select {
					case <-ctx.Done():
					default:
						t.Error("whoever waits now waits on")
					}
					if err := ctx.Err(); !errors.Is(err, context.Canceled) {
						t.Errorf("after that it says %v, want context.Canceled", err)
					}
				})
			})
		}
	}
}

func TestTheEarlierDeadlineCounts(t *testing.T) {
	sooner, stop := context.WithTimeout(t.Context(), time.Second)
	defer stop()
	want, _ := sooner.Deadline()
	if got, ok := newDeadline(sooner).Deadline(); !ok || !got.Equal(want) {
		t.Errorf("%v, want the request's own %v", got, want)
	}
	d := newDeadline(t.Context())
	if got, ok := d.Deadline(); !ok || !got.Equal(d.at) {
		t.Errorf("%v, want %v", got, d.at)
	}
}

func TestADeadlineThatNobodyWaitsForCostsNoTimer(t *testing.T) {
	ctx := t.Context()
	if n := testing.AllocsPerRun(100, func() {
		d := newDeadline(ctx)
		if d.Err() != nil {
			t.Error("over before its time")
		}
		d.end()
	}); n > 1 {
		t.Errorf("%v allocations, want the deadline's own", n)
	}
}
