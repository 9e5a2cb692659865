package graph_test

import (
	"encoding/xml"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/saga/graph"
	"github.com/qiao-tx/qiao/saga/machine"
	"github.com/qiao-tx/qiao/saga/statelang"
)

var rewrite = flag.Bool("rewrite", false, "write the pictures of testdata anew")

const order = `{"Name": "order <&>", "Version": "1", "StartState": "Reserve", "States": {
  "Reserve": {"Type": "ServiceTask", "ServiceName": "stock", "ServiceMethod": "reserve", "CompensateState": "Release", "Next": "Enough?"},
  "Enough?": {"Type": "Choice", "Choices": [{"Expression": "[left] < 0", "Next": "Reserve"}, {"Expression": "[left] > 2 && [left] < 100", "Next": "Pay"}], "Default": "Sub"},
  "Pay": {"Type": "ServiceTask", "ServiceName": "bank", "ServiceMethod": "pay", "CompensateState": "Refund", "Catch": [{"Exceptions": ["com.example.Poor"], "Next": "Undo"}], "Next": "Done"},
  "Sub": {"Type": "SubStateMachine", "StateMachineName": "inner", "Next": "Script"},
  "Script": {"Type": "ScriptTask", "ScriptContent": "1", "Next": "Done"},
  "Release": {"Type": "ServiceTask", "ServiceName": "stock", "ServiceMethod": "release"},
  "Refund": {"Type": "ServiceTask", "ServiceName": "bank", "ServiceMethod": "refund"},
  "Undo": {"Type": "CompensationTrigger", "Next": "Failed"},
  "Failed": {"Type": "Fail", "ErrorCode": "E"},
  "Done": {"Type": "Succeed"}}}`

// TestPictures compares with the pictures of testdata, which somebody has looked at,
// and reads them as XML.
func TestPictures(t *testing.T) {
	m, err := statelang.Parse([]byte(order))
	require.NoError(t, err)
	for name, p := range map[string]graph.Progress{
		"machine.svg": {},
		"instance.svg": {ID: "127.0.0.1:8091:7", Status: machine.Unknown, Compensation: machine.Running, Rows: []*machine.Row{
			{ID: "1", Name: "Reserve", Status: machine.Succeeded, Compensation: machine.Running},
			{ID: "2", Name: "Pay", Status: machine.Failed, Superseded: true},
			{ID: "2.1", Name: "Pay", Status: machine.Unknown, RetriedFor: "2", Compensation: machine.Succeeded, Failure: &machine.Failure{Class: "com.example.Poor", Message: "<none>"}},
			{ID: "2.1-1", Name: "Refund", Status: machine.Succeeded, CompensatedFor: "2.1"},
			{ID: "1-1", Name: "Release", Status: machine.Running, CompensatedFor: "1"},
		}},
	} {
		got := graph.SVG(m, p)
		for d := xml.NewDecoder(strings.NewReader(string(got))); ; {
			if _, err := d.Token(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
		file := filepath.Join("testdata", name)
		if *rewrite {
			require.NoError(t, os.WriteFile(file, got, 0o644))
		}
		want, err := os.ReadFile(file)
		require.NoError(t, err)
		assert.Equal(t, string(want), string(got), "run with -rewrite and look at the picture")
		for _, s := range m.Order {
			assert.Contains(t, string(got), "<title>"+s+" (", "every state is there")
		}
	}
}

// TestNothingOverlaps in pictures of machines of any form.
func TestNothingOverlaps(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"Name": "wide", "StartState": "C", "States": {"C": {"Type": "Choice", "Choices": [`)
	for i := range 12 {
		if i > 0 {
			b.WriteByte(',')
		}
		n := string(rune('a' + i))
		b.WriteString(`{"Expression": "[x] == 1", "Next": "` + n + `"}`)
	}
	b.WriteString(`], "Default": "Z"}, "Z": {"Type": "Succeed"}`)
	for i := range 12 {
		n := string(rune('a' + i))
		b.WriteString(`, "` + n + `": {"Type": "ServiceTask", "CompensateState": "u` + n + `", "Next": "Z"}, "u` + n + `": {"Type": "ServiceTask"}`)
	}
	b.WriteString("}}")
	m, err := statelang.Parse([]byte(b.String()))
	require.NoError(t, err)
	boxes := readBoxes(t, graph.SVG(m, graph.Progress{}))
	require.Len(t, boxes, 25)
	for i, a := range boxes {
		for _, other := range boxes[i+1:] {
			apart := a.x+a.w <= other.x || other.x+other.w <= a.x || a.y+a.h <= other.y || other.y+other.h <= a.y
			assert.True(t, apart, "%v %v", a, other)
		}
	}
}

type box struct{ x, y, w, h float64 }

func readBoxes(t *testing.T, svg []byte) []box {
	var picture struct {
		Groups []struct {
			Groups []struct {
				Title string `xml:"title"`
				Rect  []struct {
					Class string  `xml:"class,attr"`
					X     float64 `xml:"x,attr"`
					Y     float64 `xml:"y,attr"`
					W     float64 `xml:"width,attr"`
					H     float64 `xml:"height,attr"`
				} `xml:"rect"`
			} `xml:"g"`
		} `xml:"g"`
	}
	require.NoError(t, xml.Unmarshal(svg, &picture))
	var boxes []box
	for _, g := range picture.Groups {
		for _, n := range g.Groups {
			for _, r := range n.Rect {
				if strings.HasPrefix(r.Class, "box") {
					boxes = append(boxes, box{r.X, r.Y, r.W, r.H})
				}
			}
		}
	}
	return boxes
}
