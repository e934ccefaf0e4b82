#!/usr/bin/env bash
# Brings nginx for the benchmark `relay`: Debian's package, unpacked into the target folder. Nothing is installed or started.
#
#   benches/relay/nginx.sh [TARGET_FOLDER]
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
target=${1:-${CARGO_TARGET_DIR:-$root/target}}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
(cd "$work" && apt-get download nginx)
rm -rf "$target/nginx"
mkdir -p "$target/nginx"
dpkg-deb --extract "$work"/nginx_*.deb "$target/nginx"
"$target/nginx/usr/sbin/nginx" -v
