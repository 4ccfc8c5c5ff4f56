"""Long operations: each job is a row that survives a restart; its phases may be repeated."""
