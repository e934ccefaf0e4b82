#!/usr/bin/env bash
# Brings an amd64 Debian 12 (bookworm) machine with Rust to a working `bazel` 7
# command, from Debian's own packages alone.
#
# Debian 12 has no Bazel newer than 4.2, and the Bazel of Debian testing needs
# the libc, the JVM and the Java libraries of testing. So its packages are
# unpacked, not installed, into a prefix of their own, and the few ELF programs
# that run on this machine are pointed at the prefix's ld.so and libraries.
# Nothing outside the prefix changes but the wrapper, and patchelf, unzip and
# zip are installed when they are missing. What Bazel builds still uses this
# machine's compilers.
#
# The rc file that it writes makes Bazel work without a network: the modules
# that Debian packages serve in place of the registry's, the machine's own Rust
# serves as the toolchain, and crates come from a repository cache that
# prime-crates.sh fills from what Cargo has fetched. Bazel downloads nothing
# itself, and the project needs no flag of its own for any of this.
#
# A second run with the same script, suite and Rust does nothing.
#
# Environment:
#   BAZEL_PREFIX   where to unpack           (default /opt/bazel7)
#   BAZEL_BIN      the wrapper to write      (default /usr/local/bin/bazel)
#   BAZEL_SUITE    the Debian suite to use   (default forky)
#   BAZEL_MIRROR   the Debian mirror         (default: the one that this machine's apt uses)
set -euo pipefail

prefix=${BAZEL_PREFIX:-/opt/bazel7}
bin=${BAZEL_BIN:-/usr/local/bin/bazel}
suite=${BAZEL_SUITE:-forky}
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
triple=x86_64-unknown-linux-gnu
multiarch=x86_64-linux-gnu

fail() {
  echo "install.sh: $*" >&2
  exit 1
}

[[ $(uname -sm) == "Linux x86_64" ]] || fail "only for Linux on x86_64; elsewhere use bazelisk"
command -v cargo >/dev/null && command -v rustc >/dev/null || fail "no cargo and rustc; install Rust first"
sysroot=$(rustc --print sysroot)

# The packages to unpack; apt adds what these depend on.
wanted=(bazel-bootstrap bazel-rules-rust bazel-rules-shell openjdk-25-jre-headless)
# What those depend on and the prefix does without: the machine's own compilers
# serve, a JRE is enough for the server, and the offline docs need no scripts.
assumed=(
  build-essential ca-certificates-java default-jdk-headless default-jre-headless
  default-jre java-common libjs-jquery node-core-js node-html5shiv
  protobuf-compiler-grpc-java-plugin python3 unzip util-linux zlib1g-dev
)

stamp=$prefix/.installed
started=$SECONDS
progress() { echo "install.sh: $* ($((SECONDS - started)) s)"; }

state="$(sha256sum <"${BASH_SOURCE[0]}" | cut -d ' ' -f 1) $suite $sysroot $bin"
if [[ -x $bin && -f $stamp && $(head -n 1 "$stamp") == "$state" ]]; then
  echo "bazel is installed in $prefix already"
  exit 0
fi

missing=()
for program in patchelf unzip zip; do
  command -v "$program" >/dev/null || missing+=("$program")
