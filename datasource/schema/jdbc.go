package schema

// Numbers of java.sql.Types, as they stand in the images of an undo record.
const (
	JDBCBit           = -7
	JDBCTinyInt       = -6
	JDBCBigInt        = -5
	JDBCLongVarBinary = -4
	JDBCVarBinary     = -3
	JDBCBinary        = -2
	JDBCLongVarChar   = -1
	JDBCChar          = 1
	JDBCNumeric       = 2
	JDBCDecimal       = 3
	JDBCInteger       = 4
	JDBCSmallInt      = 5
	JDBCFloat         = 6
	JDBCReal          = 7
	JDBCDouble        = 8
	JDBCVarChar       = 12
	JDBCDate          = 91
	JDBCTime          = 92
	JDBCTimestamp     = 93
	JDBCOther         = 1111
	JDBCDistinct      = 2001
	JDBCArray         = 2003
	JDBCSQLXML        = 2009
)
