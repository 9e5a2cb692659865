package child

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"syscall"
)

// IsolatedAddress is the address, of nobody elsewhere (RFC 5737), that an isolated
// process has beside its loopback.
const IsolatedAddress = "192.0.2.1"

// ErrNotIsolated: the machine or its rules do not allow a network namespace.
var ErrNotIsolated = errors.New("a network namespace cannot be made: it takes root, or user namespaces for everybody, and the command ip (apt-get install iproute2)")

// noNetwork is the exit code of networkScript when it may not make the network.
const noNetwork = 125

// networkScript makes the network of a new namespace, and runs a command in it. Of
// a veth pair one end has the address; the other keeps it up.
const networkScript = `PATH=$PATH:/usr/sbin:/sbin
ip link set lo up && ip link add qiao0 type veth peer name qiao1 &&
ip addr add ` + IsolatedAddress + `/24 dev qiao0 && ip link set qiao0 up && ip link set qiao1 up || exit 125
exec "$@"`

// Isolated runs the command in a network of its own: the loopback and
// IsolatedAddress. Nothing else reaches it, so what it starts may listen on all
// interfaces; and it reaches nothing else. The namespace is gone with the last of
// its processes.
func Isolated(cmd *exec.Cmd) error {
	cmd.Args = slices.Concat([]string{"sh", "-c", networkScript, "sh", cmd.Path}, cmd.Args[1:])
	shell, err := exec.LookPath("sh")
	if err != nil {
		return err
	}
	cmd.Path = shell
	cmd.SysProcAttr = dieWithParent()
	cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWNET
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	err = cmd.Run()
	var ended *exec.ExitError
	if errors.Is(err, fs.ErrPermission) || errors.As(err, &ended) && ended.ExitCode() == noNetwork {
		return errors.Join(ErrNotIsolated, err)
	}
	return err
}
