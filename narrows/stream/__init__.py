"""A live feed, taken by Spark Structured Streaming into the files of a source: each row once, whatever is killed when."""
