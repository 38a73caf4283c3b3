"""Contracts, audited by Great Expectations."""
