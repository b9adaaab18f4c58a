package main

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"testing"
)

func TestALightClientNeedsAGenesis(t *testing.T) {
	folder := t.TempDir()
	_, _, err := run(context.Background(), filepath.Join(folder, "genesis.json"), filepath.Join(folder, "start"), nil, 0, 0)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
