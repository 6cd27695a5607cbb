package distribution

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/weirnet/weir/internal/securefile"
)

// kubernetesObject has the parts of packaging/kubernetes/weir.yaml that matter here.
type kubernetesObject struct {
	Kind string            `yaml:"kind"`
	Data map[string]string `yaml:"data"`
	Spec struct {
		Template struct {
			Spec struct {
				HostNetwork bool `yaml:"hostNetwork"`
				Containers  []struct {
					SecurityContext struct {
						Capabilities struct{ Add []string }
					} `yaml:"securityContext"`
					VolumeMounts []struct {
						Name      string
						MountPath string `yaml:"mountPath"`
					} `yaml:"volumeMounts"`
				}
				Volumes []struct {
					Name      string
					Projected struct {
						DefaultMode uint32 `yaml:"defaultMode"`
					}
					HostPath struct{ Path string } `yaml:"hostPath"`
				}
			}
		}
	}
}

// TestKubernetes reads the manifest: its configuration and policy are accepted, and
// the pod has what Weir needs and no more.
func TestKubernetes(t *testing.T) {
	file, err := os.Open(filepath.Join(root(t), "packaging", "kubernetes", "weir.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	objects := map[string]kubernetesObject{}
	for decoder := yaml.NewDecoder(file); ; {
		var object kubernetesObject
		if err := decoder.Decode(&object); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		objects[object.Kind] = object
	}
	data := objects["ConfigMap"].Data
	loads(t, data["policy.yaml"])

	pod := objects["DaemonSet"].Spec.Template.Spec
	if !pod.HostNetwork || len(pod.Containers) != 1 {
		t.Fatalf("host network %t, %d containers", pod.HostNetwork, len(pod.Containers))
	}
	unit, err := os.ReadFile(filepath.Join(root(t), "packaging", "systemd", "weir.service"))
	if err != nil {
		t.Fatal(err)
	}
	capabilities := pod.Containers[0].SecurityContext.Capabilities.Add
	if want := "\nCapabilityBoundingSet=CAP_" + strings.Join(capabilities, " CAP_") + "\n"; !strings.Contains(string(unit), want) {
		t.Errorf("the pod has %v, weir.service other ones", capabilities)
	}
	var mounts []string
	for _, mount := range pod.Containers[0].VolumeMounts {
		mounts = append(mounts, mount.Name+" "+mount.MountPath)
	}
	for _, volume := range pod.Volumes {
		want := volume.Name + " " + volume.HostPath.Path
		if volume.Name == "config" {
			want = "config /etc/weir"
			if volume.Projected.DefaultMode != 0o400 {
				t.Errorf("the policy has mode %#o", volume.Projected.DefaultMode)
			}
		}
		if !slices.Contains(mounts, want) {
			t.Errorf("%q is not among the mounts %q", want, mounts)
		}
	}
	if len(mounts) != len(pod.Volumes) {
		t.Errorf("%d mounts of %d volumes", len(mounts), len(pod.Volumes))
	}
	t.Setenv("NODE_NAME", "node-1")
	validates(t, data["config.yaml"])
}

// TestConfigMapVolumes opens a policy in folders as the kubelet makes them: links to
// a folder that is swapped as a whole. A projected volume is a tmpfs with the sticky
// bit; that of a plain ConfigMap has none.
func TestConfigMapVolumes(t *testing.T) {
	for name, c := range map[string]struct {
		mode     os.FileMode
		accepted bool
	}{
		"projected":        {0o777 | os.ModeSticky, true},
		"plain config map": {0o777, false},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			path := filepath.Join(folder, "policy.yaml")
			if err := os.Mkdir(filepath.Join(folder, "..2026_05_04"), 0o755); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(folder, "..2026_05_04", "policy.yaml"), "mode: detect\n")
			err := errors.Join(
				os.Symlink("..2026_05_04", filepath.Join(folder, "..data")),
				os.Symlink("..data/policy.yaml", path),
				os.Chmod(filepath.Join(folder, "..2026_05_04", "policy.yaml"), 0o400),
				os.Chmod(folder, c.mode),
			)
			if err != nil {
				t.Fatal(err)
			}
			f, err := securefile.Open(path, securefile.Private)
			if err == nil {
				f.Close()
			}
			var insecure *securefile.InsecureError
			if c.accepted && err != nil || !c.accepted && !errors.As(err, &insecure) {
				t.Errorf("accepted %t, want %t: %v", err == nil, c.accepted, err)
			}
		})
	}
}
