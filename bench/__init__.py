"""Measurements: what `make bench` runs, and `python -m bench.world`. Numbers, never assertions; each beside a named alternative of the same run."""
