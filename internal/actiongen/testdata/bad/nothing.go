package bad

type Plain interface{ A() }
