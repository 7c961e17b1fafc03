// Command template is `helm template`, for tests that run what the chart makes:
//
//	template RELEASE CHART VALUES
//
// It writes the documents, hooks included, to standard output.
package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path"
	"slices"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
)

func main() {
	slog.SetDefault(slog.New(slog.NewTextHandler(io.Discard, nil))) // of Helm's remarks on what it merges
	if err := run(os.Stdout, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "template:", err)
		os.Exit(1)
	}
}

func run(out io.Writer, args []string) error {
	if len(args) != 3 {
		return errors.New("usage: template RELEASE CHART VALUES")
	}
	chart, err := loader.LoadDir(args[1])
	if err != nil {
		return err
	}
	file, err := os.Open(args[2])
	if err != nil {
		return err
	}
	defer file.Close()
	given, err := loader.LoadValues(file)
	if err != nil {
		return err
	}
	release := common.ReleaseOptions{Name: args[0], Namespace: args[0], Revision: 1, IsInstall: true}
	values, err := util.ToRenderValues(chart, given, release, common.DefaultCapabilities)
	if err != nil {
		return err
	}
	files, err := engine.Render(chart, values)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if path.Ext(name) != ".yaml" {
			continue
		}
		if _, err := fmt.Fprintf(out, "---\n%s\n", files[name]); err != nil {
			return err
		}
	}
	return nil
}
