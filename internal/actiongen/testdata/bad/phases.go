package bad

import (
	"context"
	"database/sql"
)

type Phases interface {
	//qiao:tcc name=a confirm=Gone cancel=Other
	A(ctx context.Context, n int) error
	Other(ctx context.Context, n int64) error

	//qiao:tcc name=a confirm=Fine cancel=Result
	B(ctx context.Context, n int64) (string, error)
	Fine(ctx context.Context, n int64) error
	Result(ctx context.Context, n int64) (string, error)

	//qiao:tcc name=c confirm=NoContext cancel=Variadic
	C(ctx context.Context, n int64) error
	NoContext(n int64) error
	Variadic(ctx context.Context, n ...int64)

	//qiao:compensation name=d compensate=Fine
	D(ctx context.Context, tx *sql.Tx, n int64) error

	//qiao:compensation name=e compensate=Fine
	E(ctx context.Context, n int64, tx *sql.Tx, N int64) error

	//qiao:compensation name=f compensate=Fine
	d(ctx context.Context, n int64) error
}
