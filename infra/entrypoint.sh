#!/bin/sh
# What an image of infra/Dockerfile does first: passwords of PostgreSQL, mounted as files postgres-<role>, become the one
# file that libpq reads, which its user alone may see. Then the command.
umask 077
passfile=${PGPASSFILE:-/tmp/pgpass}
: > "$passfile"
for secret in "${SECRETS:-/run/secrets}"/postgres-*; do
    [ -e "$secret" ] || continue
    printf '%s:%s:*:%s:%s\n' "${POSTGRES_HOST:-postgres}" "${POSTGRES_PORT:-5432}" "${secret##*postgres-}" "$(cat "$secret")" >> "$passfile"
done
export PGPASSFILE="$passfile"
umask 022
exec "$@"
