package remote_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/rm/tcc/remote"
)

// A service that knows no coordinator is called by URL, and learns from headers
// which branch a call is for.
func ExampleParticipants_Call() {
	stock := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, r.Header.Get("Qiao-Op"), "branch", r.Header.Get("Qiao-Branch"), "of", r.Header.Get("Qiao-Xid"))
	}))
	defer stock.Close()
	ctx := context.Background()
	participants, err := remote.Register(ctx, &registry{} /* client.Client's RM() */, remote.Config{Name: "order-service"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer participants.Close()
	inside := xid.NewContext(ctx, theXID) // in an application: what tm.Run gives
	answer, err := participants.Call(inside, remote.Call{
		Try: stock.URL + "/reserve", Confirm: stock.URL + "/take", Cancel: stock.URL + "/give-back",
		Body: []byte(`{"item":"hat"}`),
	})
	fmt.Printf("%s%v\n", answer, err)
	// Output:
	// try branch 1 of tc:8091:42
	// <nil>
}
