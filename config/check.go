package config

import (
	"fmt"
	"net"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"logto-email-relay/providers"
	"logto-email-relay/relay"
	"logto-email-relay/settings"
	"logto-email-relay/templates"
)

// check applies every rule to a configuration that was laid over its defaults.
func (d *decoder) check(c *Config) {
	d.checkRules(c)
	d.checkStruct(reflect.ValueOf(c).Elem(), "")
	d.checkListeners(c)
	d.checkProviders(c)
	d.checkRoutes(c)
	d.checkSenders(c)
	if len(c.Events.Send) > 0 && c.Deliveries.Database.Reveal() == "" {
		d.complain("events.send", `events are sent from the record of deliveries; set deliveries.database, such as "deliveries.db"`)
	}
}

// complain reports a broken rule, unless a problem with the value itself was
// reported, which the rule would only echo.
func (d *decoder) complain(path, text string) {
	for reported := range d.reported {
		if path == reported || strings.HasPrefix(path, reported+".") || strings.HasPrefix(path, reported+"[") ||
			strings.HasPrefix(reported, path+"[") {
			return
		}
	}
	for _, secret := range d.secrets {
		const telling = 8
		if len(secret) >= telling {
			text = strings.ReplaceAll(text, secret, "…")
		}
	}
	const longest = 300
	d.problems = append(d.problems, Problem{Position: d.locate(path).in(d.file), Key: path, Text: settings.Printable(text, longest)})
}

// locate returns where a key's value stands; for a key that is not in the file
// where the object stands that it belongs to.
func (d *decoder) locate(path string) place {
	if at, written := d.values[path]; written {
		return at.value
	}
	for path != "" {
		path = parent(path)
		if at, written := d.values[path]; written {
			return at.key
		}
	}
	return place{1, 1}
}

// parent returns the path of the object or list that a path is in.
func parent(path string) string { return path[:max(0, strings.LastIndexAny(path, ".["))] }

// checkStruct calls Check on every struct of the configuration.
func (d *decoder) checkStruct(v reflect.Value, path string) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			d.checkStruct(v.Elem(), path)
		}
	case reflect.Slice:
		for i := range v.Len() {
			d.checkStruct(v.Index(i), fmt.Sprintf("%s[%d]", path, i))
		}
	case reflect.Struct:
		if checker, checks := v.Addr().Interface().(settings.Checker); checks {
			for _, problem := range checker.Check() {
				key := path
				if problem.Key != "" {
					key = join(path, problem.Key)
				}
				if problem.Warning {
					d.notice(d.locate(key), key, problem.Text)
				} else {
					d.complain(key, problem.Text)
				}
			}
		}
		for _, f := range fieldsOf(v.Type()) {
			d.checkStruct(v.FieldByIndex(f.index), join(path, f.key))
		}
	}
}

// checkListeners wants a port for each of the two.
func (d *decoder) checkListeners(c *Config) {
	host, port, _ := net.SplitHostPort(c.Server.Address)
	adminHost, adminPort, err := net.SplitHostPort(c.Admin.Address)
	if err == nil && port == adminPort && port != "0" && (host == adminHost || isEverywhere(host) || isEverywhere(adminHost)) {
		d.complain("admin.address", "this is the port of server.address; write another one, such as \"127.0.0.1:9090\"")
	}
}

func isEverywhere(host string) bool { return host == "" || net.ParseIP(host).IsUnspecified() }

