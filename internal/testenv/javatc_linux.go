package testenv

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
)

// JavaTCVersion is the version of the Java coordinator that JavaTC starts.
const JavaTCVersion = "1.8.0"

// JavaTCHost is the host in the XIDs of a Java coordinator. It refuses to name
// itself 127.0.0.1, so it names itself an address of nobody (RFC 5737); a client
// that has a list of coordinators connects to those all the same.
const JavaTCHost = "198.51.100.1"

// javaTCStart is how long a Java coordinator has to get ready.
const javaTCStart = 120 * time.Second

//go:embed javatc
var javaTCFiles embed.FS

// JavaTCOptions are what a test may set on a Java coordinator.
type JavaTCOptions struct {
	// Properties are configuration keys of Seata's server and their values, such as
	// "transport.enableTcServerBatchSendResponse": "true".
	Properties map[string]string
	// Host is the IPv4 address in its XIDs and registrations; default JavaTCHost.
	// With one like 127.0.0.2, which it does not refuse, clients can reach it there.
	Host string
	// Database is the DSN (go-sql-driver/mysql form) of a database with Seata's
	// tables, in which it keeps its transactions instead of in files.
	Database string
}

// database are the properties of a coordinator with a database.
func (o *JavaTCOptions) database() (map[string]string, error) {
	if o.Database == "" {
		return nil, nil
	}
	cfg, err := mysql.ParseDSN(o.Database)
	if err != nil {
		return nil, err
	}
	return map[string]string{
		"seata.store.mode": "db", "seata.store.db.datasource": "druid", "seata.store.db.db-type": "mysql",
		"seata.store.db.driver-class-name": "com.mysql.cj.jdbc.Driver",
		"seata.store.db.url":               fmt.Sprintf("jdbc:mysql://%s/%s?useSSL=false&allowPublicKeyRetrieval=true", cfg.Addr, cfg.DBName),
		"seata.store.db.user":              cfg.User, "seata.store.db.password": cfg.Passwd, "seata.store.db.min-conn": "2",
	}, nil
}

// JavaCoordinator is a coordinator of Seata's own, unmodified.
type JavaCoordinator struct {
	t         testing.TB
	dir       string
	classpath string
	options   JavaTCOptions
	port      int
	cmd       *exec.Cmd
	ended     chan struct{} // closed when cmd has ended
}

// JavaTC starts a Java coordinator for this test alone. It and its data are gone
// when the test ends; it also dies with the test process. Its log is shown when
// the test has failed. Where Java or Maven is missing the test ends as with Missing.
func JavaTC(t testing.TB, options JavaTCOptions) *JavaCoordinator {
	t.Helper()
	NeedJava(t)
	classpath, err := javaTCClasspath()
	if err != nil {
		t.Fatalf("get the Java coordinator %s from Maven: %v", JavaTCVersion, err)
	}
	c := &JavaCoordinator{t: t, dir: t.TempDir(), classpath: classpath, options: options}
	if err := copyFiles(c.dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Kill()
		if t.Failed() {
			log, _ := os.ReadFile(c.logName())
			t.Logf("log of the Java coordinator:\n%s", tail(log, 20_000))
		}
	})
	c.start()
	return c
}

// Address is the coordinator's host and port. It stays the same after Restart.
func (c *JavaCoordinator) Address() string {
	return net.JoinHostPort("127.0.0.1", fmt.Sprint(c.port))
}

// Advertised is the host and port in its XIDs and registrations.
func (c *JavaCoordinator) Advertised() string {
	return net.JoinHostPort(c.host(), fmt.Sprint(c.port))
}

func (c *JavaCoordinator) host() string {
	if c.options.Host != "" {
		return c.options.Host
	}
	return JavaTCHost
}

// StoreDir is the directory of its file store.
func (c *JavaCoordinator) StoreDir() string { return filepath.Join(c.dir, "store") }

// Kill ends the coordinator with kill -9. It must not be called together with Restart.
func (c *JavaCoordinator) Kill() {
	if c.cmd == nil {
		return
	}
	_ = c.cmd.Process.Kill() // fails only when it has ended
	<-c.ended
	c.cmd = nil
}

// Stop ends the coordinator as SIGTERM does. It must not be called together with
// Restart.
func (c *JavaCoordinator) Stop() {
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // fails only when it has ended
	select {
	case <-c.ended:
	case <-time.After(javaTCStart):
	}
	c.Kill()
}

// Restart starts the killed coordinator again, on its port and data, and returns
// when it is ready.
func (c *JavaCoordinator) Restart() {
	c.t.Helper()
	c.start()
}

// start starts the coordinator. A port that another process takes between the
// look and the start costs a second attempt, except that of a restart.
func (c *JavaCoordinator) start() {
	c.t.Helper()
	restart := c.port != 0
	const attempts = 3
	for attempt := 1; ; attempt++ {
		err := c.launch()
		if err == nil {
			return
		}
		if restart || attempt == attempts {
			c.t.Fatalf("start the Java coordinator: %v", err)
		}
		c.port = 0
	}
}

func (c *JavaCoordinator) launch() error {
	var err error
	if c.port == 0 {
		if c.port, err = freePort(); err != nil {
			return err
		}
	}
	web, err := freePort()
	if err != nil {
		return err
	}
	args := []string{
		"-Xmx384m", "-XX:TieredStopAtLevel=1",
		"-Dspring.config.location=" + filepath.Join(c.dir, "application.yml"),
		fmt.Sprint("-Dserver.port=", web), fmt.Sprint("-Dseata.server.service-port=", c.port),
		"-Dlogging.file.path=" + filepath.Join(c.dir, "logs"),
		"-Dseata.store.file.dir=" + filepath.Join(c.dir, "store"),
	}
	database, err := c.options.database()
	if err != nil {
		return err
	}
	for _, properties := range []map[string]string{database, c.options.Properties} {
		for key, value := range properties {
			args = append(args, "-D"+key+"="+value)
		}
	}
	args = append(args, "-cp", c.dir+":"+c.classpath, "io.seata.server.ServerApplication", "-h", c.host())
	log, err := os.Create(c.logName())
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command("java", args...)
	cmd.Dir = c.dir
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(ended)
	}()
	c.cmd, c.ended = cmd, ended
	if err := c.await(); err != nil {
		text, _ := os.ReadFile(c.logName())
		c.Kill()
		return fmt.Errorf("%w\n%s", err, tail(text, 4000))
	}
	return nil
}

// await returns when the coordinator has written that it listens, which it does
// only when the port is its own.
func (c *JavaCoordinator) await() error {
	ctx, cancel := context.WithTimeout(c.t.Context(), javaTCStart)
	defer cancel()
	for {
		log, err := os.ReadFile(c.logName())
		if err != nil {
			return err
		}
		if bytes.Contains(log, fmt.Appendf(nil, "Server started, service listen port: %d", c.port)) {
			return nil
		}
		select {
		case <-c.ended:
			return errors.New("it ended at once")
		case <-ctx.Done():
			return fmt.Errorf("not ready within %s", javaTCStart)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (c *JavaCoordinator) logName() string { return filepath.Join(c.dir, "log") }

func copyFiles(dir string) error {
	for _, name := range []string{"application.yml", "registry.conf", "file.conf"} {
		content, err := javaTCFiles.ReadFile("javatc/" + name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// javaTCClasspath is asked of Maven once per process.
var javaTCClasspath = sync.OnceValues(func() (string, error) {
	pom, err := javaTCFiles.ReadFile("javatc/pom.xml")
	if err != nil {
		return "", err
	}
	return MavenClasspath(pom)
})
