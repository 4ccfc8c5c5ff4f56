"""The server: started, put together, ended; what it is reached by, and where its snapshots are."""
