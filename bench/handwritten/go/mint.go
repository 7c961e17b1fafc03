package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
)

func (s *server) mint(ctx context.Context, credential string) (string, error) {
	url := s.telnyx + "/telephony_credentials/" + credential + "/token"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+s.apiKey)
	res, err := s.client.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return "", err
	}
	if res.StatusCode != http.StatusCreated {
		return "", fmt.Errorf("telnyx answered %s", res.Status)
	}
	return string(body), nil
}
