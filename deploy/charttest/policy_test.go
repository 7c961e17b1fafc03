package charttest_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	gateway "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"
)

const service = "phones-tokensvc" // the name of most things in a release named phones

// TestPodsMayDoLittle is about every pod that there can be.
func TestPodsMayDoLittle(t *testing.T) {
	for _, file := range valuesFiles(t) {
		for name, pod := range pods(rendered(t, file)) {
			s, c := pod.SecurityContext, pod.Containers[0]
			k := c.SecurityContext
			for what, ok := range map[string]bool{
				"runs as nobody in particular":    *s.RunAsNonRoot && *s.RunAsUser == 65532 && *s.RunAsGroup == 65532,
				"can read its secrets":            *s.FSGroup == 65532 && *volume(t, pod, "secrets").Secret.DefaultMode == 0o440,
				"has the usual system calls only": s.SeccompProfile.Type == corev1.SeccompProfileTypeRuntimeDefault,
				"cannot write where it came from": *k.ReadOnlyRootFilesystem,
				"cannot become more":              !*k.AllowPrivilegeEscalation && k.Privileged == nil,
				"has no capabilities":             len(k.Capabilities.Drop) == 1 && k.Capabilities.Drop[0] == "ALL" && len(k.Capabilities.Add) == 0,
				"cannot talk to the cluster":      !*pod.AutomountServiceAccountToken,
				"gets no Services' variables":     !*pod.EnableServiceLinks,
				"is not on its node's network":    !pod.HostNetwork && !pod.HostPID && !pod.HostIPC,
				"is one container":                len(pod.Containers) == 1 && len(pod.InitContainers) == 0,
				"has bounded memory":              !c.Resources.Limits.Memory().IsZero() && !c.Resources.Requests.Memory().IsZero(),
				"names its image's version":       strings.Contains(c.Image, "@sha256:") || !strings.HasSuffix(c.Image, ":latest") && strings.Contains(c.Image, ":"),
			} {
				if !ok {
					t.Errorf("%s: %s: no longer true that it %s", file, name, what)
				}
			}
		}
	}
}

// TestSecretsAreFiles: a variable is inherited, printed by debuggers and never changes.
func TestSecretsAreFiles(t *testing.T) {
	for _, file := range valuesFiles(t) {
		r := rendered(t, file)
		for name, pod := range pods(r) {
			for _, v := range pod.Containers[0].Env {
				if v.ValueFrom != nil || v.Name != "TOKENSVC_DIRECTORY" && v.Name != "TOKENSVC_DIRECTORY_PASSWORD_FILE" {
					t.Errorf("%s: %s has the variable %s", file, name, v.Name)
				}
			}
			if len(pod.Containers[0].EnvFrom) > 0 {
				t.Errorf("%s: %s has variables of elsewhere", file, name)
			}
		}
		if n := len(every[*corev1.Secret](r)); n > 0 {
			t.Errorf("%s: %d Secrets come out of values, which Helm keeps", file, n)
		}
	}
}

// TestAPodHasTimeToEnd computes what Kubernetes must grant from what the service
// is told and the pod does before it.
func TestAPodHasTimeToEnd(t *testing.T) {
	for _, file := range valuesFiles(t) {
		for _, over := range []string{"{}", "config: {limits: {drain_delay: 0s, drain_timeout: 300s}}", "preStopSeconds: 120", "preStopSeconds: 0"} {
			r := rendered(t, file, over)
			var config struct {
				Limits struct {
					DrainDelay   string `json:"drain_delay"`
					DrainTimeout string `json:"drain_timeout"`
				} `json:"limits"`
			}
			text := only[*corev1.ConfigMap](t, r, service).Data["tokensvc.yaml"]
			if err := yaml.Unmarshal([]byte(text), &config); err != nil {
				t.Fatal(err)
			}
			pod := pods(r)[service]
			takes := duration(t, config.Limits.DrainDelay) + duration(t, config.Limits.DrainTimeout)
			if l := pod.Containers[0].Lifecycle; l != nil {
				takes += time.Duration(l.PreStop.Sleep.Seconds) * time.Second
			}
			granted := time.Duration(*pod.TerminationGracePeriodSeconds) * time.Second
			if granted < takes+10*time.Second || granted > takes+30*time.Second {
				t.Errorf("%s with %s: the end takes %v and 10 s for the rest, and %v are granted", file, over, takes, granted)
			}
		}
	}
}

