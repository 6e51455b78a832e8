"""The numbers of limits.pxd, importable from Python; this file has no code of its own."""
