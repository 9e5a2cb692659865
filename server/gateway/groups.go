package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/qiao-tx/qiao/storage"
)

// GroupStore keeps which cluster serves a transaction group.
type GroupStore interface {
	PutNote(ctx context.Context, n storage.Note) error
	Notes(ctx context.Context, kind string) ([]storage.Note, error)
}

// Groups are the transaction groups of a cluster.
type Groups struct {
	// Store keeps them; nil answers that there are none to keep.
	Store GroupStore
	// Namespace and Cluster are those of this server.
	Namespace, Cluster string
}

// groupResult is Seata's org.apache.seata.common.result.Result, with a list where
// one was asked for.
type groupResult struct {
	Code    string         `json:"code"`
	Message string         `json:"message"`
	Success bool           `json:"success"`
	Data    []groupMapping `json:"data,omitempty"`
}

// groupMapping is a row of Seata's vgroup_table.
type groupMapping struct {
	Group     string `json:"vGroup"`
	Namespace string `json:"namespace"`
	Cluster   string `json:"cluster"`
}

// maxGroupName is the width of the columns of Seata's table.
const maxGroupName = 255

var errNoGroups = errors.New("this server's store keeps no transaction groups")

// addGroup answers as Seata's VGroupMappingController.addVGroup: its naming server
// calls it when somebody moves a group to this cluster. Asked twice it does nothing
// more. The unit, which names this server, is not kept, as in Seata's table.
func (s *Server) addGroup(w http.ResponseWriter, r *http.Request) {
	if !r.URL.Query().Has("unit") {
		answerGroups(w, http.StatusBadRequest, nil, errors.New("unit is missing"))
		return
	}
	s.putGroup(w, r, "add", storage.Group.Note)
}

// removeGroup answers as VGroupMappingController.removeVGroup. A group that is not
// there is removed.
func (s *Server) removeGroup(w http.ResponseWriter, r *http.Request) {
	s.putGroup(w, r, "remove", storage.Group.Gone)
}

func (s *Server) putGroup(w http.ResponseWriter, r *http.Request, verb string, note func(storage.Group) storage.Note) {
	name := r.URL.Query().Get("vGroup")
	if err := checkGroupName(name); err != nil {
		answerGroups(w, http.StatusBadRequest, nil, err)
		return
	}
	if s.cfg.Groups.Store == nil {
		answerGroups(w, http.StatusNotImplemented, nil, errNoGroups)
		return
	}
	g := storage.Group{Name: name, Namespace: s.cfg.Groups.Namespace, Cluster: s.cfg.Groups.Cluster}
	if err := s.cfg.Groups.Store.PutNote(r.Context(), note(g)); err != nil {
		answerGroups(w, http.StatusInternalServerError, nil, fmt.Errorf("%s vGroup failed! %w", verb, err))
		return
	}
	s.cfg.Logger.Info("transaction group: "+verb, "group", g.Name, "namespace", g.Namespace, "cluster", g.Cluster,
		"unit", r.URL.Query().Get("unit"), "from", r.RemoteAddr)
	answerGroups(w, http.StatusOK, nil, nil)
}

// listGroups shows all groups that the store keeps, of other clusters too. Java has
// nothing like it: it tells only its naming server.
func (s *Server) listGroups(w http.ResponseWriter, r *http.Request) {
	if s.cfg.Groups.Store == nil {
		answerGroups(w, http.StatusNotImplemented, nil, errNoGroups)
		return
	}
	notes, err := s.cfg.Groups.Store.Notes(r.Context(), storage.NoteGroup)
	list := []groupMapping{}
	for _, n := range notes {
		g, e := storage.ParseGroup(n)
		err = errors.Join(err, e)
		list = append(list, groupMapping{Group: g.Name, Namespace: g.Namespace, Cluster: g.Cluster})
	}
	if err != nil {
		answerGroups(w, http.StatusInternalServerError, nil, err)
		return
	}
	answerGroups(w, http.StatusOK, list, nil)
}

func checkGroupName(name string) error {
	switch {
	case name == "":
		return errors.New("vGroup is missing")
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		return errors.New("vGroup has characters that no name has")
	case utf8.RuneCountInString(name) > maxGroupName:
		return fmt.Errorf("vGroup has more than %d characters", maxGroupName)
	}
	return nil
}

func answerGroups(w http.ResponseWriter, code int, list []groupMapping, err error) {
	result := groupResult{Code: fmt.Sprint(code), Message: "success", Success: err == nil, Data: list}
	if err != nil {
		result.Message = err.Error()
	}
	writeJSON(w, code, result)
}
