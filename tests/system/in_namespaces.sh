#!/bin/sh
# Three hosts on one machine: network namespaces tidal-0 to tidal-2, at 10.77.0.2 to 10.77.0.4 behind one bridge. Runs a command in
# the first of them, and takes all of it away again. Needs root.
#   sudo sh tests/system/in_namespaces.sh .venv/bin/python -m pytest -m slow tests/system/test_ray_cluster.py
set -e
[ $# -gt 0 ] || { echo "usage: in_namespaces.sh COMMAND..." >&2; exit 2; }

away() {
    for n in 0 1 2; do
        ip link del tidal-cable-$n 2>/dev/null || true
        ip netns del tidal-$n 2>/dev/null || true
    done
    ip link del tidal-bridge 2>/dev/null || true
}

trap away EXIT
trap 'exit 130' INT TERM
away
ip link add tidal-bridge type bridge
ip link set tidal-bridge up
for n in 0 1 2; do
    ip netns add tidal-$n
    ip link add tidal-cable-$n type veth peer name eth0 netns tidal-$n
    ip link set tidal-cable-$n master tidal-bridge up
    ip -n tidal-$n address add 10.77.0.$((n + 2))/24 dev eth0
    ip -n tidal-$n link set eth0 up
    ip -n tidal-$n link set lo up
done
TIDAL_NAMESPACES=tidal-0,tidal-1,tidal-2 ip netns exec tidal-0 "$@"
