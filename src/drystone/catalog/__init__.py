"""The rows: schema, migrations, queries (floor 2)."""
