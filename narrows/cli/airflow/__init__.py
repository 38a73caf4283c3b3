"""The daily DAG in an Airflow on this machine."""
