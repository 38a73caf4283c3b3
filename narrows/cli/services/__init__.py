"""What production has, on this machine: PostgreSQL, MLflow, Airflow and a Spark cluster, started and watched."""
