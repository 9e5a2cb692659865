package play

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Programs are the commands that run what the shop consists of; arguments follow.
type Programs struct {
	// Root is the directory of the tree, which has the tables' scripts.
	Root string
	// Coordinator runs `qiao` as a child.
	Coordinator []string
	// Go, GoOverDubbo and Java run a service.
	Go, GoOverDubbo, Java []string
}

// Build compiles into dir what the shop needs. The Go tools are required, and for
// Java a JDK and Maven.
func Build(ctx context.Context, dir string, cfg Config) (Programs, error) {
	root, err := findRoot(ctx)
	if err != nil {
		return Programs{}, err
	}
	p := Programs{Root: root}
	build := func(module, program string) string {
		binary := filepath.Join(dir, filepath.Base(filepath.Join(module, program)))
		err = errors.Join(err, run(ctx, filepath.Join(root, module), "go", "build", "-o", binary, "./"+program))
		return binary
	}
	p.Coordinator = []string{build("", "cmd/qiao"), "child", "server"}
	p.Go = []string{build("", "samples/shop"), "service"}
	if cfg.overDubbo() {
		p.GoOverDubbo = []string{build("samples/shop/overdubbo", "")}
	}
	if len(cfg.Java) > 0 && err == nil {
		p.Java, err = buildJava(ctx, root)
	}
	return p, err
}

// findRoot returns the directory of this module's go.mod.
func findRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-f", "{{.Dir}}", "-m", "github.com/qiao-tx/qiao").Output()
	if err != nil {
		return "", fmt.Errorf("find the source tree: run this inside it, with the Go tools on the PATH: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// buildJava has Maven compile the services and fetch their libraries.
func buildJava(ctx context.Context, root string) ([]string, error) {
	for _, tool := range []string{"java", "javac", "mvn"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("services in Java need a JDK (17 or later) and Maven: %w (apt-get install openjdk-17-jdk-headless maven)", err)
		}
	}
	built := filepath.Join(root, ".cache", "samples-shop-java") // as the pom.xml says
	list := filepath.Join(built, "classpath")
	if err := run(ctx, filepath.Join(root, "samples", "shop", "java"), "mvn", "-q", "-B", "compile", "dependency:build-classpath", "-Dmdep.outputFile="+list); err != nil {
		return nil, err
	}
	libraries, err := os.ReadFile(list)
	if err != nil {
		return nil, err
	}
	classpath := filepath.Join(built, "classes") + ":" + string(libraries)
	return []string{"java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", classpath, "shop.Main"}, nil
}

func run(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), errors.Join(err, ctx.Err()), out)
	}
	return nil
}
