package web

import (
	"embed"
	"io/fs"
)

//go:embed demo/index.html demo/*.css demo/*.js demo/*.svg
var demo embed.FS

// Demo is the softphone that `tokensvc dev` serves: every file of it is beside
// index.html, and imports its neighbours by relative paths. What it needs from
// npm is not in it.
var Demo = rooted(demo, "demo")

// rooted is the folder as a file system of its own. The folder's name is ours,
// so that an error is a mistake in this file.
func rooted(files fs.FS, folder string) fs.FS {
	root, err := fs.Sub(files, folder)
	if err != nil {
		panic(err)
	}
	return root
}