// checkProviders wants at least one provider, and names that tell them apart.
func (d *decoder) checkProviders(c *Config) {
	if len(c.Providers) == 0 {
		d.complain("providers", `add at least one provider, such as {"type": "smtp", "host": "smtp.example.com"}`)
	}
	for i, p := range c.Providers {
		if takes, ok := p.(providers.EventSettings); ok && takes.TakesEvents() && c.Deliveries.Database.Reveal() == "" {
			key := fmt.Sprintf("providers[%d]", i)
			d.notice(d.locate(key), key, `events are not taken, because nothing is recorded; set deliveries.database, such as "deliveries.db"`)
		}
		if reads, ok := p.(providers.BounceSettings); ok && reads.ReadsBounces() && c.Deliveries.Database.Reveal() == "" {
			key := fmt.Sprintf("providers[%d].bounces", i)
			d.notice(d.locate(key), key, `bounces are not read, because nothing is recorded; set deliveries.database, such as "deliveries.db"`)
		}
	}
	for i, name := range d.names {
		earlier := slices.Index(d.names, name)
		if earlier == i || c.Providers[i] == nil || c.Providers[earlier] == nil {
			continue
		}
		path := fmt.Sprintf("providers[%d]", i)
		if _, named := d.values[path+".name"]; named {
			path += ".name"
		}
		d.complain(path, fmt.Sprintf(`providers[%d] has the same name; give each provider a "name" of its own`, earlier))
	}
}

// checkRoutes wants routes to name message types, providers and tenants that there
// are, and every route to be reached.
func (d *decoder) checkRoutes(c *Config) {
	for i, route := range c.Routes {
		if i+1 < len(c.Routes) && matchesAll(route) && !d.isWrongBelow(fmt.Sprintf("routes[%d].", i)) {
			d.complain(fmt.Sprintf("routes[%d]", i), "this takes every mail, so that no route below it is ever used; "+
				"put it last, or add a condition such as domains")
		}
		for j, name := range route.Types {
			if name != "" && !slices.Contains(templates.Types(), name) {
				d.complain(fmt.Sprintf("routes[%d].types[%d]", i, j), "Logto has no message type of this name"+hint(name, templates.Types()))
			}
		}
		for j, group := range route.Providers {
			for _, share := range group {
				if slices.Contains(d.names, share.Name) {
					continue
				}
				which := "this name"
				if len(group) > 1 {
					which = "the name " + strconv.Quote(share.Name)
				}
				d.complain(fmt.Sprintf("routes[%d].providers[%d]", i, j), "no provider has "+which+hint(share.Name, d.names))
			}
		}
		tenants := c.Server.Tenants()
		for j, name := range route.Tenants {
			if name != "" && !slices.Contains(tenants, name) && !d.isWrongBelow("server.authorization") {
				d.complain(fmt.Sprintf("routes[%d].tenants[%d]", i, j), "no entry of server.authorization has this tenant"+hint(name, tenants))
			}
		}
	}
}

// isWrongBelow tells whether a problem was reported for a key that begins so: the key
// itself or anything in its value.
func (d *decoder) isWrongBelow(path string) bool {
	for reported := range d.reported {
		if strings.HasPrefix(reported, path) {
			return true
		}
	}
	return false
}

// checkSenders wants somebody for every mail to come from: the route's sender,
// else the provider's own, else the common one.
func (d *decoder) checkSenders(c *Config) {
	if !c.Sender.From.IsZero() || d.reported["sender"] || d.reported["sender.from"] {
		return
	}
	for i, provider := range c.Providers {
		if provider != nil && provider.Sender().From.IsZero() && provider.Shared().Type != inboxType &&
			sendsWithoutRouteSender(c.Routes, provider.Shared().Name) {
			d.complain(fmt.Sprintf("providers[%d]", i),
				`mails through this provider have no sender; set sender.from, such as "Acme <no-reply@acme.example>"`)
		}
	}
}

// sendsWithoutRouteSender tells whether a provider sends mails whose route has no
// sender, or that no route matches.
func sendsWithoutRouteSender(routes []relay.Route, provider string) bool {
	for _, route := range routes {
		if route.Uses(provider) && (route.Sender == nil || route.Sender.From.IsZero()) {
			return true
		}
		if matchesAll(route) {
			return false
		}
	}
	return true
}

func matchesAll(r relay.Route) bool {
	return max(len(r.Tenants), len(r.Domains), len(r.Types), len(r.Applications), len(r.Organizations), len(r.Locales)) == 0
}
