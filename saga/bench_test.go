package saga_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/saga"
	"github.com/qiao-tx/qiao/saga/httpservice"
)

// BenchmarkThreeHTTPSteps runs sagas of three HTTP steps with the log on SQLite,
// 256 at a time. One op is one saga.
func BenchmarkThreeHTTPSteps(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"done":true}`))
	}))
	defer server.Close()
	db, err := openDB(filepath.Join(b.TempDir(), "saga.db"))
	require.NoError(b, err)
	defer func() { _ = db.Close() }()
	store, err := openStore(b, db)
	require.NoError(b, err)
	e, err := saga.Open(context.Background(), saga.Config{Store: store, Invokers: map[string]saga.Invoker{"http": httpservice.New(httpservice.Config{})}})
	require.NoError(b, err)
	defer func() {
		_ = e.Close(context.Background())
		_ = store.Close()
		http.DefaultClient.CloseIdleConnections()
	}()
	_, err = e.Define(context.Background(), []byte(`{"Name":"order","StartState":"A","Version":"1","States":{
	 "A":{"Type":"ServiceTask","ServiceType":"http","ServiceName":"`+server.URL+`","ServiceMethod":"/a","Input":[{"id":"$.[id]"}],"Output":{"a":"$.done"},"CompensateState":"CA","Next":"B"},
	 "B":{"Type":"ServiceTask","ServiceType":"http","ServiceName":"`+server.URL+`","ServiceMethod":"/b","Input":[{"id":"$.[id]"}],"Output":{"b":"$.done"},"CompensateState":"CA","Next":"C"},
	 "C":{"Type":"ServiceTask","ServiceType":"http","ServiceName":"`+server.URL+`","ServiceMethod":"/c","Input":[{"id":"$.[id]"}],"Output":{"c":"$.done"},"CompensateState":"CA","Next":"End"},
	 "CA":{"Type":"ServiceTask","ServiceType":"http","ServiceName":"`+server.URL+`","ServiceMethod":"/undo"},
	 "End":{"Type":"Succeed"}}}`))
	require.NoError(b, err)
	b.ResetTimer()
	work := make(chan int)
	var workers sync.WaitGroup
	for range 256 {
		workers.Go(func() {
			for i := range work {
				s, err := e.Start(context.Background(), "order", map[string]any{"id": i}, saga.StartOptions{})
				if err != nil || s.Status != "SU" {
					b.Errorf("%v %v", err, s)
					return
				}
			}
		})
	}
	for i := range b.N {
		work <- i
	}
	close(work)
	workers.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "sagas/s")
}
