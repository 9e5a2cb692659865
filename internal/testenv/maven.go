package testenv

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// NeedJava ends the test as Missing does where the machine lacks Java, its
// compiler or Maven.
func NeedJava(t testing.TB) {
	t.Helper()
	for _, tool := range []string{"java", "javac", "mvn"} {
		if _, err := exec.LookPath(tool); err != nil {
			Missing(t, tool, "apt-get install openjdk-17-jdk-headless maven")
		}
	}
}

// MavenClasspath has Maven fetch the dependencies that a pom.xml names, unless it
// has them, and returns the class path of them all. Options are Maven's.
func MavenClasspath(pom []byte, options ...string) (classpath string, err error) {
	dir, err := os.MkdirTemp("", "qiao-maven-")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	file, list := filepath.Join(dir, "pom.xml"), filepath.Join(dir, "classpath")
	if err := os.WriteFile(file, pom, 0o600); err != nil {
		return "", err
	}
	cmd := exec.Command("mvn", append(options, "-q", "-B", "-f", file, "dependency:build-classpath", "-Dmdep.outputFile="+list)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	text, err := os.ReadFile(list)
	return string(text), err
}
