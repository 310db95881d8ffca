package providers

func newSMTPSettings() Settings     { return nil }
func newSendGridSettings() Settings { return nil }
func newMailgunSettings() Settings  { return nil }
func newSESSettings() Settings      { return nil }
func newInboxSettings() Settings    { return nil }
