package gateway

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/qiao-tx/qiao/protocol"
)

func (s *Server) newHTTPServer() *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", s.health)
	mux.HandleFunc("GET /version", s.version)
	if standing := s.cfg.Standing; standing != nil {
		mux.HandleFunc("GET /cluster", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, standing()) })
	}
	mux.HandleFunc("GET /vgroup/v1/addVGroup", s.addGroup)
	mux.HandleFunc("GET /vgroup/v1/removeVGroup", s.removeGroup)
	mux.HandleFunc("GET /vgroup/v1/vGroups", s.listGroups)
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.newMetrics(), promhttp.HandlerOpts{}))
	return &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(s.cfg.Logger.Handler(), slog.LevelDebug),
	}
}

// health answers as Seata's server does: a JSON string.
func (s *Server) health(w http.ResponseWriter, _ *http.Request) {
	answer, code := "ok", http.StatusOK
	if err := s.cfg.Health(); err != nil {
		answer, code = "not_ok", http.StatusServiceUnavailable
	}
	writeJSON(w, code, answer)
}

func (s *Server) version(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, struct {
		Version string `json:"version"`
		Seata   string `json:"seata"`
	}{s.cfg.Version, protocol.SeataVersion})
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	// A client that has gone misses nothing.
	_, _ = w.Write(b)
}
