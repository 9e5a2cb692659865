package gateway

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/qiao-tx/qiao/server/cluster"
	"github.com/qiao-tx/qiao/server/coordinator"
	"github.com/qiao-tx/qiao/server/peers"
	"github.com/qiao-tx/qiao/storage"
)

// newMetrics returns a registry of the server's own metrics and the process's.
func (s *Server) newMetrics() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewGoCollector(),
		collector{s, metrics()},
	)
	r.MustRegister(s.cfg.Collectors...)
	return r
}

// snapshot is all counts at one moment.
type snapshot struct {
	coordinator coordinator.Stats
	store       storage.Stats
	peers       peers.Stats
	mesh        cluster.Stats
	server      *Server
}

// metric is one number of the server.
type metric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*snapshot) float64
}

func counter(name, help string, value func(*snapshot) uint64) metric {
	return metric{
		prometheus.NewDesc("qiao_"+name+"_total", help, nil, nil), prometheus.CounterValue,
		func(s *snapshot) float64 { return float64(value(s)) },
	}
}

func gauge[N int | int64](name, help string, value func(*snapshot) N) metric {
	return metric{
		prometheus.NewDesc("qiao_"+name, help, nil, nil), prometheus.GaugeValue,
		func(s *snapshot) float64 { return float64(value(s)) },
	}
}

// metrics lists all.
func metrics() []metric {
	return []metric{
		counter("transactions_begun", "Global transactions begun.", func(s *snapshot) uint64 { return s.coordinator.Begun }),
		counter("transactions_committed", "Decisions to commit.", func(s *snapshot) uint64 { return s.coordinator.Committed }),
		counter("transactions_rolled_back", "Decisions to roll back on a client's request.", func(s *snapshot) uint64 { return s.coordinator.RolledBack }),
		counter("transactions_timed_out", "Decisions to roll back because the time was over.", func(s *snapshot) uint64 { return s.coordinator.TimedOut }),
		counter("transactions_parked", "Global transactions that ended in a failure and wait for an operator.", func(s *snapshot) uint64 { return s.coordinator.Parked }),
		counter("branches_registered", "Branches registered.", func(s *snapshot) uint64 { return s.coordinator.Branches }),
		counter("lock_conflicts", "Registrations that met another transaction's row lock.", func(s *snapshot) uint64 { return s.coordinator.LockConflicts }),
		counter("requests_refused", "Requests answered with a failure.", func(s *snapshot) uint64 { return s.coordinator.Refused }),
		counter("batches", "Decisions made durable.", func(s *snapshot) uint64 { return s.coordinator.Batches }),
		counter("batches_moved", "Decisions taken again because another node was faster.", func(s *snapshot) uint64 { return s.coordinator.Moved }),
		counter("orders", "Phase-two orders given to resource managers.", func(s *snapshot) uint64 { return s.coordinator.Orders }),
		counter("orders_unanswered", "Phase-two orders without a proper answer.", func(s *snapshot) uint64 { return s.coordinator.Unanswered }),
		counter("orders_withheld", "Phase-two orders not given: the server stood still after deciding them.", func(s *snapshot) uint64 { return s.coordinator.Withheld }),
		gauge("orders_waiting", "Phase-two orders that wait for a slow resource manager.", func(s *snapshot) int { return s.coordinator.OrdersWaiting }),
		gauge("transactions_ticking", "Global transactions that the due-loop looks at now.", func(s *snapshot) int { return s.coordinator.Ticking }),

		gauge("store_transactions", "Global transactions in the store.", func(s *snapshot) int64 { return s.store.Globals }),
		gauge("store_branches", "Branches in the store.", func(s *snapshot) int64 { return s.store.Branches }),
		gauge("store_locks", "Row locks in the store.", func(s *snapshot) int64 { return s.store.Locks }),
		gauge("store_tombstones", "Outcomes of finished transactions that are remembered.", func(s *snapshot) int64 { return s.store.Tombstones }),
		counter("store_batches", "Batches applied by the store.", func(s *snapshot) uint64 { return s.store.Batches }),
		counter("store_entries", "Records, each with one fsync, that carried the batches.", func(s *snapshot) uint64 { return s.store.Entries }),

		gauge("transaction_managers", "Connected transaction managers.", func(s *snapshot) int { return s.peers.TMs }),
		gauge("resource_managers", "Connected resource managers.", func(s *snapshot) int { return s.peers.RMs }),
		gauge("resources", "Different resource ids served by connected resource managers.", func(s *snapshot) int { return s.peers.Resources }),

		gauge("resource_managers_remote", "Resource managers connected to other nodes that orders may go to.", func(s *snapshot) int { return s.peers.Remote }),

		gauge("nodes", "Other coordinators that share the store.", func(s *snapshot) int { return s.mesh.Nodes }),
		gauge("nodes_linked", "Other coordinators that this one has a link to.", func(s *snapshot) int { return s.mesh.Links }),
		gauge("nodes_linking", "Other coordinators that have a link to this one.", func(s *snapshot) int { return s.mesh.Guests }),
		counter("orders_relayed", "Phase-two orders given by way of another coordinator.", func(s *snapshot) uint64 { return s.mesh.Relayed }),
		counter("orders_carried", "Phase-two orders of other coordinators given to resource managers of this one.", func(s *snapshot) uint64 { return s.mesh.Carried }),
		counter("requests_forwarded", "Requests of clients passed on to another coordinator.", func(s *snapshot) uint64 { return s.mesh.Forwarded }),
		counter("requests_taken", "Requests passed on by other coordinators.", func(s *snapshot) uint64 { return s.mesh.Taken }),

		gauge("connections", "Open connections.", func(s *snapshot) int64 { return s.server.connections.inside.Load() }),
		counter("connections_refused", "Connections closed because there were too many.", func(s *snapshot) uint64 { return s.server.connections.refused.Load() }),
		gauge("requests_under_way", "Requests without an answer yet.", func(s *snapshot) int64 { return s.server.requests.inside.Load() }),
		counter("requests_overloaded", "Requests failed because too many were under way.", func(s *snapshot) uint64 { return s.server.requests.refused.Load() }),
	}
}

// collector reads all counts when somebody asks.
type collector struct {
	server  *Server
	metrics []metric
}

func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range c.metrics {
		ch <- m.desc
	}
}

func (c collector) Collect(ch chan<- prometheus.Metric) {
	cfg := &c.server.cfg
	s := &snapshot{
		coordinator: cfg.Coordinator.Stats(), store: cfg.StoreStats(), peers: cfg.Peers.Stats(), server: c.server,
	}
	if cfg.Mesh != nil {
		s.mesh = cfg.Mesh.Stats()
	}
	for _, m := range c.metrics {
		ch <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value(s))
	}
}
