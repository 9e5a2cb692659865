package pcap

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// streams gathers the bytes of each direction under its ports, and marks what is
// missing.
func streams(tb testing.TB, file []byte) (map[string]string, Counts, error) {
	tb.Helper()
	got, open := map[string]string{}, map[direction]bool{}
	counts, err := Read(bytes.NewReader(file), func(d Data) {
		key := direction{d.From, d.To}
		name := fmt.Sprintf("%d>%d", d.From.Port(), d.To.Port())
		if d.Start {
			got[name] += "^"
		}
		if d.Gap {
			got[name] += fmt.Sprintf("[%d]", d.Missing)
		}
		got[name] += string(d.Bytes)
		open[key] = true
		if d.End {
			got[name] += "$"
			delete(open, key)
		}
	})
	if err == nil {
		require.Empty(tb, open, "these have no end")
	}
	return got, counts, err
}

func load(tb testing.TB, name string) []byte {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(tb, err)
	return b
}

// Whatever the link and the file format, the same bytes come out.
func TestRealCapturesHoldWholeConnections(t *testing.T) {
	var first map[string]string
	for _, name := range []string{"ethernet.pcap", "ethernet.pcapng", "ethernet-nanosecond.pcap", "cooked.pcap", "cooked2.pcap"} {
		t.Run(name, func(t *testing.T) {
			got, counts, err := streams(t, load(t, name))
			require.NoError(t, err)
			assert.Equal(t, Counts{Packets: 41}, counts)
			require.Len(t, got, 4, "two connections in two directions")
			var http, seata int
			for direction, text := range got {
				require.True(t, strings.HasPrefix(text, "^") && strings.HasSuffix(text, "$"), "%s: %q", direction, text)
				require.NotRegexp(t, `\[\d+\]`, text)
				switch {
				case strings.Contains(text, "GET /health HTTP/1.1"), strings.Contains(text, "HTTP/1.1 200 OK"):
					http++
				case strings.HasPrefix(text, "^\xda\xda\x01"):
					seata++
				}
			}
			assert.Equal(t, 2, http)
			assert.Equal(t, 2, seata)
			if !strings.HasPrefix(name, "ethernet") {
				return
			}
			if first == nil {
				first = got
			}
			assert.Equal(t, first, got)
		})
	}
}

func TestTimesAreThoseOfThePackets(t *testing.T) {
	for _, name := range []string{"ethernet.pcap", "ethernet.pcapng", "ethernet-nanosecond.pcap"} {
		var first time.Time
		_, err := Read(bytes.NewReader(load(t, name)), func(d Data) {
			if first.IsZero() {
				first = d.At.UTC()
			}
		})
		require.NoError(t, err)
		require.Equal(t, "2026-11-26T21:01:03.624865", first.Format("2006-01-02T15:04:05.000000"), name)
	}
}

// one is a segment of a made connection, of which to is a port.
type one struct {
	flags byte
	seq   uint32
	data  string
	cut   int
	to    uint16
}

const (
	fin = 1
	syn = 2
	rst = 4
)

// capture writes a pcap file of raw IPv4 packets.
func capture(segments []one) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 0xa1b2c3d4)
	b = append(b, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0)
	b = binary.LittleEndian.AppendUint32(b, linkRaw)
	for _, s := range segments {
		whole := len(s.data)
		data := s.data[:whole-s.cut]
		b = append(b, 0, 0, 0, 0, 0, 0, 0, 0)
		b = binary.LittleEndian.AppendUint32(b, uint32(40+len(data)))
		b = binary.LittleEndian.AppendUint32(b, uint32(40+whole))
		b = append(b, 0x45, 0)
		b = binary.BigEndian.AppendUint16(b, uint16(40+whole))
		b = append(b, 0, 0, 0, 0, 64, protoTCP, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1)
		b = binary.BigEndian.AppendUint16(b, 1)
		b = binary.BigEndian.AppendUint16(b, max(s.to, 2))
		b = binary.BigEndian.AppendUint32(b, s.seq)
		b = append(b, 0, 0, 0, 0, 0x50, s.flags, 0, 0, 0, 0, 0, 0)
		b = append(b, data...)
	}
	return b
}

func TestSegmentsAreBroughtIntoOrder(t *testing.T) {
	for name, test := range map[string]struct {
		segments []one
		want     string
	}{
		"in order":          {[]one{{syn, 9, "", 0, 0}, {0, 10, "abc", 0, 0}, {0, 13, "de", 0, 0}, {fin, 15, "", 0, 0}}, "^abcde$"},
		"swapped":           {[]one{{syn, 9, "", 0, 0}, {0, 13, "de", 0, 0}, {0, 15, "f", 0, 0}, {0, 10, "abc", 0, 0}, {fin, 16, "", 0, 0}}, "^abcdef$"},
		"sent again":        {[]one{{syn, 9, "", 0, 0}, {syn, 9, "", 0, 0}, {0, 10, "abc", 0, 0}, {0, 10, "abc", 0, 0}, {0, 11, "bcd", 0, 0}}, "^abcd$"},
		"one is missing":    {[]one{{syn, 9, "", 0, 0}, {0, 10, "abc", 0, 0}, {0, 15, "fg", 0, 0}, {0, 17, "h", 0, 0}}, "^abc[2]fgh$"},
		"cut when captured": {[]one{{syn, 9, "", 0, 0}, {0, 10, "abcde", 2, 0}, {0, 15, "fg", 0, 0}}, "^abc[2]fg$"},
		"no beginning":      {[]one{{0, 13, "", 0, 0}, {0, 10, "abc", 0, 0}, {0, 13, "de", 0, 0}}, "[0]abcde$"},
		"the numbers wrap":  {[]one{{syn, 0xfffffffe, "", 0, 0}, {0, 1, "cd", 0, 0}, {0, 0xffffffff, "ab", 0, 0}}, "^abcd$"},
		"reset":             {[]one{{syn, 9, "", 0, 0}, {0, 10, "abc", 0, 0}, {rst, 13, "", 0, 0}}, "^abc$"},
		"ports again":       {[]one{{syn, 9, "", 0, 0}, {0, 10, "abc", 0, 0}, {syn, 99, "", 0, 0}, {0, 100, "x", 0, 0}}, "^abc$^x$"},
		"data with the fin": {[]one{{syn, 9, "", 0, 0}, {fin, 12, "c", 0, 0}, {0, 10, "ab", 0, 0}}, "^abc$"},
	} {
		t.Run(name, func(t *testing.T) {
			got, _, err := streams(t, capture(test.segments))
			require.NoError(t, err)
			require.Equal(t, map[string]string{"1>2": test.want}, got)
		})
	}
}

