//go:build linux

package javapeer

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/codec"
	"github.com/qiao-tx/qiao/protocol/codectest"
	"github.com/qiao-tx/qiao/protocol/compress"
	"github.com/qiao-tx/qiao/protocol/hessian"
	"github.com/qiao-tx/qiao/protocol/native"
	"github.com/qiao-tx/qiao/protocol/pb"
)

var (
	codecSeed = flag.Uint64("codec-seed", 0, "the seed of the random messages; 0 picks one")
	codecTime = flag.Duration("codec-time", 3*time.Second, "how long random messages are compared with Java")
	rewrite   = flag.Bool("rewrite-bodies", false, "write the bodies of Java's codecs that other packages test with")
)

const (
	idNative  byte = 1
	idPB      byte = 2
	idHessian byte = 22
)

// implementation is one of our codecs.
type implementation struct {
	name   string
	id     byte
	append func([]byte, protocol.Message, codec.Names) ([]byte, error)
	decode func([]byte) (protocol.Message, codec.Names, error)
	random codectest.Random
	// inexact: Java writes some empty texts as such and some as null, by field;
	// ours are null. Both read either.
	inexact bool
}

func implementations(r *rand.Rand) []implementation {
	return []implementation{
		{"seata", idNative,
			func(dst []byte, m protocol.Message, _ codec.Names) ([]byte, error) { return native.Append(dst, m) },
			func(b []byte) (protocol.Message, codec.Names, error) {
				m, err := native.Decode(b)
				return m, codec.Apache, err
			},
			codectest.Random{Rand: r, Wide: true, Empty: true}, false},
		// Java's protobuf codec fails on empty texts that the seata codec read: they
		// are null to it.
		{"protobuf", idPB, pb.Append, pb.Decode, codectest.Random{Rand: r}, false},
		{"hessian", idHessian, hessian.Append, hessian.Decode, codectest.Random{Rand: r, Wide: true}, false},
		{"hessian", idHessian, hessian.Append, hessian.Decode, codectest.Random{Rand: r, Wide: true, Empty: true}, true},
	}
}

// A JVM takes seconds to start: one serves all.
func TestCodecsOfJava(t *testing.T) {
	java := StartCodecs(t)
	t.Run("random messages", func(t *testing.T) { testRandomMessages(t, java) })
	t.Run("answers to registrations", func(t *testing.T) { testRegistrationAnswers(t, java) })
	t.Run("compressors", func(t *testing.T) { testCompressors(t, java) })
	t.Run("bodies in hessian", func(t *testing.T) { testHessianBodies(t, java) })
}

// The differential fuzzer: whatever message, our codecs write what Java's do and
// read what Java's write. The seata codec, which has its captured frames, carries
// a message into Java and back. On a failure run it again with the seed it shows:
// make codecs CODECS='-codec-seed 42'.
func testRandomMessages(t *testing.T, java *Codecs) {
	seed := *codecSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", seed)
	all := implementations(rand.New(rand.NewPCG(seed, 0)))
	messages := 0
	for end := time.Now().Add(*codecTime); time.Now().Before(end); messages++ {
		impl := all[messages%len(all)]
		compareWithJava(t, java, impl, impl.random.Message())
	}
	t.Logf("%d messages", messages)
	require.Greater(t, messages, 100)
}

func compareWithJava(t *testing.T, java *Codecs, impl implementation, m protocol.Message) {
	t.Helper()
	carrier, err := native.Append(nil, m)
	require.NoError(t, err)
	ours, err := impl.append(nil, m, codec.Apache)
	require.NoError(t, err, "%s: %+v", impl.name, m)
	theirs, err := java.Translate(idNative, impl.id, carrier)
	require.NoError(t, err, "Java writes %s: %T %+v", impl.name, m, m)
	if !impl.inexact && !bytes.Equal(theirs, ours) {
		t.Fatalf("%s: %T %+v\nJava: %x\nours: %x", impl.name, m, m, theirs, ours)
	}
	read, names, err := impl.decode(theirs)
	require.NoError(t, err, "%s: %T %x", impl.name, m, theirs)
	require.Equal(t, codec.Apache, names)
	require.Equal(t, m, read, impl.name)
	back, err := java.Translate(impl.id, idNative, ours)
	require.NoError(t, err, "Java reads %s: %T %x", impl.name, m, ours)
	if !bytes.Equal(back, carrier) {
		t.Fatalf("%s: Java reads %x\nas %x\nnot as %x", impl.name, ours, back, carrier)
	}
}