done
if ((${#missing[@]})); then
  apt-get -qq update
  DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "${missing[@]}"
fi

# The first archive that apt here is set up with, security updates aside.
mirror=${BAZEL_MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v security | head -n 1)}
[[ -n $mirror ]] || fail "no Debian mirror found in apt's sources; set BAZEL_MIRROR"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# --- The packages -----------------------------------------------------------

# An apt of its own, which believes only the assumed packages to be installed.
mkdir -p "$work"/{lists/partial,cache/archives/partial}
echo "deb [signed-by=$keyring] $mirror $suite main" >"$work/sources.list"
for package in "${assumed[@]}"; do
  printf '%s\n' "Package: $package" 'Status: install ok installed' 'Architecture: all' \
    'Multi-Arch: foreign' 'Version: 99:99' 'Maintainer: none <none@localhost>' 'Description: assumed' ''
done >"$work/status"
cat >"$work/apt.conf" <<CONF
Dir::Etc::sourcelist "$work/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::State "$work";
Dir::State::lists "$work/lists";
Dir::State::status "$work/status";
Dir::Cache "$work/cache";
Dir::Cache::archives "$work/cache/archives";
APT::Architecture "amd64";
APT::Install-Recommends "false";
APT::Sandbox::User "root";
APT::Get::Assume-Yes "true";
Acquire::Languages "none";
Acquire::Retries "3";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::IndexTargets::deb::DEP-11-icons-small::DefaultEnabled "false";
Acquire::IndexTargets::deb::DEP-11-icons::DefaultEnabled "false";
CONF
progress "downloading ${wanted[*]}, and what they need, of Debian $suite"
APT_CONFIG=$work/apt.conf apt-get -qq update
APT_CONFIG=$work/apt.conf apt-get -qq --download-only install "${wanted[@]}"

progress "unpacking into $prefix"
# An old server would keep the old files open; crates that were primed are kept.
if [[ -x $bin && -d $prefix ]]; then "$bin" shutdown >/dev/null 2>&1 || true; fi
if [[ -d $prefix/repository_cache ]]; then mv "$prefix/repository_cache" "$work/"; fi
rm -rf "$prefix"
mkdir -p "$prefix"
if [[ -d $work/repository_cache ]]; then mv "$work/repository_cache" "$prefix/"; fi
for deb in "$work"/cache/archives/*.deb; do
  dpkg-deb --fsys-tarfile "$deb" |
    tar -x -C "$prefix" --exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' \
      --exclude='./usr/share/locale/*' --no-same-owner
done

# A usrmerged tree, as dpkg would leave it.
for dir in bin sbin lib lib64; do
  if [[ -d $prefix/$dir && ! -L $prefix/$dir ]]; then
    mkdir -p "$prefix/usr/$dir"
    cp -a "$prefix/$dir/." "$prefix/usr/$dir/"
    rm -rf "${prefix:?}/$dir"
  fi
done

share=$prefix/usr/share/bazel
libdir=$prefix/usr/lib/$multiarch
java_home=$(dirname "$(dirname "$(find "$prefix/usr/lib/jvm" -path '*/bin/java' -type f | head -n 1)")")
loader=$(find "$prefix/usr/lib64" "$libdir" -name 'ld-linux-x86-64.so.2' 2>/dev/null | head -n 1)
[[ -n $loader ]] || fail "no ld.so in $prefix"
for program in "$prefix/usr/bin/bazel" "$prefix/usr/libexec/$multiarch/bazel"/* \
  "$java_home/bin/java" "$java_home/lib/jspawnhelper"; do
  patchelf --set-interpreter "$loader" --force-rpath \
    --set-rpath "$java_home/lib:$java_home/lib/server:$libdir" "$program"
done

# Absolute links of the packages (/usr/..., /etc/...) become links in the prefix.
find "$prefix" -type l -lname '/*' -printf '%p\t%l\n' |
  while IFS=$'\t' read -r link target; do
    if [[ -e $prefix$target || -L $prefix$target ]]; then ln -sfn "$prefix$target" "$link"; fi
  done

# The server's class path names its jars by absolute path, and so do the
# manifests of those jars: list all of them, in the prefix, and drop the
# manifests' own lists, which would bring in jars of this machine.
classpath=$share/bazel_classpath_debian_depends.txt
read -r -d '' -a queue <"$classpath" || true
declare -A listed=()
jars=()
mkdir -p "$work/jar/META-INF"
for ((next = 0; next < ${#queue[@]}; next++)); do # the queue grows as manifests name more
  jar=$(realpath -m "$prefix${queue[next]}")
  [[ -f $jar && -z ${listed[$jar]:-} ]] || continue
  listed[$jar]=1
  jars+=("$jar")
  unzip -p "$jar" META-INF/MANIFEST.MF >"$work/manifest" 2>/dev/null || continue
  # A long line goes on in the next, after a blank.
  sed -e 's/\r$//' -e ':joined' -e '$!N' -e 's/\r\?\n //' -e 'tjoined' -e 'P' -e 'D' "$work/manifest" >"$work/manifest.joined"
  named=$(sed -n 's/^Class-Path: *//p' "$work/manifest.joined")
  [[ -n $named ]] || continue
  for name in $named; do
    [[ $name == /* ]] && queue+=("$name") || queue+=("/usr/share/java/$name")
  done
  # A line of a manifest is at most 72 bytes; those that matter are shorter.
  grep -v '^Class-Path:' "$work/manifest.joined" | tr -d '\r' | awk 'length < 72' | sed 's/$/\r/' >"$work/jar/META-INF/MANIFEST.MF"
  (cd "$work/jar" && zip -q -X "$jar" META-INF/MANIFEST.MF)
done
printf '%s\n' "${jars[@]}" >"$classpath"

# --- What takes the place of downloads --------------------------------------

local=$prefix/local
# Debian's build does not say which release it is, so rules that ask get "".
mkdir -p "$local/classes"
echo "build.label=$(cat "$share/build-label.txt")" >"$local/classes/build-data.properties"
echo "$local/classes" >>"$classpath"

# What the module graphs of rules_rust and of Bazel name but a Rust build never
# loads: empty modules.
stubs=(apple_support aspect_rules_js buildozer protobuf zlib)
for module in "${stubs[@]}"; do
  mkdir -p "$local/$module"
  printf 'module(name = "%s")\n' "$module" >"$local/$module/MODULE.bazel"
  touch "$local/$module/BUILD.bazel" "$local/$module/WORKSPACE"
done
# An override of a module that is not in the graph is an error, and
# apple_support is always in it, by way of Bazel's own module: so it brings in
# the rest.
for module in aspect_rules_js host_rust rules_rust rules_shell; do
  printf 'bazel_dep(name = "%s", version = "0")\n' "$module" >>"$local/apple_support/MODULE.bazel"
done

# `bazel mod graph` loads this; `bazel mod tidy` runs the program.
cat >"$local/buildozer/buildozer_binary.bzl" <<'BZL'
def _program_impl(repository_ctx):
    repository_ctx.file("BUILD.bazel", "exports_files([\"buildozer.exe\"])\n")
    repository_ctx.file("buildozer.exe", "#!/bin/sh\necho 'bazel mod tidy needs buildozer, which no Debian package has' >&2\nexit 1\n")

_program = repository_rule(implementation = _program_impl)

def _buildozer_binary_impl(_):
    _program(name = "buildozer_binary")

buildozer_binary = module_extension(implementation = _buildozer_binary_impl)
BZL

# The one crate that rules_rust itself needs, from Debian's package of it.
mkdir -p "$local/tinyjson"
ln -sfn "$(find "$prefix/usr/share/cargo/registry" -maxdepth 1 -name 'tinyjson-*' | head -n 1)/src" "$local/tinyjson/src"
touch "$local/tinyjson/WORKSPACE"
cat >"$local/tinyjson/BUILD.bazel" <<'BUILD'
# buildifier: disable=bzl-visibility
load("@rules_rust//rust/private:rust.bzl", "rust_library_without_process_wrapper")

rust_library_without_process_wrapper(
    name = "tinyjson",
    srcs = glob(["src/**/*.rs"]),
    edition = "2018",
    visibility = ["//visibility:public"],
)
BUILD

# Newer releases of rules_rust have the crate extension under this name.
universe=$share/rules/rust/crate_universe
if [[ ! -e $universe/extensions.bzl ]]; then
  cat >"$universe/extensions.bzl" <<'BZL'
"""The name that newer releases of rules_rust have for :extension.bzl."""

load(":extension.bzl", _crate = "crate")

crate = _crate
BZL
fi

# The generator behind that extension, from the sources in Debian's package.
progress "compiling the generator of rules_rust, the longest part"
CARGO_PROFILE_DEV_DEBUG=0 CARGO_TARGET_DIR=$work/target \
  cargo build --quiet --locked --bin cargo-bazel --manifest-path "$universe/Cargo.toml"
generator=$prefix/usr/bin/cargo-bazel
install -D "$work/target/debug/cargo-bazel" "$generator"
generator_sum=$(sha256sum "$generator" | cut -d ' ' -f 1)
install -D "$generator" "$prefix/repository_cache/content_addressable/sha256/$generator_sum/file"

# The machine's own Rust toolchain, as a repository.
mkdir -p "$local/host_rust"
ln -sfn "$sysroot/bin" "$local/host_rust/bin"
ln -sfn "$sysroot/lib" "$local/host_rust/lib"
touch "$local/host_rust/WORKSPACE"
cat >"$local/host_rust/MODULE.bazel" <<'MODULE'
module(name = "host_rust")

bazel_dep(name = "platforms", version = "0")
bazel_dep(name = "rules_rust", version = "0")
MODULE
cat >"$local/host_rust/BUILD.bazel" <<BUILD
load("@rules_rust//rust:toolchain.bzl", "rust_stdlib_filegroup", "rust_toolchain", "rustfmt_toolchain")

TRIPLE = "$triple"

CONSTRAINTS = [
    "@platforms//cpu:x86_64",
    "@platforms//os:linux",
]

rust_stdlib_filegroup(
    name = "rust_std",
    srcs = glob(
        [
            "lib/rustlib/" + TRIPLE + "/lib/*.rlib",
            "lib/rustlib/" + TRIPLE + "/lib/*.rmeta",
            "lib/rustlib/" + TRIPLE + "/lib/*.so",
            "lib/rustlib/" + TRIPLE + "/lib/*.a",
            "lib/rustlib/" + TRIPLE + "/lib/self-contained/**",
        ],
        allow_empty = True,
    ),
)

filegroup(
    name = "rustc_lib",
    srcs = glob(
        [
            "lib/*.so*",
            "lib/rustlib/" + TRIPLE + "/bin/**",
            "lib/rustlib/" + TRIPLE + "/codegen-backends/*",
            "lib/rustlib/" + TRIPLE + "/lib/*.so",
        ],
        allow_empty = True,
    ),
)

rust_toolchain(
    name = "rust_toolchain",
    binary_ext = "",
    cargo = "bin/cargo",
    cargo_clippy = "bin/cargo-clippy",
    clippy_driver = "bin/clippy-driver",
    default_edition = "2021",
    dylib_ext = ".so",
    exec_triple = TRIPLE,
    rust_doc = "bin/rustdoc",
    rust_std = ":rust_std",
    rustc = "bin/rustc",
    rustc_lib = ":rustc_lib",
    rustfmt = "bin/rustfmt",
    staticlib_ext = ".a",
    stdlib_linkflags = [
        "-ldl",
        "-lpthread",
    ],
    target_triple = TRIPLE,
    visibility = ["//visibility:public"],
)

toolchain(
    name = "rust",
    exec_compatible_with = CONSTRAINTS,
    target_compatible_with = CONSTRAINTS,
    toolchain = ":rust_toolchain",
    toolchain_type = "@rules_rust//rust:toolchain_type",
)

rustfmt_toolchain(
    name = "rustfmt_toolchain",
    rustc = "bin/rustc",
    rustc_lib = ":rustc_lib",
    rustfmt = "bin/rustfmt",
    visibility = ["//visibility:public"],
)

toolchain(
    name = "rustfmt",
    exec_compatible_with = CONSTRAINTS,
    toolchain = ":rustfmt_toolchain",
    toolchain_type = "@rules_rust//rust/rustfmt:toolchain_type",
)
BUILD

# --- The command ------------------------------------------------------------

# The rc file that the wrapper uses in place of the package's /etc/bazel/bazelrc.
# Flags of an rc file named on the command line win over a workspace's .bazelrc.
modules=(
  bazel_features=tools/features bazel_skylib=tools/skylib platforms=tools/platforms
  rules_cc=rules/cc rules_java=rules/java rules_license=rules/license rules_proto=rules/proto
  rules_python=rules/python rules_rust=rules/rust rules_shell=rules/shell
)
{
  cat <<RC
startup --install_base=$share
startup --trust_install_base
startup --server_javabase=$java_home

common --repository_disable_download
common --repository_cache=$prefix/repository_cache
common --repo_env=BAZEL_HTTP_RULES_URLS_AS_DEFAULT_CANONICAL_ID=0
common --repo_env=CARGO_BAZEL_GENERATOR_URL=file://$generator
common --repo_env=CARGO_BAZEL_GENERATOR_SHA256=$generator_sum
common --lockfile_mode=off
build --linkopt=-fuse-ld=bfd --host_linkopt=-fuse-ld=bfd
build --extra_toolchains=@@host_rust~//:rust,@@host_rust~//:rustfmt

common --noenable_workspace
RC
  for module in "${modules[@]}"; do echo "common --override_module=${module%%=*}=$share/${module#*=}"; done
  for module in host_rust "${stubs[@]}"; do echo "common --override_module=$module=$local/$module"; done
  echo "common --override_repository=rules_rust~~i~rules_rust_tinyjson=$local/tinyjson"
  echo "common --override_repository=rules_rust~~rust_host_tools~rust_host_tools=$local/host_rust"

  # --config=workspace: the same without MODULE.bazel.
  echo
  echo "common:workspace --noenable_bzlmod --enable_workspace"
  echo "common:workspace --repo_env=CARGO_BAZEL_ISOLATED=false"
  for module in "${modules[@]}"; do echo "common:workspace --override_repository=${module%%=*}=$share/${module#*=}"; done
  for repository in rules_java_builtin=$share/rules/java build_bazel_apple_support=$local/apple_support \
    com_google_protobuf=$local/protobuf rules_rust_tinyjson=$local/tinyjson host_rust~=$local/host_rust \
    "rust_linux_x86_64__${triple}__stable_tools=$local/host_rust"; do
    echo "common:workspace --override_repository=$repository"
  done
  echo
  echo "try-import /etc/bazel.bazelrc"
} >"$prefix/bazelrc"

mkdir -p "$(dirname "$bin")"
cat >"$bin" <<WRAP
#!/bin/sh
exec $prefix/usr/bin/bazel --nosystem_rc --bazelrc=$prefix/bazelrc "\$@"
WRAP
chmod 755 "$bin"

{
  echo "$state"
  (cd "$work/cache/archives" && printf '%s\n' *.deb)
} >"$stamp"
progress "done: $("$bin" --version)"