// Many segments, shuffled and repeated, are the text that they were cut from.
func TestShuffledSegments(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var text strings.Builder
	var segments []one
	for text.Len() < 20_000 {
		data := strings.Repeat(string(rune('a'+random.IntN(26))), 1+random.IntN(90))
		segments = append(segments, one{0, uint32(100 + text.Len()), data, 0, 0})
		text.WriteString(data)
	}
	segments = append(segments, segments[:50]...)
	random.Shuffle(len(segments), func(i, j int) { segments[i], segments[j] = segments[j], segments[i] })
	got, _, err := streams(t, capture(append([]one{{syn, 99, "", 0, 0}}, segments...)))
	require.NoError(t, err)
	require.Equal(t, "^"+text.String()+"$", got["1>2"])
}

// A segment that never comes is given up before it has cost much memory.
func TestWaitingIsBounded(t *testing.T) {
	segments := []one{{syn, 9, "", 0, 0}}
	for i := range maxWaiting + 10 {
		segments = append(segments, one{0, uint32(11 + i), "x", 0, 0})
	}
	ended := false
	var kept int
	_, err := Read(bytes.NewReader(capture(append(segments, one{syn, 1, "", 0, 7}))), func(d Data) {
		if d.To.Port() == 7 {
			ended = true
		} else if !ended {
			kept += len(d.Bytes)
		}
	})
	require.NoError(t, err)
	require.GreaterOrEqual(t, kept, maxWaiting)
}

func TestOtherLinks(t *testing.T) {
	ip := capture([]one{{syn, 9, "abc", 0, 0}})[40:]
	for name, test := range map[string]struct {
		link   uint32
		header string
	}{
		"BSD loopback":     {linkNull, "\x02\x00\x00\x00"},
		"OpenBSD loopback": {linkLoop, "\x00\x00\x00\x02"},
		"raw":              {linkRaw, ""},
		"raw, BSD":         {12, ""},
		"IPv4":             {linkIPv4, ""},
		"Ethernet":         {linkEthernet, strings.Repeat("\x00", 12) + "\x08\x00"},
		"VLAN":             {linkEthernet, strings.Repeat("\x00", 12) + "\x88\xa8\x00\x01\x81\x00\x00\x02\x08\x00"},
	} {
		b, err := network(test.link, append([]byte(test.header), ip...))
		require.NoError(t, err, name)
		carried, ok := parseIP(b)
		require.True(t, ok, name)
		s, ok := parseTCP(carried, time.Time{})
		require.True(t, ok, name)
		require.Equal(t, "abc", string(s.data), name)
		require.Equal(t, netip.MustParseAddrPort("127.0.0.1:1"), s.from)
	}
	_, err := network(105, ip)
	require.ErrorIs(t, err, ErrLink)
	require.ErrorContains(t, err, "105")
}

func TestPaddingIsNoData(t *testing.T) {
	ip := append(capture([]one{{syn, 9, "abc", 0, 0}})[40:], 0, 0, 0)
	carried, ok := parseIP(ip)
	require.True(t, ok)
	s, _ := parseTCP(carried, time.Time{})
	require.Equal(t, "abc", string(s.data))
}

func TestDamagedFilesAreNamed(t *testing.T) {
	whole := load(t, "ethernet.pcap")
	for name, test := range map[string]struct {
		file []byte
		want error
	}{
		"empty":            {nil, ErrFormat},
		"text":             {[]byte("dada01"), ErrFormat},
		"half a header":    {whole[:20], ErrFormat},
		"half a packet":    {whole[:len(whole)-3], ErrFormat},
		"a huge packet":    {append(bytes.Clone(whole), bytes.Repeat([]byte{0xff}, 16)...), ErrFormat},
		"pcapng, cut":      {load(t, "ethernet.pcapng")[:200], ErrFormat},
		"pcapng, one word": {[]byte("\n\r\r\n"), ErrFormat},
	} {
		_, _, err := streams(t, test.file)
		require.ErrorIs(t, err, test.want, name)
	}
}

// No file crashes the reader, makes it loop, or hands out more bytes than it has.
func FuzzRead(f *testing.F) {
	for _, name := range []string{"ethernet.pcapng", "cooked.pcap", "cooked2.pcap"} {
		f.Add(load(f, name)[:1500])
	}
	f.Add(capture([]one{{syn, 9, "", 0, 0}, {0, 13, "de", 0, 0}, {0, 10, "abcx", 1, 0}, {fin, 15, "", 0, 0}}))
	f.Fuzz(func(t *testing.T, file []byte) {
		total := 0
		_, err := Read(bytes.NewReader(file), func(d Data) { total += len(d.Bytes) })
		require.LessOrEqual(t, total, len(file))
		if err != nil {
			require.True(t, errors.Is(err, ErrFormat) || errors.Is(err, ErrLink), "%v", err)
		}
	})
}
