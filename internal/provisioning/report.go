package provisioning

import (
	"time"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// A Kind is what is wrong with a credential.
type Kind string

// The kinds.
const (
	Orphan  Kind = "orphan"  // we made it, and it is nobody's
	Gone    Kind = "gone"    // it is somebody's, and not at Telnyx any more
	Expired Kind = "expired" // it is somebody's, and has expired at Telnyx
)

// maxFindings bounds a Report.
const maxFindings = 1000

// A Finding is a credential with which something is wrong.
type Finding struct {
	Kind       Kind
	Credential telnyx.CredentialID
	Name       string           // at Telnyx; empty if Gone
	User       string           // whose it is; empty for an Orphan
	Device     directory.Device // likewise
	CreatedAt  time.Time        // at Telnyx for an Orphan, in the books otherwise
}

// A Report is what a reconciliation has found and done.
type Report struct {
	Pages    int // of the account's credentials
	AtTelnyx int // credentials in the account
	Recorded int // of these, how many are in the books
	Orphans  int
	// Young are orphans, as it seems, that are left alone: they are younger than Grace,
	// or somebody is at them, so they may be about to be written down.
	Young int
	// Gone are those that Telnyx says it does not know. Without Apply, beyond the
	// Findings, and with ErrTooManyGone, it is those that the account's pages do not
	// have.
	Gone    int
	Expired int
	// Retired is how many credentials have been taken out of the books; Adopted, how
	// many orphans given to whom they were made for; Queued, how many orphans and
	// expired ones put on the list of what to delete. Without Apply there are none.
	Retired int
	Adopted int
	Queued  int
	// Left is how many deletions are still to be made.
	Left int
	// Findings are the first 1,000; Truncated says that there are more.
	Findings  []Finding
	Truncated bool
	// Doubt is what speaks against applying it, and needs Force: an ErrTooManyGone or
	// ErrTooManyOrphans, with the numbers. It is there without Apply, too.
	Doubt error
}

func (r *Report) find(f Finding) {
	if len(r.Findings) >= maxFindings {
		r.Truncated = true
		return
	}
	r.Findings = append(r.Findings, f)
}
