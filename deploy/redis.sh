#!/bin/sh
# The server of the box: `serve`, `ping` (for the health check), or `cli …` to talk to it. The password comes from a
# file and goes on by standard input or the environment of one process, never on a command line.
set -eu

file=${REDIS_PASSWORD_FILE:-/run/secrets/redis_password}
if ! [ -r "$file" ] || ! [ -s "$file" ]; then
  echo "$file is missing, empty or not readable. Create it: openssl rand -hex 32 > secrets/redis_password" >&2
  exit 1
fi
password=$(cat "$file")
case $password in
  *[!A-Za-z0-9._~+/=-]*)
    echo "$file holds more than letters, digits and . _ ~ + / = -, so the server could read another password." >&2
    exit 1
    ;;
esac

cli() {
  # The first is the name of Redis and of Valkey 8, the second that of Valkey 9.
  REDISCLI_AUTH=$password VALKEYCLI_AUTH=$password valkey-cli "$@"
}

what=${1:-serve}
[ $# -eq 0 ] || shift
case $what in
  serve)
    exec valkey-server "$(dirname "$0")/redis.conf" --maxmemory "${REDIS_MAXMEMORY:-2gb}" "$@" - <<END
requirepass $password
END
    ;;
  ping) cli "$@" ping | grep -qx PONG ;;
  cli) cli "$@" ;;
  *)
    echo "redis.sh serve | ping | cli …" >&2
    exit 2
    ;;
esac