func duration(t *testing.T, text string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestADeploymentLosesNobody: new pods are ready before old ones go, traffic ends
// before a pod does, and a database that is away restarts nothing.
func TestADeploymentLosesNobody(t *testing.T) {
	d := only[*appsv1.Deployment](t, rendered(t, "ci/minimal-values.yaml"), service)
	if u := d.Spec.Strategy.RollingUpdate; u.MaxUnavailable.IntValue() != 0 || u.MaxSurge.IntValue() < 1 {
		t.Errorf("fewer pods serve during an update: %+v", u)
	}
	if *d.Spec.Replicas < 2 {
		t.Errorf("%d replicas are none too many", *d.Spec.Replicas)
	}
	c := d.Spec.Template.Spec.Containers[0]
	if c.Lifecycle.PreStop.Sleep.Seconds < 1 {
		t.Error("a pod ends before everybody can know")
	}
	for name, probe := range map[string]*corev1.Probe{"/readyz": c.ReadinessProbe, "/livez": c.LivenessProbe, "/livez at first": c.StartupProbe} {
		path, _, _ := strings.Cut(name, " ")
		if h := probe.HTTPGet; h.Path != path || h.Port.String() != "ops" || h.Scheme != corev1.URISchemeHTTP {
			t.Errorf("the probe of %s asks %+v", name, h)
		}
	}
	if c.StartupProbe.FailureThreshold*c.StartupProbe.PeriodSeconds < 60 {
		t.Error("a pod has less than a minute to start")
	}
	if n := len(d.Spec.Template.Spec.TopologySpreadConstraints); n != 2 {
		t.Errorf("pods are spread over %d kinds of places", n)
	}
}

// TestWhatLeadsWhere follows every selector and every port by its name.
func TestWhatLeadsWhere(t *testing.T) {
	for _, file := range valuesFiles(t) {
		r := rendered(t, file)
		d := only[*appsv1.Deployment](t, r, service)
		ports := map[string]int32{}
		for _, p := range d.Spec.Template.Spec.Containers[0].Ports {
			ports[p.Name] = p.ContainerPort
		}
		if ports["public"] != 8080 || ports["ops"] != 9090 {
			t.Errorf("%s: the container has ports %v", file, ports)
		}
		for _, s := range every[*corev1.Service](r) {
			leadsToServing(t, r, s.Name, &metav1.LabelSelector{MatchLabels: s.Spec.Selector})
			for _, p := range s.Spec.Ports {
				if _, ok := ports[p.TargetPort.String()]; !ok {
					t.Errorf("%s: Service %s leads to no port %s", file, s.Name, p.TargetPort.String())
				}
				want := map[string]string{service: "public", service + "-ops": "ops", service + "-proxy": "proxy"}[s.Name]
				if p.TargetPort.String() != want {
					t.Errorf("%s: Service %s leads to the port %s", file, s.Name, p.TargetPort.String())
				}
			}
		}
		leadsToServing(t, r, "Deployment", d.Spec.Selector)
		for _, b := range every[*policyv1.PodDisruptionBudget](r) {
			leadsToServing(t, r, "PodDisruptionBudget", b.Spec.Selector)
		}
		for _, n := range every[*networkingv1.NetworkPolicy](r) {
			if n.Name == service {
				leadsToServing(t, r, "NetworkPolicy", &n.Spec.PodSelector)
			}
		}
		for _, s := range every[*corev1.Service](r) { // a balancer's node may stand in a network that is trusted
			if s.Name != service && s.Spec.Type != corev1.ServiceTypeClusterIP {
				t.Errorf("%s: %s is reached from outside: %s", file, s.Name, s.Spec.Type)
			}
		}
		only[*corev1.Service](t, r, service+"-ops")
		if _, listens := ports["proxy"]; listens {
			only[*corev1.Service](t, r, service+"-proxy")
		}
	}
}

// leadsToServing complains unless a selector takes the service's pods and not the migrating job's.
func leadsToServing(t *testing.T, r release, who string, selector *metav1.LabelSelector) {
	t.Helper()
	s, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		t.Fatal(err)
	}
	if serving := only[*appsv1.Deployment](t, r, service).Spec.Template.Labels; !s.Matches(labels.Set(serving)) {
		t.Errorf("%s does not lead to who serves: %s", who, s)
	}
	for _, j := range every[*batchv1.Job](r) {
		if s.Matches(labels.Set(j.Spec.Template.Labels)) {
			t.Errorf("%s leads to the job that migrates: %s", who, s)
		}
	}
}

