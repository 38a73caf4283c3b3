"""Measurements: what `make bench` runs. Numbers, never assertions; each beside a named alternative of the same run."""
