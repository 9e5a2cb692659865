package memory_test

import (
	"testing"

	"github.com/qiao-tx/qiao/storage"
	"github.com/qiao-tx/qiao/storage/memory"
	"github.com/qiao-tx/qiao/storage/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, func(*testing.T) storetest.Factory {
		return storetest.Factory{Open: func(*testing.T) storage.Store { return memory.New() }}
	})
}
