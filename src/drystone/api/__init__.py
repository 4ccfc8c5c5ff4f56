"""The wire: parse, authorise, call a use case, render (floor 4)."""
