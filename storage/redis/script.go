package redis

import (
	"context"
	"crypto/sha1"
	_ "embed"
	"encoding/hex"

	goredis "github.com/redis/go-redis/v9"
)

// script is a Lua script that Redis knows by its digest.
type script struct{ text, digest string }

// newScript gives a script its first line. With flags Redis checks before the script
// runs what would otherwise stop it in the middle: that this is a primary, that the
// disk takes writes, that enough replicas are there, and that there is memory.
func newScript(flags, body string) script {
	first := "#!lua\n"
	if flags != "" {
		first = "#!lua flags=" + flags + "\n"
	}
	text := first + body
	sum := sha1.Sum([]byte(text)) // what Redis names scripts by
	return script{text, hex.EncodeToString(sum[:])}
}

var (
	//go:embed apply.lua
	applyBody string
	//go:embed load.lua
	loadBody string
	//go:embed check.lua
	checkBody string
	//go:embed foreign.lua
	foreignBody string
	//go:embed handover.lua
	handoverBody string
	//go:embed purge.lua
	purgeBody string
	//go:embed lease.lua
	leaseBody string
	//go:embed nodes.lua
	nodesBody string
	//go:embed note.lua
	noteBody string
	//go:embed notes.lua
	notesBody string
	//go:embed groups.lua
	groupsBody string
)

var (
	applyScript = newScript("", applyBody)
	// decideScript also runs when Redis has no memory left: it is for what brings
	// transactions to their end.
	decideScript  = newScript("allow-oom", applyBody)
	loadScript    = newScript("no-writes", loadBody)
	checkScript   = newScript("no-writes", checkBody)
	foreignScript = newScript("no-writes", foreignBody)
	purgeScript   = newScript("allow-oom", purgeBody)
	leaseScript   = newScript("allow-oom", leaseBody)
	nodesScript   = newScript("no-writes", nodesBody)

	handoverScript = newScript("allow-oom", handoverBody)
	noteScript     = newScript("allow-oom", noteBody)
	notesScript    = newScript("no-writes", notesBody)
	groupsScript   = newScript("no-writes", groupsBody)
)

var allScripts = []script{
	applyScript, decideScript, loadScript, checkScript, foreignScript, purgeScript, leaseScript, nodesScript, handoverScript,
	noteScript, notesScript, groupsScript,
}

// loadScripts makes Redis know the scripts: it forgets them when it is restarted.
func loadScripts(ctx context.Context, c *goredis.Client) error {
	pipe := c.Pipeline()
	for _, s := range allScripts {
		pipe.ScriptLoad(ctx, s.text)
	}
	_, err := pipe.Exec(ctx)
	return err
}

// call is the command that runs a script. args are pointers, which cost nothing to put
// into an interface.
func (s script) call(ctx context.Context, key string, args []string) *goredis.Cmd {
	words := make([]any, 0, 4+len(args))
	words = append(words, "EVALSHA", s.digest, 1, key)
	for i := range args {
		words = append(words, &args[i])
	}
	return goredis.NewCmd(ctx, words...)
}

// callPacked is call with one argument.
func (s script) callPacked(ctx context.Context, key string, arg []byte) *goredis.Cmd {
	return goredis.NewCmd(ctx, "EVALSHA", s.digest, 1, key, arg)
}
