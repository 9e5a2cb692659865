package client_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/client"
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/compress"
	"github.com/qiao-tx/qiao/protocol/rpc"
	"github.com/qiao-tx/qiao/tm"
)

// What the configuration says is what the coordinator gets, from the first
// message on.
func TestMessagesAreWrittenAsConfigured(t *testing.T) {
	cases := []struct {
		config            client.Config
		codec, compressor byte
	}{
		{client.Config{}, rpc.CodecSeata, compress.None},
		{client.Config{Codec: "Seata", Compressor: "LZ4"}, rpc.CodecSeata, compress.LZ4},
		{client.Config{Codec: "protobuf"}, rpc.CodecProtobuf, compress.None},
		{client.Config{Codec: "hessian", Compressor: "zip"}, rpc.CodecHessian, compress.Zip},
		{client.Config{Codec: "PROTOBUF", Compressor: "bzip2"}, rpc.CodecProtobuf, compress.Bzip2},
	}
	for _, c := range cases {
		tc := startTC(t)
		opened := open(t, c.config, tc)
		require.NoError(t, opened.TM().Run(t.Context(), tm.Options{}, nothing))
		tc.mu.Lock()
		for _, r := range tc.received {
			assert.Equal(t, c.codec, r.Codec, "%T", r.Message)
			assert.Equal(t, c.compressor, r.Compressor, "%T", r.Message)
		}
		tc.mu.Unlock()
		require.Len(t, requests[*protocol.GlobalCommit](tc), 1)
	}
}

func TestCodecsAndCompressorsAreChecked(t *testing.T) {
	for want, config := range map[string]client.Config{
		`codec of the Config: unsupported codec or compressor: "kryo" is refused because its bodies choose the Java classes to build`: {Codec: "kryo"},
		`codec of the Config: unsupported codec or compressor: "json"; valid are seata, protobuf, hessian`:                            {Codec: "json"},
		`compressor of the Config: unsupported compressor "sevenz"; valid are none, gzip, zip, bzip2, lz4, deflater, zstd`:            {Compressor: "sevenz"},
	} {
		config.Addresses, config.ApplicationID = []string{"127.0.0.1:1"}, "order-service"
		_, err := client.Open(t.Context(), config)
		assert.ErrorContains(t, err, want)
	}
}
