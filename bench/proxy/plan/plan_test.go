package plan

import "testing"

// A stream that lost, repeated or changed a byte is not taken for whole.
func TestCheck(t *testing.T) {
	stream := make([]byte, 4096)
	Fill(stream, 0)
	for _, part := range [][2]int{{0, 4096}, {0, 1}, {5, 6}, {7, 100}, {8, 16}, {4095, 4096}} {
		if !Check(stream[part[0]:part[1]], int64(part[0])) || !Check(stream[part[0]:part[1]], int64(part[0])+3*StreamSize) {
			t.Errorf("%v is not found whole", part)
		}
	}
	for _, shift := range []int64{1, 2, 8, 64, 4096, StreamSize / 2, StreamSize - 1} {
		if Check(stream[16:64], 16+shift) {
			t.Errorf("a stream that lost %d bytes is found whole", shift)
		}
	}
	for i := range stream {
		changed := append([]byte(nil), stream...)
		changed[i] ^= 1
		if Check(changed, 0) {
			t.Fatalf("a changed byte at %d is not noticed", i)
		}
	}
}
