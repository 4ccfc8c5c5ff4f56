"""The table of tags that were made by name, whether a resource has them or not."""

from sqlalchemy import Column, Float, ForeignKey, Table, Text

from drystone.catalog.schema_base import metadata, needs

tag = Table(
    "tag",
    metadata,
    Column("account_id", Text, ForeignKey("account.id"), primary_key=True),
    Column("key", Text, primary_key=True),
    Column("value", Text, primary_key=True),
    needs("created_at", Float),
)
"""What a resource has is in its own row."""
