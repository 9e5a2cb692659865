package testenv

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// RedisServer is a Redis of one test's own, which the test may kill.
type RedisServer struct {
	*Server
	port int
}

// Redis starts a Redis for this test alone, without a password and with further options
// of redis-server's command line, such as "--appendfsync", "always"; it has an
// append-only file unless they say otherwise. Server and data are gone when the test
// ends; the server also dies with the test process. Where there is no server program the
// test ends as with Missing.
func Redis(t testing.TB, options ...string) *RedisServer {
	t.Helper()
	return startRedis(t, nil, slices.Concat([]string{"--appendonly", "yes", "--save", "", "--repl-diskless-sync-delay", "0"}, options))
}

// RedisReplica starts a replica of a Redis, and returns when it has its content.
func RedisReplica(t testing.TB, of *RedisServer, options ...string) *RedisServer {
	t.Helper()
	s := startRedis(t, nil, slices.Concat([]string{
		"--appendonly", "yes", "--save", "", "--replicaof", "127.0.0.1", strconv.Itoa(of.port), "--repl-diskless-sync-delay", "0",
	}, options))
	s.Await(t, "INFO replication", "master_link_status:up")
	return s
}

// RedisSentinel starts a sentinel that watches a Redis under the name main, and holds it
// for dead after 300 ms. It decides alone.
func RedisSentinel(t testing.TB, of *RedisServer) *RedisServer {
	t.Helper()
	return startRedis(t, []string{
		fmt.Sprintf("sentinel monitor main 127.0.0.1 %d 1", of.port),
		"sentinel down-after-milliseconds main 300",
		"sentinel failover-timeout main 3000",
	}, []string{"--sentinel"})
}

// RedisCluster starts a cluster of as many primaries, and returns when it serves.
func RedisCluster(t testing.TB, primaries int) []*RedisServer {
	t.Helper()
	servers := make([]*RedisServer, primaries)
	for i := range servers {
		servers[i] = Redis(t, "--cluster-enabled", "yes")
		first, last := 16384*i/primaries, 16384*(i+1)/primaries-1
		servers[i].Do(t, fmt.Sprintf("CLUSTER ADDSLOTSRANGE %d %d", first, last))
		servers[i].Do(t, fmt.Sprintf("CLUSTER SET-CONFIG-EPOCH %d", i+1))
	}
	for _, s := range servers {
		s.Do(t, fmt.Sprintf("CLUSTER MEET 127.0.0.1 %d", servers[0].port))
	}
	for _, s := range servers {
		s.Await(t, "CLUSTER INFO", "cluster_state:ok")
		s.Await(t, "CLUSTER INFO", fmt.Sprint("cluster_known_nodes:", primaries))
	}
	return servers
}

// startRedis starts a server with a configuration file of these lines, as sentinels
// need one, and these options.
func startRedis(t testing.TB, lines, options []string) *RedisServer {
	t.Helper()
	program, err := find("redis-server")
	if errors.Is(err, errNotInstalled) {
		Missing(t, "Redis", "apt-get install redis-server")
	}
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "qiao-redis-")
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "redis.conf")
	if err := os.WriteFile(config, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	port, err := redisPort()
	if err != nil {
		t.Fatal(err)
	}
	s := &RedisServer{own(t, "Redis", dir), port}
	s.command = slices.Concat([]string{program, config, "--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", dir}, options)
	s.Server.await = s.ready
	s.start()
	return s
}

// redisPort finds a port so low that the bus of a cluster, 10,000 above, has one too.
func redisPort() (int, error) {
	for range 200 {
		port, err := freePort()
		if err != nil {
			return 0, err
		}
		if port+10_000 > 65_535 {
			port -= 20_000
		}
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			continue
		}
		return port, l.Close()
	}
	return 0, errors.New("no free port with another 10,000 above it")
}

// Addr is the server's host:port. It stays the same after Kill and Restart.
func (s *RedisServer) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// ready returns when the server answers and is our own.
func (s *RedisServer) ready(p *process) error {
	for patience := time.Now().Add(startTimeout); ; {
		text, err := s.ask("INFO everything")
		if err == nil && strings.Contains(text, "process_id:") && !strings.Contains(text, "\nloading:1") {
			if !strings.Contains(text, fmt.Sprintf("process_id:%d\r\n", p.cmd.Process.Pid)) {
				return fmt.Errorf("the Redis on %s is another's", s.Addr())
			}
			return nil
		}
		if err := p.ended(); err != nil {
			return err
		}
		if time.Now().After(patience) {
			return fmt.Errorf("no answer within %s: %s: %w", startTimeout, text, err)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// Do sends a command of words without spaces in them and returns what Redis answers, as
// it writes it. An answer that is an error ends the test.
func (s *RedisServer) Do(t testing.TB, command string) string {
	t.Helper()
	text, err := s.ask(command)
	if err == nil && strings.HasPrefix(text, "-") {
		err = errors.New(text)
	}
	if err != nil {
		t.Fatalf("Redis on %s: %s: %v", s.Addr(), command, err)
	}
	return text
}

// Await returns when the answer to a command has the text in it.
func (s *RedisServer) Await(t testing.TB, command, text string) {
	t.Helper()
	for patience := time.Now().Add(startTimeout); ; <-time.After(10 * time.Millisecond) {
		answer := s.Do(t, command)
		if strings.Contains(answer, text) {
			return
		}
		if time.Now().After(patience) {
			t.Fatalf("Redis on %s: %s does not tell %s within %s:\n%s", s.Addr(), command, text, startTimeout, answer)
		}
	}
}

// ask sends a command and reads one answer that is a line or a text.
func (s *RedisServer) ask(command string) (string, error) {
	conn, err := net.DialTimeout("tcp", s.Addr(), 5*time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(conn, command+"\r\n"); err != nil {
		return "", err
	}
	r := bufio.NewReader(conn)
	line, err := r.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "$") {
		return line, err
	}
	length, err := strconv.Atoi(strings.TrimSpace(line[1:]))
	if err != nil || length < 0 {
		return line, err
	}
	text := make([]byte, length)
	_, err = io.ReadFull(r, text)
	return string(text), err
}
