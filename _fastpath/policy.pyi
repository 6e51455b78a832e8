"""Compiled code only: what Python asks of a decision is in explain.pyi."""
