REFUSALS: frozenset[str]
