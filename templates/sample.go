package templates

// Sample returns a payload such as Logto sends with a message type, for trying
// templates: plain names, and a code that opens nothing. The locale is left out
// when empty.
func Sample(messageType, locale string) map[string]any {
	payload := map[string]any{
		"code": "123456",
		"application": map[string]any{
			"id": "sample-application", "name": "Sample App",
		},
	}
	switch messageType {
	case "OrganizationInvitation":
		delete(payload, "code")
		delete(payload, "application")
		payload["link"] = "https://app.example.com/join?token=sample"
		payload["organization"] = map[string]any{"id": "sample-organization", "name": "Riverside Rowing Club"}
		payload["inviter"] = sampleUser("Alice Wonder", "alice@example.com")
	case "UserPermissionValidation", "BindNewIdentifier":
		payload["user"] = sampleUser("Ada Lovelace", "ada@example.org")
	case "Generic":
		delete(payload, "application")
	}
	if locale != "" {
		payload["locale"] = locale
	}
	return payload
}

func sampleUser(name, address string) map[string]any {
	return map[string]any{
		"id": "sample-user", "name": name, "primaryEmail": address, "username": nil, "primaryPhone": nil,
		"avatar": nil, "profile": map[string]any{},
	}
}
