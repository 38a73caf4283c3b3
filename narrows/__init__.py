"""The framework of Narrows: it runs a list of rooms, and knows none of them by name."""

from narrows.engine.telemetry import turn_off

turn_off()  # here, because libraries read it when they are imported, in whatever process