// TestOnlyThePublicListenerIsPublic: who is let in where.
func TestOnlyThePublicListenerIsPublic(t *testing.T) {
	r := rendered(t, "ci/full-values.yaml")
	for _, rule := range only[*networkingv1.Ingress](t, r, service).Spec.Rules {
		for _, p := range rule.HTTP.Paths {
			if b := p.Backend.Service; b.Name != service || b.Port.Name != "public" || p.Path != "/tokens" {
				t.Errorf("the Ingress leads %s to %+v", p.Path, b)
			}
		}
	}
	for _, rule := range only[*gateway.HTTPRoute](t, rendered(t, "ci/gateway-values.yaml"), service).Spec.Rules {
		for _, b := range rule.BackendRefs {
			if string(b.Name) != service || *b.Port != 80 {
				t.Errorf("the HTTPRoute leads to %+v", b.BackendObjectReference)
			}
		}
	}
	for file, want := range map[string]map[string]string{
		"ci/minimal-values.yaml": {"public": "everybody", "ops": "monitoring"},
		"ci/full-values.yaml":    {"public": "ingress-nginx", "ops": "monitoring"},
		"ci/proxy-values.yaml":   {"public": "everybody", "ops": "monitoring", "proxy": "oauth2-proxy"},
	} {
		if got := admitted(only[*networkingv1.NetworkPolicy](t, rendered(t, file), service)); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: let in are %v, want %v", file, got, want)
		}
	}
	closed := only[*networkingv1.NetworkPolicy](t, rendered(t, "ci/minimal-values.yaml", "networkPolicy: {opsFrom: []}"), service)
	if got := admitted(closed); got["ops"] != "" {
		t.Errorf("with no peer the ops listener is open to %s", got["ops"])
	}
}

// TestPodsReachNoMetadata: whoever makes a pod ask for an address of his choosing learns
// no cloud's credentials by it.
func TestPodsReachNoMetadata(t *testing.T) {
	for _, n := range every[*networkingv1.NetworkPolicy](rendered(t, "ci/full-values.yaml")) {
		for _, rule := range n.Spec.Egress {
			for _, p := range rule.Ports {
				if p.Port.IntValue() != 53 && len(rule.To) == 0 {
					t.Errorf("%s: port %s is reached anywhere", n.Name, p.Port.String())
				}
			}
			for _, to := range rule.To {
				if want := map[string]string{"0.0.0.0/0": "169.254.0.0/16", "::/0": "fd00:ec2::254/128"}[to.IPBlock.CIDR]; !slices.Contains(to.IPBlock.Except, want) {
					t.Errorf("%s: %s is reached, and %q with it", n.Name, to.IPBlock.CIDR, want)
				}
			}
		}
	}
}

// admitted says who may come to each port.
func admitted(n *networkingv1.NetworkPolicy) map[string]string {
	all := map[string]string{}
	for _, rule := range n.Spec.Ingress {
		who := "everybody"
		for _, peer := range rule.From {
			if peer.NamespaceSelector != nil {
				who = peer.NamespaceSelector.MatchLabels["kubernetes.io/metadata.name"]
			} else {
				who = peer.PodSelector.MatchLabels["app"]
			}
		}
		if len(rule.Ports) == 0 {
			all["any"] = who
		}
		for _, p := range rule.Ports {
			all[p.Port.String()] = who
		}
	}
	return all
}

// TestWhatReplacesPods: what is followed while the service runs replaces nobody, and
// what is read only at the start replaces all.
func TestWhatReplacesPods(t *testing.T) {
	const acme = "config: {issuers: [{name: acme, issuer: https://login.example.com, audience: softphone"
	template := func(over string) string {
		return only[*appsv1.Deployment](t, rendered(t, "ci/minimal-values.yaml", over), service).Spec.Template.Annotations["tokensvc/config-read-at-start"]
	}
	before := template(acme + ", require: {groups: [agents]}}]}")
	for _, row := range []struct {
		what, values string
		replaces     bool
	}{
		{"the same", acme + ", require: {groups: [agents]}}]}", false},
		{"another rule", acme + ", require: {groups: [leads]}}]}", false},
		{"no rule any more, said so", acme + ", require: {}}]}", false},
		{"a rule that is only watched", acme + ", require: {groups: [leads]}, mode: observe}]}", false},
		{"a rule that is gone, which is not followed", acme + "}]}", true},
		{"another audience", acme + "2, require: {groups: [agents]}}]}", true},
		{"another file", acme + ", require: {groups: [agents]}}]}\nfiles: {users.yaml: 'users: {}'}", false},
		{"another limit", acme + ", require: {groups: [agents]}}], limits: {in_flight: 7}}", true},
	} {
		if replaced := template(row.values) != before; replaced != row.replaces {
			t.Errorf("%s: pods are replaced: %v, want %v", row.what, replaced, row.replaces)
		}
	}
}

