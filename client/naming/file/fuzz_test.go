package file

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/client/naming"
)

// Whatever is in a file, it is read or refused, and what is found is good.
func FuzzForms(f *testing.F) {
	for _, name := range []string{"file.conf", "registry.conf", "client.properties", "application.yml"} {
		text, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, parse := range []func(string) (map[string]string, error){parseConf, parseProperties, parseYAML} {
			values, err := parse(text)
			if err != nil {
				continue
			}
			s := &Settings{path: "f", values: values}
			cluster, err := s.Cluster("default_tx_group")
			if err != nil {
				continue
			}
			addresses, err := s.nodes(cluster)
			if err != nil {
				continue
			}
			require.NotEmpty(t, addresses)
			for _, address := range addresses {
				require.NoError(t, naming.Check(address))
			}
		}
	})
}
