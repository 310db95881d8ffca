package deliveries

// mayWriteInto does not tell: only writing shows it here.
func mayWriteInto(string) error { return nil }
