package mail

import "testing"

func TestStrongerThan(t *testing.T) {
	for _, c := range []struct {
		stronger, weaker Status
		why              string
	}{
		{StatusAccepted, StatusSending, "a verdict ends the sending"},
		{StatusAccepted, StatusUncertain, "an acceptance that was recorded late ends the doubt"},
		{StatusDelivered, StatusDeferred, "a server that was asked again took it"},
		{StatusBounced, StatusDelivered, "some servers bounce what they took"},
		{StatusComplained, StatusDelivered, "only who got it can complain"},
		{StatusSuppressed, StatusAccepted, "a service may accept a mail and then drop it"},
		{StatusSending, "nonsense", "what nobody knows says nothing"},
	} {
		if !c.stronger.StrongerThan(c.weaker) || c.weaker.StrongerThan(c.stronger) || c.stronger.StrongerThan(c.stronger) {
			t.Errorf("%s is not stronger than %s: %s", c.stronger, c.weaker, c.why)
		}
	}
	if !StatusBounced.Known() || Status("").Known() {
		t.Error("Known is wrong")
	}
}
