#!/usr/bin/env bash
# What tests/bazel.sh does with the rules_rust of Debian's packages, with another release's sources: those in DIR, a checkout
# of github.com/bazelbuild/rules_rust at a release's tag. They are copied, and go into no commit.
#
#   tests/bazel_today.sh DIR
#
# Environment:
#   BAZEL_DISK_CACHE, BAZEL_JOBS   as for tests/bazel.sh
#   BAZEL_TODAY_TARGET             Cargo's target folder for the release's generator   (default: a temporary one)
#   BAZEL_TODAY_ROOT               no: leave out this repository's own tests
set -euo pipefail
sources=$(realpath "$1")
cd "$(dirname "${BASH_SOURCE[0]}")/.."
prefix=${BAZEL_PREFIX:-/opt/bazel7}
# Not in /tmp, which is empty in Bazel's sandbox.
caches=${XDG_CACHE_HOME:-$HOME/.cache}
mkdir -p "$caches"
work=$(mktemp -d -p "$caches")

finish() {
  [[ ! -d $work/base ]] || bazel --output_base="$work/base" clean --expunge >/dev/null 2>&1
  chmod -R u+w "$work"
  rm -rf "$work"
}
trap finish EXIT

cp -RL "$sources" "$work/rules_rust"
# Checksums of compilers, of which this downloads none. A copy of the sources may lack the file for its size.
shas=$work/rules_rust/rust/private/known_shas.bzl
[[ -e $shas ]] || echo 'FILE_KEY_TO_SHA = {}' >"$shas"

# What a newer release needs of modules that the registry would serve newer as well: of apple_support, which install.sh has left
# empty, what rules_rust loads, and constraints of platforms that nothing is built for.
cp -RL "$prefix/local/apple_support" "$prefix/usr/share/bazel/tools/platforms" "$work/"
mkdir -p "$work/apple_support"/{constraints,lib}
touch "$work/apple_support/lib/BUILD.bazel"
cat >"$work/apple_support/constraints/BUILD.bazel" <<'BUILD'
package(default_visibility = ["//visibility:public"])

constraint_setting(name = "target_environment")

[
    constraint_value(
        name = name,
        constraint_setting = ":target_environment",
    )
    for name in [
        "catalyst",
        "device",
        "simulator",
    ]
]
BUILD
cat >"$work/apple_support/lib/apple_support.bzl" <<'BZL'
"""What rules_rust asks of apple_support where nothing is built for Apple."""

apple_support = struct(path_placeholders = struct(
    sdkroot = lambda: "__BAZEL_XCODE_SDKROOT__",
    xcode = lambda: "__BAZEL_XCODE_DEVELOPER_DIR__",
))
BZL
chmod -R u+w "$work/platforms"
for kind in cpu=_CPU_ARCH_TO_BUILTIN_PLAT_SUFFIX os=_SYSTEM_TO_BUILTIN_SYS_SUFFIX; do
  setting=${kind%%=*} file=$work/platforms/${kind%%=*}/BUILD
  for name in $(sed -n "/^${kind#*=} = {/,/^}/s/.*: \"\(.*\)\".*/\1/p" "$work/rules_rust/rust/platform/triple_mappings.bzl" | sort -u); do
    grep -q "name = \"$name\"" "$file" ||
      printf '\nconstraint_value(\n    name = "%s",\n    constraint_setting = ":%s",\n)\n' "$name" "$setting" >>"$file"
  done
done

# The release's generator, which a monorepo with a hub of its own runs; ours needs none.
target=${BAZEL_TODAY_TARGET:-$work/target}
echo "bazel_today.sh: building cargo-bazel of $(sed -n 's/^VERSION = "\(.*\)"/rules_rust \1/p' "$work/rules_rust/version.bzl")"
CARGO_PROFILE_DEV_DEBUG=0 CARGO_TARGET_DIR=$target \
  cargo build --quiet --locked --bin cargo-bazel --manifest-path "$work/rules_rust/crate_universe/Cargo.toml"
generator=$target/debug/cargo-bazel
sum=$(sha256sum "$generator" | cut -d ' ' -f 1)
install -D "$generator" "$prefix/repository_cache/content_addressable/sha256/$sum/file"
for way in our_crates one_hub; do third_party/bazel/prime-crates.sh "tests/monorepo/$way"; done
third_party/bazel/prime-crates.sh .
# The crates of a program of its own, which is in every build of a hub of its generator's.
cp "$work/rules_rust/cargo/3rdparty/Cargo.Bazel.lock" "$work/rules_rust/cargo/Cargo.lock"
third_party/bazel/prime-crates.sh "$work/rules_rust/cargo"

flags=(
  "--override_module=rules_rust=$work/rules_rust" "--override_module=apple_support=$work/apple_support"
  "--override_module=platforms=$work/platforms"
  "--repo_env=CARGO_BAZEL_GENERATOR_URL=file://$generator" "--repo_env=CARGO_BAZEL_GENERATOR_SHA256=$sum"
  "--disk_cache=${BAZEL_DISK_CACHE:-$caches/actix-responses-bazel}" --noshow_progress
)
[[ -z ${BAZEL_JOBS:-} ]] || flags+=("--jobs=$BAZEL_JOBS")
tests/monorepo.sh "${flags[@]}"
if [[ ${BAZEL_TODAY_ROOT:-yes} != no ]]; then
  bazel --output_base="$work/base" test "${flags[@]}" --symlink_prefix=/ //...
fi
echo "bazel_today.sh: $SECONDS s in all"
