package compress

// Name is the name of a compressor in Seata's settings, or "unknown".
func Name(id byte) string {
	m, _ := methodOf(id)
	return m.name
}
