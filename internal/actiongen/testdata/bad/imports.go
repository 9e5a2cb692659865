package bad

import (
	"context"
	tcc "net/http"
)

type Clash interface {
	//qiao:tcc name=b confirm=A cancel=A
	A(ctx context.Context, r *tcc.Request, u unknown.Thing) error
}
