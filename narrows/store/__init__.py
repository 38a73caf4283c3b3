"""Tables as partitions in folders."""
