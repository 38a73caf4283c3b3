"""What MLflow is told of a whole run, and its view of all runs."""
