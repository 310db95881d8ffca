package relay_test

import (
	"reflect"
	"strings"
	"testing"

	"logto-email-relay/relay"
)

func TestGroup(t *testing.T) {
	type object = map[string]any
	for _, test := range []struct {
		value any
		want  relay.Group // nil: refused
		says  string
	}{
		{"a", relay.Group{{Name: "a", Weight: 1}}, ""},
		{[]any{"a", object{"name": "b"}}, relay.Group{{Name: "a", Weight: 1}, {Name: "b", Weight: 1}}, ""},
		{[]any{object{"name": "a", "weight": int64(1)}, object{"name": "b", "weight": int64(10_000)}}, relay.Group{{Name: "a", Weight: 1}, {Name: "b", Weight: 10_000}}, ""},
		{[]any{object{"name": "a", "weight": int64(0)}}, nil, "from 1 to 10000"},
		{[]any{object{"name": "a", "weight": int64(10_001)}}, nil, "from 1 to 10000"},
		{[]any{object{"name": "a", "weight": 1.5}}, nil, "from 1 to 10000"},
		{[]any{object{"name": "a", "weigth": int64(3)}}, nil, "as a name, or as"},
		{[]any{object{"name": "a", "weight": int64(3), "more": 1}}, nil, "as a name, or as"},
		{[]any{object{"weight": int64(3)}}, nil, "write a provider's name"},
		{[]any{"a", []any{"b"}}, nil, "write a provider's name"},
		{[]any{"a", ""}, nil, "write a provider's name"},
		{1, nil, "write a provider's name"},
		{[]any{"a", "b", "a"}, nil, `"a" is in this group twice`},
		{[]any{}, nil, "at least one provider"},
		{object{"name": "a", "weight": int64(3)}, nil, "in a group only"},
	} {
		var group relay.Group
		err := group.UnmarshalSetting(test.value)
		if (err == nil) != (test.want != nil) || err == nil && !reflect.DeepEqual(group, test.want) || err != nil && !strings.Contains(err.Error(), test.says) {
			t.Errorf("%v: %v, %v", test.value, group, err)
		}
	}
}

func TestTheProvidersOfARoute(t *testing.T) {
	for _, test := range []struct {
		groups []relay.Group
		want   string
	}{
		{nil, "abc"},
		{inOrder("a", "c"), "ac"},
		{[]relay.Group{{{Name: "a"}, {Name: "b"}}, {{Name: "c"}}}, "abc"},
	} {
		route, used := relay.Route{Providers: test.groups}, ""
		for _, name := range []string{"a", "b", "c"} {
			if route.Uses(name) {
				used += name
			}
		}
		if used != test.want {
			t.Errorf("%v uses %s", test.groups, used)
		}
	}
}
