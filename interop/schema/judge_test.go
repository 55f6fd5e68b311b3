package schema

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	crdvalidation "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"
)

// A judge is an API server's opinion of the objects of one kind and version.
type judge struct {
	structural *structuralschema.Structural
	schema     validation.SchemaValidator
	rules      *cel.Validator
}

// judges are those of every CRD, by apiVersion and kind.
func judges(t *testing.T) map[string]*judge {
	t.Helper()
	all := map[string]*judge{}
	for _, crd := range crds(t) {
		for _, version := range crd.Spec.Versions {
			var internal apiextensions.JSONSchemaProps
			if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(
				version.Schema.OpenAPIV3Schema, &internal, nil); err != nil {
				t.Fatal(err)
			}
			structural, err := structuralschema.NewStructural(&internal)
			if err != nil {
				t.Fatal(err)
			}
			v, _, err := validation.NewSchemaValidator(&internal)
			if err != nil {
				t.Fatal(err)
			}
			all[crd.Spec.Group+"/"+version.Name+" "+crd.Spec.Names.Kind] = &judge{
				structural: structural, schema: v, rules: cel.NewValidator(structural, true, celconfig.PerCallLimit),
			}
		}
	}
	return all
}

// crds are the CRDs of the Gateway API's experimental channel and of config/crd.
func crds(t *testing.T) (list []*apiextensionsv1.CustomResourceDefinition) {
	t.Helper()
	var files []string
	for _, dir := range []string{filepath.Join(moduleDir(t, "sigs.k8s.io/gateway-api"), "config", "crd", "experimental"), "../../config/crd"} {
		in, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
		if err != nil || len(in) == 0 {
			t.Fatal(dir, err)
		}
		files = append(files, in...)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		crd := new(apiextensionsv1.CustomResourceDefinition)
		if err := yaml.Unmarshal(text, crd); err != nil {
			t.Fatal(file, err)
		}
		if crd.Kind == "CustomResourceDefinition" {
			list = append(list, crd)
		}
	}
	return list
}

func moduleDir(t *testing.T, module string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// TestCRDs has an API server's own rules judge config/crd: structure, defaults, and the cost of each rule.
func TestCRDs(t *testing.T) {
	for _, crd := range crds(t) {
		if strings.HasPrefix(crd.Spec.Group, "gateway.networking.") {
			continue
		}
		apiextensionsv1.SetDefaults_CustomResourceDefinition(crd)
		apiextensionsv1.SetDefaults_CustomResourceDefinitionSpec(&crd.Spec)
		crd.Status.StoredVersions = []string{crd.Spec.Versions[0].Name}
		var internal apiextensions.CustomResourceDefinition
		if err := apiextensionsv1.Convert_v1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(crd, &internal, nil); err != nil {
			t.Fatal(err)
		}
		for _, err := range crdvalidation.ValidateCustomResourceDefinition(context.Background(), &internal) {
			t.Errorf("%s: %v", crd.Name, err)
		}
	}
}

// judge fills in the defaults of an object and says what is wrong with it.
func (j *judge) judge(object map[string]any) error {
	var errs []error
	unknown := pruning.PruneWithOptions(object, j.structural, true, structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})
	for _, path := range unknown {
		errs = append(errs, fmt.Errorf("%s: unknown", path))
	}
	defaulting.PruneNonNullableNullsWithoutDefaults(object, j.structural)
	defaulting.Default(object, j.structural)
	for _, err := range validation.ValidateCustomResource(nil, object, j.schema) {
		errs = append(errs, err)
	}
	for _, err := range listtype.ValidateListSetsAndMaps(nil, j.structural, object) {
		errs = append(errs, err)
	}
	if len(errs) == 0 && j.rules != nil {
		found, _ := j.rules.Validate(context.Background(), nil, j.structural, object, nil, celconfig.RuntimeCELCostBudget)
		for _, err := range found {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