// TestTheJobBringsWhatItNeeds: it runs before the release's own objects are there.
func TestTheJobBringsWhatItNeeds(t *testing.T) {
	for file, want := range map[string]bool{"ci/minimal-values.yaml": false, "ci/gateway-values.yaml": false, "ci/proxy-values.yaml": true, "ci/full-values.yaml": true} {
		r := rendered(t, file)
		if migrates := len(every[*batchv1.Job](r)) == 1; migrates != want {
			t.Errorf("%s: a database is migrated: %v, want %v", file, migrates, want)
		}
	}
	r := rendered(t, "ci/full-values.yaml")
	j := only[*batchv1.Job](t, r, service+"-migrate")
	pod := j.Spec.Template.Spec
	config := only[*corev1.ConfigMap](t, r, volume(t, pod, "config").ConfigMap.Name)
	external := only[*externalSecret](t, r, volume(t, pod, "secrets").Secret.SecretName)
	network := only[*networkingv1.NetworkPolicy](t, r, j.Name)
	for name, o := range map[string]metav1.Object{"ConfigMap": config, "ExternalSecret": external, "NetworkPolicy": network, "Job": j} {
		if o.GetAnnotations()["helm.sh/hook"] != "pre-install,pre-upgrade" {
			t.Errorf("the %s is not there when the job runs", name)
		}
	}
	if config.Annotations["helm.sh/hook-weight"] != "-10" || external.Annotations["helm.sh/hook-weight"] != "-10" {
		t.Error("the job may come before what it needs")
	}
	serving := only[*networkingv1.NetworkPolicy](t, r, service)
	if !labels.SelectorFromSet(network.Spec.PodSelector.MatchLabels).Matches(labels.Set(j.Spec.Template.Labels)) ||
		len(network.Spec.Ingress) > 0 || !reflect.DeepEqual(network.Spec.Egress, serving.Spec.Egress) {
		t.Errorf("the job may reach something else than the service, or be reached: %+v", network.Spec)
	}
	if pod.ServiceAccountName != "" || pod.RestartPolicy != corev1.RestartPolicyNever || *j.Spec.ActiveDeadlineSeconds > 3600 {
		t.Error("the job needs an account that is not there yet, or has no end")
	}
	if ours := only[*corev1.ConfigMap](t, r, service); !reflect.DeepEqual(ours.Data, config.Data) {
		t.Error("the job reads another configuration than the service")
	}
}

func TestTheAutoscalerAloneCounts(t *testing.T) {
	r := rendered(t, "ci/full-values.yaml")
	d, h := only[*appsv1.Deployment](t, r, service), only[*autoscalingv2.HorizontalPodAutoscaler](t, r, service)
	if d.Spec.Replicas != nil {
		t.Error("an upgrade would undo what the autoscaler did")
	}
	if h.Spec.ScaleTargetRef.Name != d.Name || *h.Spec.MinReplicas != 4 || h.Spec.MaxReplicas != 20 {
		t.Errorf("the autoscaler counts something else: %+v", h.Spec)
	}
}

// TestThePrometheusOperatorGetsOurRules: the chart's copies are of deploy/prometheus.
func TestThePrometheusOperatorGetsOurRules(t *testing.T) {
	var groups []any
	for _, name := range []string{"rules.yaml", "alerts.yaml"} {
		ours := read(t, "../prometheus/"+name)
		if string(read(t, chart+"/files/"+name)) != string(ours) {
			t.Errorf("the chart's copy differs: cp deploy/prometheus/%s deploy/chart/files/", name)
		}
		var file struct{ Groups []any }
		if err := yaml.Unmarshal(ours, &file); err != nil || len(file.Groups) == 0 {
			t.Fatalf("%s has no groups: %v", name, err)
		}
		groups = append(groups, file.Groups...)
	}
	for _, m := range mustRender(t, "ci/full-values.yaml") {
		if m.template != "prometheusrule.yaml" {
			continue
		}
		var rule struct{ Spec struct{ Groups []any } }
		if err := yaml.Unmarshal([]byte(m.text), &rule); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(rule.Spec.Groups, groups) {
			t.Error("rendered rules are not those of the files")
		}
		return
	}
	t.Error("there is no PrometheusRule")
}

