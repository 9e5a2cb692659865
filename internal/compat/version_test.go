//go:build linux

package compat

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"github.com/qiao-tx/qiao/internal/testenv"
)

// versions are the clients, oldest first. The last is the newest on Maven Central.
var versions = []string{"1.4.2", "1.5.2", "1.6.1", "1.8.0", "2.0.0", "2.2.0", "2.5.0", "2.6.0"}

// group is where Maven has a version, and the prefix of its packages: Seata moved
// to Apache with 2.1.
func group(version string) string {
	if strings.HasPrefix(version, "1.") || version == "2.0.0" {
		return "io.seata"
	}
	return "org.apache.seata"
}

// driver is MySQL's JDBC driver for a version. The connection pool of 1.4.2 finds
// its way about no newer one when it makes XA connections.
func driver(version string) (group, artifact, driverVersion string) {
	if version == "1.4.2" {
		return "mysql", "mysql-connector-java", "8.0.11"
	}
	return "com.mysql", "mysql-connector-j", "8.0.33"
}

// classpaths are the class paths of the driver program, compiled for each
// version once per process.
var classpaths = struct {
	sync.Mutex
	made map[string]string
}{made: map[string]string{}}

func classpath(version string) (string, error) {
	classpaths.Lock()
	defer classpaths.Unlock()
	if made, ok := classpaths.made[version]; ok {
		return made, nil
	}
	made, err := compile(version)
	if err != nil {
		return "", fmt.Errorf("build the client of version %s: %w", version, err)
	}
	classpaths.made[version] = made
	return made, nil
}

func compile(version string) (string, error) {
	pom, err := os.ReadFile("client/pom.xml")
	if err != nil {
		return "", err
	}
	driverGroup, driverArtifact, driverVersion := driver(version)
	libraries, err := testenv.MavenClasspath([]byte(strings.NewReplacer(
		"MYSQL_GROUP", driverGroup, "MYSQL_ARTIFACT", driverArtifact, "MYSQL_VERSION", driverVersion,
		"GROUP", group(version), "VERSION", version).Replace(string(pom))))
	if err != nil {
		return "", err
	}
	source, err := os.ReadFile("client/Client.java")
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "qiao-compat-")
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "Client.java")
	source = bytes.ReplaceAll(source, []byte("import org.apache.seata."), []byte("import "+group(version)+"."))
	if err := os.WriteFile(file, source, 0o600); err != nil {
		return "", err
	}
	cmd := exec.Command("javac", "-nowarn", "-cp", libraries, "-d", dir, file)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("javac: %w\n%s", err, out)
	}
	resources, err := filepath.Abs("client/resources")
	return dir + ":" + resources + ":" + libraries, err
}
