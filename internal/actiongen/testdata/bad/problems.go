package bad

import "context"

//qiao:tcc name=stray confirm=A cancel=B

type Bad interface {
	//qiao:try name=x
	Unknown(ctx context.Context) error

	//qiao:tcc name=a confirm=Gone cancel=Other speed=fast attempts=0 timeout=5
	A(ctx context.Context, n int) error
	Other(ctx context.Context, n int64) error

	//qiao:tcc name=a confirm=Other cancel=Other
	//qiao:compensation name=b compensate=Other
	Twice(ctx context.Context, n int64) error

	//qiao:compensation name=a name=c compensate=Other
	Again(ctx context.Context, n int64) error

	//qiao:tcc confirm=Other cancel=Result
	Missing(ctx context.Context, n int64) (string, error)
	Result(ctx context.Context, n int64) (string, error)

	//qiao:tcc name=d confirm=Other cancel=Tx
	Named(ctx context.Context, _ int64) error

	//qiao:tcc name=e confirm=NoContext cancel=Variadic
	Reserved(ctx context.Context, actionName string) error
	NoContext(n int) error
	Variadic(ctx context.Context, all ...string)
}
