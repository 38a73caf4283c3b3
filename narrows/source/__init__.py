"""Source files of any kind and place, and the named data sets."""
