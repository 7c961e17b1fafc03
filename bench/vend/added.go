package main

import (
	"context"
	"fmt"
	"time"

	"github.com/tokensvc/tokensvc/bench/lab"
	"github.com/tokensvc/tokensvc/bench/load"
)

const (
	quietRate = 200 // requests a second: nobody waits for anybody
	quietTime = 2 * time.Second
)

// direct asks the fake Telnyx itself, as a server would.
func (b *bench) direct() load.Plan {
	address := lab.Host(b.upstream.Telnyx)
	p := load.Plan{Address: address, Connections: b.connections}
	for _, u := range b.users[:regulars] {
		path := fmt.Sprintf("/v2/telephony_credentials/%s/token", u.Credential)
		p.Requests = append(p.Requests, load.Post(address, path, b.upstream.APIKey, ""))
	}
	return p
}

// added is how much longer a token takes in the median when the service is between,
// on a quiet machine.
func (b *bench) added(ctx context.Context, minting *contender) (time.Duration, error) {
	var all []time.Duration
	for range b.rounds {
		direct, err := load.Open(ctx, b.direct(), quietRate, quietTime)
		if err != nil {
			return 0, err
		}
		through, err := load.Open(ctx, b.plan(minting.server.Address, b.users[:regulars]), quietRate, quietTime)
		if err != nil {
			return 0, err
		}
		all = append(all, through.Quantile(0.50)-direct.Quantile(0.50))
	}
	return lab.Median(all), nil
}
