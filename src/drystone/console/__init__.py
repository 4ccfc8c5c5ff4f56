"""The console's side of the wire: its files, log-in, browser sessions, and calls through them."""
