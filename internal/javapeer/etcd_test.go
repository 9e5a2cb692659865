//go:build linux

package javapeer

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/internal/testenv"
)

// TestUnmodifiedJavaClientFindsUsInEtcd: an unmodified client with registry.type
// etcd3 finds our servers there, meets no error when one leaves, and gets over one
// that is killed. (It looks for nodes that come only after a minute, and then every
// ten seconds: org.apache.seata.core.rpc.netty.AbstractNettyRemotingClient.)
func TestUnmodifiedJavaClientFindsUsInEtcd(t *testing.T) {
	e := testenv.Etcd(t)
	var all []*coordinator
	for range 3 {
		all = append(all, startCoordinator(t, "--registry-type", "etcd3", "--registry-etcd3-server-addr", e.Endpoint(),
			"--registry-wait", "30s", "--registry-etcd3-lease-ttl", "2s", "--registry-leave-wait", "3s"))
	}
	leaving, killed, staying := all[0], all[1], all[2]
	java := StartEtcd(t, e.Endpoint(), "java-etcd")
	t.Run("begin and decide without branches", func(t *testing.T) { testNoBranches(t, java) })
	t.Run("TCC", func(t *testing.T) { testTCC(t, java) })

	// home begins a transaction and returns its coordinator. It is not decided: a
	// client of Java sends the commit of a node that has just left to any other, as
	// the nodes of Java share a store, which those of this release do not.
	home := func() string {
		x := begin(java)
		return x[:strings.LastIndexByte(x, ':')]
	}
	for _, tc := range all {
		require.Eventually(t, func() bool { return home() == tc.address }, patience, time.Millisecond)
	}
	require.NoError(t, leaving.cmd.Process.Signal(syscall.SIGTERM))
	for ended := waiting(leaving.cmd); ; {
		home() // nothing fails meanwhile
		select {
		case <-ended:
		default:
			continue
		}
		break
	}
	for range 50 {
		assert.NotEqual(t, leaving.address, home())
	}
	killed.kill()
	require.Eventually(t, func() bool {
		for range 10 {
			a := java.Do(Command{"op": "begin", "name": "test", "timeout": 60_000})
			if !strings.HasPrefix(a.XID, staying.address) {
				return false
			}
		}
		return true
	}, patience, 10*time.Millisecond)
	t.Run("AT restores rows", func(t *testing.T) { testAT(t, java, testenv.MySQLServers()[0]) })
}

// waiting waits for a command and closes the channel when it has ended.
func waiting(cmd *exec.Cmd) <-chan struct{} {
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	return ended
}
