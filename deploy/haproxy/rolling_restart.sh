#!/bin/sh
# Restarts the instances behind HAProxy, one after the other, without losing a client.
# Needs socat, and HAProxy's runtime socket at level admin.
set -eu

usage() {
  cat <<'END'
usage: rolling_restart.sh [-S SOCKET] [-b BACKEND] [-t SECONDS] -c COMMAND [SERVER...]

  -S SOCKET   HAProxy's runtime socket (default: /run/haproxy/admin.sock)
  -b BACKEND  the backend's name (default: echo)
  -t SECONDS  how long an instance may take to finish its clients, and how long to come back (default: 90)
  -c COMMAND  stops the instance with SIGTERM, waits until it has exited and starts it again.
              sh runs it with the server's name as $1 and its address as $2.
  SERVER      which ones, and in which order (default: all of the backend)

example: rolling_restart.sh -c 'ssh "$2" systemctl restart echo-server'
END
}

socket=/run/haproxy/admin.sock
backend='echo'
seconds=90
command=
while getopts S:b:t:c:h option; do
  case $option in
    S) socket=$OPTARG ;;
    b) backend=$OPTARG ;;
    t) seconds=$OPTARG ;;
    c) command=$OPTARG ;;
    h) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
done
shift $((OPTIND - 1))
if [ -z "$command" ]; then
  usage >&2
  exit 2
fi

say() {
  printf '%s %s\n' "$(date +%T)" "$*"
}

# Says why server $1 is left drained, and how to bring it back.
left_drained() {
  fail "$1 $2 and is left drained. To bring it back: set server $backend/$1 state ready"
}

fail() {
  printf '%s\n' "rolling_restart.sh: $*" >&2
  exit 1
}

# Sends one command to HAProxy and prints its answer.
ask() {
  printf '%s\n' "$1" | socat -t 5 - "UNIX-CONNECT:$socket"
}

# HAProxy answers a command that worked with an empty line.
tell() {
  answer=$(ask "$1")
  [ -z "$answer" ] || fail "HAProxy did not take \"$1\": $answer"
}

# Prints a column of the statistics (scur, status, addr ...) for server $1, or for every server.
column() {
  ask "show stat $backend 4 -1" | awk -F, -v server="$1" -v name="$2" '
    NR == 1 { sub(/^# /, ""); for (i = 1; i <= NF; i++) at[$i] = i; next }
    NF > 1 && (server == "" || $at["svname"] == server) { print $at[name] }'
}

# Waits until column $2 of server $1 matches the pattern $3.
await() {
  tries=$((seconds * 5))
  while [ "$tries" -gt 0 ]; do
    value=$(column "$1" "$2")
    # shellcheck disable=SC2254 # it is a pattern
    case $value in
      $3) return 0 ;;
    esac
    sleep 0.2
    tries=$((tries - 1))
  done
  return 1
}

# Prints how many servers are up: 0 or 1 for server $1, or the number of all.
up() {
  column "$1" status | grep -c '^UP' || :
}

# shellcheck disable=SC2046 # one word for each server
[ $# -gt 0 ] || set -- $(column "" svname)
[ $# -gt 0 ] || fail "there is no server in backend $backend"

for server; do
  address=$(column "$server" addr)
  [ -n "$address" ] || fail "there is no server $server in backend $backend"
  [ "$(up "")" -gt "$(up "$server")" ] || fail "no other server is up, so $server is not touched"
  say "$server: drain"
  tell "set server $backend/$server state drain"
  # Clients that are left after that have the server's --drain-timeout to finish.
  await "$server" scur 0 || say "$server: $(column "$server" scur) clients are left after $seconds s"

  say "$server: restart"
  sh -c "$command" sh "$server" "${address%:*}" ||
    left_drained "$server" 'was not restarted'

  # Only checks made from now on count.
  tell "set server $backend/$server health down"
  await "$server" status 'DRAIN' || left_drained "$server" "did not come up within $seconds s"
  tell "set server $backend/$server state ready"
  await "$server" status 'UP*' || fail "$server is not up after $seconds s"
  say "$server: up"
done
