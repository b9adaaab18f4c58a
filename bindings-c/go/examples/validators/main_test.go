package main

import (
	"context"
	"testing"
	"time"
)

func TestALateValidatorCatchesUpIsLetInAndVotes(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	votes, err := run(ctx, t.TempDir(), 100)
	if err != nil {
		t.Fatal(err)
	}
	for index, count := range votes {
		if count == 0 {
			t.Errorf("validator %d never voted: %v", index, votes)
		}
	}
	if votes[validators-1] >= votes[0] {
		t.Errorf("the late one voted as often as others: %v", votes)
	}
}
