"""MLflow: runs, models, the release."""
