"""Spark, whole histories, cost and process start-up."""
