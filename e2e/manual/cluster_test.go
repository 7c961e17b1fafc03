package manual_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// object is what counts here of what a chart makes.
type object struct {
	Kind     string
	Metadata struct{ Name string }
	Data     map[string]string // of a ConfigMap
	Spec     struct {
		Template struct {
			Spec struct {
				Containers []struct {
					Args         []string
					Env          []struct{ Name, Value string }
					VolumeMounts []struct {
						Name      string
						MountPath string `yaml:"mountPath"`
					} `yaml:"volumeMounts"`
				}
				Volumes []struct {
					Name      string
					ConfigMap struct{ Name string } `yaml:"configMap"`
					Secret    struct {
						SecretName string `yaml:"secretName"`
					}
				}
			}
		}
	}
}

// helm does `helm upgrade --install NAME CHART -n NAMESPACE -f VALUES --wait`: it
// runs the migration and then one pod of the Deployment.
func helm(s surroundings, args []string) error {
	if len(args) != 9 || !slices.Equal([]string{args[0], args[1], args[4], args[6], args[8]}, []string{"upgrade", "--install", "-n", "-f", "--wait"}) {
		return fmt.Errorf("does not know %q", args)
	}
	cmd := exec.CommandContext(context.Background(), s.Template, args[2], args[3], args[7])
	cmd.Stderr = os.Stderr
	rendered, err := cmd.Output()
	if err != nil {
		return err
	}
	objects, err := s.apply(rendered)
	if err != nil {
		return err
	}
	for _, kind := range []string{"Job", "Deployment"} {
		i := slices.IndexFunc(objects, func(o object) bool { return o.Kind == kind })
		if i < 0 {
			return errors.New("the chart makes no " + kind)
		}
		one, err := s.pod(objects[i])
		if err != nil {
			return err
		}
		start := s.up
		if kind == "Job" {
			start = s.toEnd
		}
		if err := start(one); err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
	}
	return nil
}

// apply reads what a chart makes, and writes its ConfigMaps where pods find them.
func (s surroundings) apply(rendered []byte) (objects []object, err error) {
	here := strings.NewReplacer(append([]string{"/run/secrets/tokensvc", s.secret("tokensvc")}, s.Names...)...)
	for decoder := yaml.NewDecoder(bytes.NewReader(rendered)); ; {
		var o object
		if err := decoder.Decode(&o); errors.Is(err, io.EOF) {
			return objects, nil
		} else if err != nil {
			return nil, err
		}
		objects = append(objects, o)
		for name, text := range o.Data {
			if err := keep(filepath.Join(s.configMap(o.Metadata.Name), name), here.Replace(text)); err != nil {
				return nil, err
			}
		}
	}
}

func (s surroundings) configMap(name string) string {
	return filepath.Join(s.Folder, "configmaps", name)
}
func (s surroundings) secret(name string) string { return filepath.Join(s.Folder, "secrets", name) }

func keep(path, text string) error {
	return errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600))
}

// pod makes a container of the first one of a Job's or Deployment's pod.
func (s surroundings) pod(o object) (c container, err error) {
	pod := o.Spec.Template.Spec
	if len(pod.Containers) != 1 {
		return c, fmt.Errorf("%s: there are %d containers", o.Kind, len(pod.Containers))
	}
	c = container{Args: pod.Containers[0].Args, Env: map[string]string{}}
	for _, v := range pod.Containers[0].Env {
		c.Env[v.Name] = v.Value
	}
	for _, mount := range pod.Containers[0].VolumeMounts {
		for _, v := range pod.Volumes {
			switch {
			case v.Name != mount.Name:
			case v.ConfigMap.Name != "":
				c.Mounts = append(c.Mounts, mount.MountPath, s.configMap(v.ConfigMap.Name))
			case v.Secret.SecretName != "":
				if _, err := os.Stat(s.secret(v.Secret.SecretName)); err != nil {
					return c, fmt.Errorf("there is no Secret %s", v.Secret.SecretName)
				}
				c.Mounts = append(c.Mounts, mount.MountPath, s.secret(v.Secret.SecretName))
			}
		}
	}
	return c, nil
}

// kubectl does, with `-n NAMESPACE` before or not, `create namespace`,
// `create secret generic NAME --from-file=KEY=PATH …`, `exec deploy/NAME -- …` and
// `get pods`.
func kubectl(s surroundings, args []string) error {
	if len(args) > 2 && args[0] == "-n" {
		args = args[2:]
	}
	switch {
	case len(args) == 3 && slices.Equal(args[:2], []string{"create", "namespace"}):
		fmt.Fprintf(os.Stdout, "namespace/%s created\n", args[2])
		return nil
	case len(args) > 4 && slices.Equal(args[:3], []string{"create", "secret", "generic"}):
		return s.makeSecret(args[3], args[4:])
	case len(args) > 3 && args[0] == "exec" && strings.HasPrefix(args[1], "deploy/") && args[2] == "--":
		return s.exec(args[3:])
	}
	return fmt.Errorf("does not know %q", args)
}

func (s surroundings) makeSecret(name string, flags []string) error {
	for _, flag := range flags {
		from, ok := strings.CutPrefix(flag, "--from-file=")
		key, path, named := strings.Cut(from, "=")
		if !ok || !named {
			return fmt.Errorf("does not know %q", flag)
		}
		text, err := os.ReadFile(path)
		if err := errors.Join(err, keep(filepath.Join(s.secret(name), key), string(text))); err != nil {
			return err
		}
	}
	fmt.Fprintf(os.Stdout, "secret/%s created\n", name)
	return nil
}
