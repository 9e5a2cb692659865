package promtext

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParse(t *testing.T) {
	values, err := Parse(strings.NewReader("# TYPE a counter\na{x=\"} 7\"} 2 1700000000\na{x=\"2\"} 3\nb 1e3\n\n"))
	require.NoError(t, err)
	require.Equal(t, Values{"a": 5, "b": 1000}, values)
	for _, bad := range []string{"a", "a{", "a}{ 1", "a x", "<html>"} {
		_, err := Parse(strings.NewReader(bad))
		require.ErrorContains(t, err, "not a sample", bad)
	}
}

func TestFetchNamesThePageThatIsNone(t *testing.T) {
	page := httptest.NewServer(http.NotFoundHandler())
	defer page.Close()
	_, err := Fetch(t.Context(), page.URL)
	require.ErrorContains(t, err, "404")
}

func FuzzParse(f *testing.F) {
	f.Add("a{x=\"1\"} 2 3\n")
	f.Fuzz(func(t *testing.T, text string) {
		_, _ = Parse(strings.NewReader(text)) // any answer but a panic
	})
}
