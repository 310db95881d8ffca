package smtp

import (
	"testing"
	"time"
)

// A server that writes its replies one by one does not have to wait for an
// acknowledgement of the first, which takes 40 ms.
func TestRepliesOneByOne(t *testing.T) {
	fake := (&fakeServer{extensions: []string{"PIPELINING"}, nagle: true}).start(t)
	pool := testPool(t, fake)
	const mails = 30
	slow := 0
	for range mails {
		began := time.Now()
		if _, err := send(t, pool, testMessage()); err != nil {
			t.Fatal(err)
		}
		if time.Since(began) > 35*time.Millisecond {
			slow++
		}
	}
	if slow > mails/2 {
		t.Errorf("%d of %d mails took more than 35 ms", slow, mails)
	}
}
