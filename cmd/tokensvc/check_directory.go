package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/directory/store"
	"github.com/tokensvc/tokensvc/internal/provisioning"
)

func (p parts) checkDirectory(ctx context.Context) checked {
	const part = "directory"
	switch users := p.users.(type) {
	case *directory.File:
		return inOrder(part, "file: "+counted(users.Users(), "user"))
	case nobody:
		if folder := filepath.Dir(p.cfg.Directory.Value); !isFolder(folder) {
			return amiss(part, "sqlite: there is no folder for the database", "make the folder, for the service's user to write to: "+folder)
		}
		return inOrder(part, "sqlite: there is no database yet; serve makes it")
	case *provisioning.Finder:
		return p.checkDatabase(ctx)
	}
	return inOrder(part, p.cfg.Directory.name()+": in each person's token")
}

// checkDatabase asks the database what is in it.
func (p parts) checkDatabase(ctx context.Context) checked {
	const part = "directory"
	kind := p.cfg.Directory.Kind
	s, err := p.cfg.openStore()
	if err != nil {
		return amiss(part, kind+": "+err.Error(), "")
	}
	defer s.Close()
	err = s.Check(ctx)
	if errors.Is(err, store.ErrOlderSchema) && kind == "sqlite" {
		return inOrder(part, "sqlite: of an older version; serve brings it to this one's schema")
	}
	counts, failed := s.Counts(ctx)
	switch err := cmp.Or(err, failed); {
	case errors.Is(err, store.ErrOlderSchema):
		return amiss(part, kind+": has not been brought to this version", "run tokensvc migrate")
	case errors.Is(err, store.ErrNewerSchema):
		return amiss(part, kind+": of a newer version", "run that version of tokensvc, or one after it")
	case err != nil:
		return amiss(part, kind+": "+err.Error(), "see that directory and directory_password_file are right, and that the database can be reached from here")
	}
	text := fmt.Sprintf("%s: %s, %s", kind, counted(int(counts.Users), "user"), counted(int(counts.Credentials), "credential"))
	if counts.Deletions > 0 {
		text += fmt.Sprintf(", %s still to be deleted at Telnyx", counted(int(counts.Deletions), "credential"))
	}
	return inOrder(part, text)
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
