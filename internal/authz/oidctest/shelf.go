package oidctest

// mostKept bounds each of the things that browsers leave here: whoever reloads a
// page all day fills no memory.
const mostKept = 1000

// A shelf keeps the newest mostKept things by their names. The zero value is an
// empty one.
type shelf[T any] struct {
	kept  map[string]T
	order []string // the oldest first
}

func (s *shelf[T]) put(name string, thing T) {
	if s.kept == nil {
		s.kept = make(map[string]T)
	}
	if len(s.order) == mostKept {
		delete(s.kept, s.order[0])
		s.order = append(s.order[:0], s.order[1:]...)
	}
	s.kept[name] = thing
	s.order = append(s.order, name)
}

func (s *shelf[T]) get(name string) (T, bool) {
	thing, ok := s.kept[name]
	return thing, ok
}
