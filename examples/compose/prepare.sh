#!/usr/bin/env bash
# Makes what the services keep from each other, in the folder `secrets`: a password of Redis and its user, and one client's token.
set -euo pipefail
umask 077
folder=${1:-$(dirname "${BASH_SOURCE[0]}")/secrets}
mkdir -p "$folder" && cd "$folder"
random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

password=$(random)
# What the store asks of Redis, and nothing else; below the prefix of its keys.
commands="+auth +hello +ping +select +info +time +get +set +del +pexpire +hget +hset +hmget +sadd
  +smembers +zadd +zrange +zrem +zremrangebyrank +xadd +xlen +xtrim +xrange +xread +eval +evalsha +script|load"
printf 'user default off\nuser relay on >%s ~{responses}:* -@all %s\n' "$password" "$(xargs <<<"$commands")" >users.acl
printf 'redis://relay:%s@redis\n' "$password" >store-url

token=$(random)
printf '%s\n' "$token" >token
printf 'me %s\n' "$(printf %s "$token" | sha256sum | cut -d ' ' -f 1)" >tokens
# The services run as users of their own.
chmod 644 users.acl store-url tokens
