package bad

import (
	"context"
	fence "net/http"
)

type Generic[T any] interface {
	//qiao:tcc name=a confirm=A cancel=A
	A(ctx context.Context, t T) error
}

type Clash interface {
	//qiao:tcc name=b confirm=A cancel=A
	A(ctx context.Context, r *fence.Request, u unknown.Thing) error
}
