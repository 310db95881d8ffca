package templates

import "strings"

// defaultColor is the colour of buttons where the operator has none. White on it
// has a contrast of 6.4 to 1.
const defaultColor = "#0b57d0"

// setBranding lays what Logto knows of the application and the organization over
// the operator's branding: the organization's logo before the application's, the
// application's display name before the configured name, its internal name only
// if there is no other. A logo on a light ground and one on a dark ground come
// from the same place or they would not match.
func (v *values) setBranding(b *Branding) {
	fields := &v.builtins
	fields[senderName], fields[companyInformation] = b.SenderName, b.CompanyInformation
	fields[appLogo], fields[appLogoDark] = b.AppLogo, b.AppLogoDark
	fields[brandColor], fields[support] = b.Color, b.Support.Address.Address
	if !isColor(b.Color) {
		fields[brandColor] = defaultColor
	}
	application, _ := v.payload["application"].(map[string]any)
	organization, _ := v.payload["organization"].(map[string]any)
	for _, owner := range []map[string]any{application, organization} {
		own, _ := owner["branding"].(map[string]any)
		light, _ := own["logoUrl"].(string)
		dark, _ := own["darkLogoUrl"].(string)
		if light = httpsURL(light); light != "" {
			fields[appLogo], fields[appLogoDark] = light, httpsURL(dark)
		}
	}
	if name, _ := application["displayName"].(string); strings.TrimSpace(name) != "" {
		if name = neutralise(name); name != "" {
			fields[senderName] = name
		}
	}
	if fields[senderName] == "" {
		name, _ := application["name"].(string)
		fields[senderName] = neutralise(name)
	}
}
