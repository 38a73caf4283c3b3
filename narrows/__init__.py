"""The framework of Narrows: it runs a list of rooms, and knows none of them by name."""
