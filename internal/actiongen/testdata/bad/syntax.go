package bad

type Bad interface {
	A(ctx context.Context error
}
