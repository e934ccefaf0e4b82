"""The crates of Cargo.lock as repositories, without a generator.

Whoever has these crates already replaces `actix_responses_crates` by their own hub,
and then none of the repositories here is fetched:

    actix_responses = use_extension("@actix_responses//third_party/crates:extensions.bzl", "crates")
    override_repo(actix_responses, actix_responses_crates = "crates")
"""

load("@bazel_tools//tools/build_defs/repo:http.bzl", "http_archive")
load("//third_party/crates/build:crates.bzl", "CRATES")

def _hub_impl(repository_ctx):
    repository_ctx.file("BUILD.bazel", repository_ctx.read(repository_ctx.attr.build_file))

_hub = repository_rule(
    implementation = _hub_impl,
    attrs = {"build_file": attr.label(mandatory = True)},
)

def crate_repositories():
    """One repository for each crate, and `actix_responses_crates` with the names of those that Cargo.toml names."""
    for (name, version), sha256 in CRATES.items():
        http_archive(
            # A name of a repository has no `+`.
            name = "actix_responses_crates__{}-{}".format(name, version.replace("+", "-")),
            build_file = Label("//third_party/crates/build:BUILD.{}-{}.bazel".format(name, version)),
            sha256 = sha256,
            strip_prefix = "{}-{}".format(name, version),
            type = "tar.gz",
            urls = ["https://static.crates.io/crates/{0}/{0}-{1}.crate".format(name, version)],
        )
    _hub(
        name = "actix_responses_crates",
        build_file = Label("//third_party/crates/build:BUILD.hub.bazel"),
    )

def _crates_impl(_):
    crate_repositories()

crates = module_extension(implementation = _crates_impl)
