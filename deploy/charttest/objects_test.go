package charttest_test

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gateway "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"
)

// externalSecret is what we write of an ExternalSecret. Its operator's own types
// come with all of its providers, the cloud's SDKs among them.
type externalSecret struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`

	Spec struct {
		RefreshInterval metav1.Duration `json:"refreshInterval"`
		SecretStoreRef  struct {
			Kind string `json:"kind"`
			Name string `json:"name"`
		} `json:"secretStoreRef"`
		Target struct {
			Name           string `json:"name"`
			CreationPolicy string `json:"creationPolicy"`
		} `json:"target"`
		Data []struct {
			SecretKey string `json:"secretKey"`
			RemoteRef struct {
				Key      string `json:"key"`
				Property string `json:"property"`
				Version  string `json:"version"`
			} `json:"remoteRef"`
		} `json:"data"`
	} `json:"spec"`
}

// kinds are all that the chart may hold, by how a manifest names them.
var kinds = map[string]func() metav1.Object{
	"v1/ConfigMap":                            func() metav1.Object { return new(corev1.ConfigMap) },
	"v1/Service":                              func() metav1.Object { return new(corev1.Service) },
	"v1/ServiceAccount":                       func() metav1.Object { return new(corev1.ServiceAccount) },
	"apps/v1/Deployment":                      func() metav1.Object { return new(appsv1.Deployment) },
	"batch/v1/Job":                            func() metav1.Object { return new(batchv1.Job) },
	"autoscaling/v2/HorizontalPodAutoscaler":  func() metav1.Object { return new(autoscalingv2.HorizontalPodAutoscaler) },
	"policy/v1/PodDisruptionBudget":           func() metav1.Object { return new(policyv1.PodDisruptionBudget) },
	"networking.k8s.io/v1/NetworkPolicy":      func() metav1.Object { return new(networkingv1.NetworkPolicy) },
	"networking.k8s.io/v1/Ingress":            func() metav1.Object { return new(networkingv1.Ingress) },
	"gateway.networking.k8s.io/v1/HTTPRoute":  func() metav1.Object { return new(gateway.HTTPRoute) },
	"monitoring.coreos.com/v1/ServiceMonitor": func() metav1.Object { return new(monitoring.ServiceMonitor) },
	"monitoring.coreos.com/v1/PrometheusRule": func() metav1.Object { return new(monitoring.PrometheusRule) },
	"external-secrets.io/v1/ExternalSecret":   func() metav1.Object { return new(externalSecret) },
}

// release is all objects of one rendering.
type release []metav1.Object

// decode reads manifests strictly: a field that its kind does not have is a mistake,
// which Kubernetes would pass over in silence.
func decode(t *testing.T, manifests []manifest) release {
	t.Helper()
	var all release
	for _, m := range manifests {
		var kind metav1.TypeMeta
		if err := yaml.Unmarshal([]byte(m.text), &kind); err != nil {
			t.Fatalf("%s: %v\n%s", m.template, err, m.text)
		}
		blank, ok := kinds[kind.APIVersion+"/"+kind.Kind]
		if !ok {
			t.Fatalf("%s has a %s/%s, of which the tests know nothing", m.template, kind.APIVersion, kind.Kind)
		}
		o := blank()
		if err := yaml.UnmarshalStrict([]byte(m.text), o); err != nil {
			t.Errorf("%s: %v\n%s", m.template, err, m.text)
		}
		all = append(all, o)
	}
	return all
}

// rendered is the release of a values file, and of what is put over it.
func rendered(t *testing.T, file string, over ...string) release {
	t.Helper()
	return decode(t, mustRender(t, file, over...))
}

// only is the one object of its kind, by name where there are several.
func only[T metav1.Object](t *testing.T, r release, name string) T {
	t.Helper()
	found := every[T](r)
	found = slices.DeleteFunc(found, func(o T) bool { return o.GetName() != name })
	if len(found) != 1 {
		t.Fatalf("there are %d objects %q of this kind", len(found), name)
	}
	return found[0]
}

func every[T metav1.Object](r release) []T {
	var found []T
	for _, o := range r {
		if o, ok := o.(T); ok {
			found = append(found, o)
		}
	}
	return found
}

func TestEveryObjectIsAsItsKindIs(t *testing.T) {
	seen := map[string]bool{}
	for _, file := range valuesFiles(t) {
		manifests := mustRender(t, file)
		names := map[string]bool{}
		for i, o := range decode(t, manifests) {
			m := manifests[i]
			if strings.Contains(m.text, "<no value>") {
				t.Errorf("%s: %s has a value that is not there:\n%s", file, m.template, m.text)
			}
			var kind metav1.TypeMeta
			if err := yaml.Unmarshal([]byte(m.text), &kind); err != nil {
				t.Fatal(err)
			}
			seen[kind.APIVersion+"/"+kind.Kind] = true
			id := kind.Kind + "/" + o.GetName()
			if o.GetName() == "" || len(o.GetName()) > 63 || names[id] {
				t.Errorf("%s: %s has no good name, or another's: %q", file, m.template, id)
			}
			names[id] = true
			if o.GetNamespace() != "" {
				t.Errorf("%s: %s says where it goes, which is the release's to say", file, id)
			}
			for _, label := range []string{"app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/managed-by", "helm.sh/chart"} {
				if o.GetLabels()[label] == "" {
					t.Errorf("%s: %s has no label %s", file, id, label)
				}
			}
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		if !seen[kind] {
			t.Errorf("no values file of ci has a %s, so nothing is known of ours", kind)
		}
	}
}

// TestNumbersArriveAsTheyAre, though Helm reads them as JSON's.
func TestNumbersArriveAsTheyAre(t *testing.T) {
	text := only[*corev1.ConfigMap](t, rendered(t, "ci/full-values.yaml"), service).Data["tokensvc.yaml"]
	for _, want := range []string{"in_flight: 1000000\n", "at_least: 9007199254740991\n", `connection_id: "1234567890123456789"`} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is not in the configuration:\n%s", want, text)
		}
	}
}

// TestAnUnknownFieldIsAMistake holds the tests themselves to what they are for.
func TestAnUnknownFieldIsAMistake(t *testing.T) {
	for _, m := range mustRender(t, "ci/full-values.yaml") {
		var kind metav1.TypeMeta
		if err := yaml.Unmarshal([]byte(m.text), &kind); err != nil {
			t.Fatal(err)
		}
		spoilt := append(bytes.TrimSpace([]byte(m.text)), "\nspecs: {}\n"...)
		if err := yaml.UnmarshalStrict(spoilt, kinds[kind.APIVersion+"/"+kind.Kind]()); err == nil {
			t.Errorf("a %s with another field passes", kind.Kind)
		}
	}
}
