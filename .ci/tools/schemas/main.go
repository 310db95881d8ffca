// Command schemas writes the JSON Schemas of the kinds of Kubernetes that the chart
// uses, from the API description in Kubernetes' own source: schemas VERSION DIRECTORY
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// kinds are the names that kubeconform looks for, and those of the description.
var kinds = map[string]string{
	"configmap-v1":                           "io.k8s.api.core.v1.ConfigMap",
	"service-v1":                             "io.k8s.api.core.v1.Service",
	"deployment-apps-v1":                     "io.k8s.api.apps.v1.Deployment",
	"poddisruptionbudget-policy-v1":          "io.k8s.api.policy.v1.PodDisruptionBudget",
	"horizontalpodautoscaler-autoscaling-v2": "io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler",
}

func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(version, directory string) error {
	out, err := exec.Command("go", "mod", "download", "-json", "k8s.io/kubernetes@"+version).Output()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(out, &module); err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(module.Dir, "api", "openapi-spec", "swagger.json"))
	if err != nil {
		return err
	}
	var description struct{ Definitions map[string]map[string]any }
	if err := json.Unmarshal(text, &description); err != nil {
		return err
	}
	for file, name := range kinds {
		text, err := json.Marshal(strict(description.Definitions, description.Definitions[name]))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(directory, file+".json"), append(text, '\n'), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// strict puts definitions in the place of references, without the words, and allows
// no other keys.
func strict(definitions map[string]map[string]any, value any) any {
	switch value := value.(type) {
	case []any:
		list := make([]any, len(value))
		for i, item := range value {
			list[i] = strict(definitions, item)
		}
		return list
	case map[string]any:
		if reference, isReference := value["$ref"].(string); isReference {
			return strict(definitions, definitions[strings.TrimPrefix(reference, "#/definitions/")])
		}
		if value["format"] == "int-or-string" {
			return map[string]any{"type": []any{"string", "integer"}}
		}
		clean := make(map[string]any)
		for key, item := range value {
			if _, isText := item.(string); key == "description" && isText || strings.HasPrefix(key, "x-kubernetes") {
				continue
			}
			clean[key] = strict(definitions, item)
		}
		if _, isObject := clean["properties"].(map[string]any); isObject && clean["type"] == "object" {
			clean["additionalProperties"] = false
		}
		return clean
	}
	return value
}