// What the seata codec does not carry of an answer to a registration is compared
// by having Java read and write it.
func testRegistrationAnswers(t *testing.T, java *Codecs) {
	success, failure := protocol.Result{Code: protocol.ResultSuccess}, protocol.Result{Message: "no"}
	for _, impl := range implementations(nil) {
		for _, m := range []protocol.Message{
			&protocol.RegisterTMResult{Result: success, Identified: true, Version: "2.5.0"},
			&protocol.RegisterRMResult{Result: success, Identified: true, Version: "2.5.0"},
			&protocol.RegisterRMResult{Result: failure, Version: "2.5.0"},
		} {
			ours, err := impl.append(nil, m, codec.Apache)
			require.NoError(t, err)
			theirs, err := java.Translate(impl.id, impl.id, ours)
			require.NoError(t, err, "%s %T", impl.name, m)
			require.Equal(t, hex.EncodeToString(theirs), hex.EncodeToString(ours), "%s %T", impl.name, m)
		}
	}
}

// Java's compressors read what ours write, and the other way round. (Its zstd
// reads 4 MiB at most.)
func testCompressors(t *testing.T, java *Codecs) {
	r := rand.New(rand.NewPCG(7, 0))
	noise := make([]byte, 100_000)
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	var pool compress.Pool
	for _, name := range compress.Names() {
		id, err := compress.ByName(name)
		require.NoError(t, err)
		for _, body := range [][]byte{{0}, []byte("body"), make([]byte, 1023), make([]byte, 1024), make([]byte, 1025),
			bytes.Repeat([]byte("lock key;"), 30_000), noise, noise[:3000], make([]byte, 4<<20)} {
			theirs, err := java.Compress(id, body)
			require.NoError(t, err, name)
			got, err := pool.Expand(nil, id, theirs, 8<<20)
			require.NoError(t, err, "%s of %d bytes", name, len(body))
			require.True(t, bytes.Equal(body, got), "%s of %d bytes", name, len(body))
			ours, err := pool.Append(nil, id, body)
			require.NoError(t, err, name)
			got, err = java.Decompress(id, ours)
			require.NoError(t, err, "Java reads %s of %d bytes", name, len(body))
			require.True(t, bytes.Equal(body, got), "Java reads %s of %d bytes", name, len(body))
		}
	}
	_, err := java.Compress(3, []byte("body"))
	require.Error(t, err, "Seata 2.5.0 has no sevenz: if it has now, speak it")
}

// bodyPair is one message in two codecs.
type bodyPair struct {
	Class   string `json:"class"`
	Seata   string `json:"seata"`
	Hessian string `json:"hessian"`
}

const bodiesFile = "../../protocol/hessian/testdata/java.jsonl"

// The bodies that protocol/hessian is tested with everywhere are Java's.
func testHessianBodies(t *testing.T, java *Codecs) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	random := codectest.Random{Rand: rand.New(rand.NewPCG(3, 0)), Wide: true, Empty: true}
	messages := []protocol.Message{}
	for _, m := range codectest.EveryMessage() {
		if m.TypeCode() != protocol.TypeUnregisterRM { // newer than 2.5.0
			codectest.Fill(m)
			messages = append(messages, m)
		}
	}
	for len(messages) < 100 {
		m := random.Message()
		if body, err := native.Append(nil, m); err == nil && len(body) < 700 {
			messages = append(messages, m)
		}
	}
	for _, m := range messages {
		seata, err := native.Append(nil, m)
		require.NoError(t, err)
		body, err := java.Translate(idNative, idHessian, seata)
		require.NoError(t, err)
		require.NoError(t, encoder.Encode(bodyPair{m.TypeCode().String(), hex.EncodeToString(seata), hex.EncodeToString(body)}))
	}
	if *rewrite {
		require.NoError(t, os.WriteFile(bodiesFile, out.Bytes(), 0o644))
	}
	have, err := os.ReadFile(bodiesFile)
	require.NoError(t, err)
	require.Equal(t, out.String(), string(have), "run: go test ./internal/javapeer -run CodecsOfJava -rewrite-bodies")
}
