"""Everything on one machine: a private application, its mail and the walk through both."""
