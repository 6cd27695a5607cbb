#!/bin/bash
# Runs bin/weir as root with the given configuration, until Ctrl-C.
# usage, from the Makefile: scripts/run.sh CONFIG
set -euo pipefail
cd "$(dirname "$0")/.."
config=$1

if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "Loading eBPF programs needs root, and there is no sudo. As root: make run CONFIG=$config" >&2
    exit 1
  fi
  echo "Loading eBPF programs needs root: starting with sudo." >&2
  exec sudo scripts/run.sh "$config"
fi

echo "Running bin/weir with $config. Ctrl-C ends it." >&2
bin/weir --config "$config" &
weir=$!
# A Collector takes SIGHUP for "read the configuration again", so it would
# outlive its terminal.
trap 'kill -TERM "$weir" 2>/dev/null' HUP INT TERM
status=0
wait "$weir" || status=$?
# A trapped signal ends the first wait; the second waits for the end of weir.
if kill -0 "$weir" 2>/dev/null; then
  status=0
  wait "$weir" || status=$?
fi
exit "$status"
