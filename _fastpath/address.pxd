"""Client addresses. The functions are Python's: each is called once a connection, or behind a trusted proxy."""
