package secret_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/tokensvc/tokensvc/internal/secret"
)

func TestNoPrinterShowsASecret(t *testing.T) {
	const value = "marked-secret-value"
	text := secret.New(value)
	hidden := struct{ inner secret.Text }{text}

	marshalled, err := json.Marshal(map[string]any{"a": text, "b": &text})
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]string{
		"json":                  string(marshalled),
		"%v in a hidden field":  fmt.Sprintf("%v", hidden),
		"%+v of its pointer":    fmt.Sprintf("%+v", &hidden),
		"%#v in a hidden field": fmt.Sprintf("%#v", hidden),
		"error":                 fmt.Errorf("with %w", fmt.Errorf("%v", text)).Error(),
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		shown[verb] = fmt.Sprintf(verb, text)
	}
	for how, got := range shown {
		if strings.Contains(got, value) || strings.Contains(got, fmt.Sprintf("%x", value)) {
			t.Errorf("%s shows the secret: %s", how, got)
		}
	}
	if got := text.Reveal(); got != value {
		t.Errorf("Reveal() = %q, want %q", got, value)
	}
	if !(secret.Text{}).Empty() || text.Empty() {
		t.Error("Empty tells full from empty wrongly")
	}
}
