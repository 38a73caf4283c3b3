#!/bin/sh
# Run once by the image of PostgreSQL, when its data folder is new: a role and a database for each of its users.
set -e
for name in airflow tracking serving; do
    psql -v ON_ERROR_STOP=1 -v password="$(cat "/run/secrets/postgres-$name")" --username "$POSTGRES_USER" <<SQL
CREATE ROLE $name LOGIN PASSWORD :'password';
CREATE DATABASE $name OWNER $name;
SQL
done