// TestPrometheusFindsTheOpsServiceOnly: the public one answers no scrape.
func TestPrometheusFindsTheOpsServiceOnly(t *testing.T) {
	r := rendered(t, "ci/full-values.yaml")
	m := only[*monitoring.ServiceMonitor](t, r, service)
	s, err := metav1.LabelSelectorAsSelector(&m.Spec.Selector)
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range every[*corev1.Service](r) {
		if found := s.Matches(labels.Set(one.Labels)); found != (one.Name == service+"-ops") {
			t.Errorf("Service %s is scraped: %v", one.Name, found)
		}
	}
	if e := m.Spec.Endpoints[0]; e.Port != "ops" || e.Path != "/metrics" {
		t.Errorf("%s is scraped at port %s", e.Path, e.Port)
	}
}

// TestWithTLS: whoever asks the pods asks in TLS too.
func TestWithTLS(t *testing.T) {
	r := rendered(t, "ci/tls-values.yaml")
	c := pods(r)[service].Containers[0]
	for _, probe := range []*corev1.Probe{c.StartupProbe, c.ReadinessProbe, c.LivenessProbe} {
		if probe.HTTPGet.Scheme != corev1.URISchemeHTTPS {
			t.Errorf("%s is asked for in the clear", probe.HTTPGet.Path)
		}
	}
	e := only[*monitoring.ServiceMonitor](t, r, service).Spec.Endpoints[0]
	if *e.Scheme != "https" || e.TLSConfig == nil || *e.TLSConfig.ServerName != "phone.example.com" {
		t.Errorf("metrics are asked for with %+v", e)
	}
	if p := only[*corev1.Service](t, r, service).Spec.Ports[0]; *p.AppProtocol != "https" {
		t.Errorf("whoever leads to the service is told of %s", *p.AppProtocol)
	}
}

// TestPrometheusKnowsThePods: unless it is told otherwise, it scrapes nobody whose
// certificate it does not know, by the name of the Service in front of the pods.
func TestPrometheusKnowsThePods(t *testing.T) {
	const withTLS = "config: {ops_tls: {cert_file: /run/secrets/tokensvc/tls.crt, key_file: /run/secrets/tokensvc/tls.key}}"
	for _, row := range []struct {
		given string
		want  monitoring.SafeTLSConfig
	}{
		{"{}", monitoring.SafeTLSConfig{ServerName: new("phones-tokensvc-ops.phones.svc")}},
		{"{ca: {configMap: {name: authorities, key: ca.crt}}}", monitoring.SafeTLSConfig{
			ServerName: new("phones-tokensvc-ops.phones.svc"),
			CA: monitoring.SecretOrConfigMap{ConfigMap: &corev1.ConfigMapKeySelector{
				LocalObjectReference: corev1.LocalObjectReference{Name: "authorities"}, Key: "ca.crt",
			}},
		}},
		{"{serverName: phone.example.com}", monitoring.SafeTLSConfig{ServerName: new("phone.example.com")}},
		{"{insecureSkipVerify: true, serverName: phone.example.com}", monitoring.SafeTLSConfig{
			ServerName: new("phone.example.com"), InsecureSkipVerify: new(true),
		}},
	} {
		r := rendered(t, "ci/full-values.yaml", withTLS, "serviceMonitor: {tlsConfig: "+row.given+"}")
		e := only[*monitoring.ServiceMonitor](t, r, service).Spec.Endpoints[0]
		if *e.Scheme != "https" || !reflect.DeepEqual(e.TLSConfig.SafeTLSConfig, row.want) {
			t.Errorf("with tlsConfig %s, metrics are asked for with %+v", row.given, e.TLSConfig.SafeTLSConfig)
		}
	}
}

// TestNamesFit has the longest name that Helm allows a release.
func TestNamesFit(t *testing.T) {
	manifests, err := renderAs(t, strings.Repeat("a", 53), "ci/full-values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range decode(t, manifests) {
		if n := o.GetName(); len(n) > 63 || strings.HasSuffix(n, "-") {
			t.Errorf("no name for an object: %s", n)
		}
	}
}
