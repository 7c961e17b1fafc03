package reliability_test

import "testing"

func TestTelnyxKeys(t *testing.T) {
	t.Parallel()
	const next = "KEYthatcomesnext"
	byFile := func(t *testing.T, w *world) {
		delete(w.vars, "TELNYX_API_KEY")
		w.vars["TELNYX_API_KEY_FILE"] = w.dir + "/api.key"
		writeFile(t, w.vars["TELNYX_API_KEY_FILE"], apiKey+"\n")
	}
	runRows(t, []fault{
		{
			name: "replaced in the file, and the old one revoked", setup: setup{prepare: byFile}, within: 0,
			begin: func(t *testing.T, w *world) func() {
				w.telnyx.AcceptKeys(apiKey, next)
				writeFile(t, w.vars["TELNYX_API_KEY_FILE"], next+"\n")
				return func() { w.telnyx.AcceptKeys(next) }
			},
			check: wantStrangeKeys(0, 0),
		}, {
			name: "revoked, and then replaced in the file", setup: setup{prepare: byFile},
			newcomers: []string{upstreamRejected}, shows: upstreamRejected, within: soon,
			begin: func(t *testing.T, w *world) func() {
				w.telnyx.AcceptKeys(next)
				return func() { writeFile(t, w.vars["TELNYX_API_KEY_FILE"], next+"\n") }
			},
			check: wantStrangeKeys(1, 1000),
		}, {
			name: "the first of two revoked", within: 0,
			setup: setup{prepare: func(t *testing.T, w *world) {
				delete(w.vars, "TELNYX_API_KEY")
				writeFile(t, w.dir+"/first.key", apiKey+"\n")
				writeFile(t, w.dir+"/second.key", next+"\n")
				w.vars["TELNYX_API_KEY_FILES"] = w.dir + "/first.key," + w.dir + "/second.key"
			}},
			begin: func(_ *testing.T, w *world) func() {
				w.telnyx.AcceptKeys(next)
				return func() { w.telnyx.AcceptKeys(apiKey, next) }
			},
			// Those that were under way together, and perhaps one more a minute.
			check: wantStrangeKeys(1, 30),
		},
	})
}

// wantStrangeKeys wants so many requests to have come with a key that Telnyx did
// not accept.
func wantStrangeKeys(least, most int) func(*testing.T, *world) {
	return func(t *testing.T, w *world) {
		if n := w.telnyx.Unauthorized(); n < least || n > most {
			t.Errorf("%d requests came with a key that was not accepted, want %d to %d", n, least, most)
		}
	}
}
