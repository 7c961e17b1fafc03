package authz

import "time"

// Bounds of a DPoP proof.
const (
	// maxProofAge is for slow mobile networks and clocks that are behind ours. A
	// proof is made for one request: there is no other reason to be old.
	maxProofAge = 60 * time.Second
	// maxProofAhead is for clocks that are ahead of ours. A stolen proof that was
	// made in stock has that much longer to be used.
	maxProofAhead = 10 * time.Second
	// proofLife is the time between the first and the last moment at which a
	// proof can be accepted.
	proofLife = maxProofAhead + maxProofAge
)
