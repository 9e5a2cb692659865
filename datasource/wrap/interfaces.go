package wrap

import "database/sql/driver"

// What database/sql looks for in rows.
var (
	_ driver.Rows                           = (*KeptRows)(nil)
	_ driver.RowsColumnTypeScanType         = (*KeptRows)(nil)
	_ driver.RowsColumnTypeDatabaseTypeName = (*KeptRows)(nil)
	_ driver.RowsColumnTypeLength           = (*KeptRows)(nil)
	_ driver.RowsColumnTypeNullable         = (*KeptRows)(nil)
	_ driver.RowsColumnTypePrecisionScale   = (*KeptRows)(nil)

	_ driver.Rows                           = (*OwnedRows)(nil)
	_ driver.RowsNextResultSet              = (*OwnedRows)(nil)
	_ driver.RowsColumnTypeScanType         = (*OwnedRows)(nil)
	_ driver.RowsColumnTypeDatabaseTypeName = (*OwnedRows)(nil)
	_ driver.RowsColumnTypeLength           = (*OwnedRows)(nil)
	_ driver.RowsColumnTypeNullable         = (*OwnedRows)(nil)
	_ driver.RowsColumnTypePrecisionScale   = (*OwnedRows)(nil)
)
