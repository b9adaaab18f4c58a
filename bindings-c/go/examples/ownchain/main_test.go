package main

import "testing"

func TestAChainWrittenInGoIsSynchronizedAndALiarBanned(t *testing.T) {
	head, err := catchUp(t.TempDir(), 2500)
	if err != nil || head.Height != 2500 {
		t.Fatalf("%+v %v", head, err)
	}
}
