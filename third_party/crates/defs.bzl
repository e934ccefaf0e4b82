"""Features and crates of Cargo.toml, as attributes of targets."""

load("@bazel_skylib//lib:selects.bzl", "selects")
load("@bazel_skylib//rules:common_settings.bzl", "bool_flag")
load("@rules_rust//rust:defs.bzl", "rust_binary", "rust_test")
load(":cargo.bzl", "CRATES", "DEV_CRATES", "EDITION", "FEATURES", "FEATURE_CRATES", "REQUIRED_FEATURES", "UNIX_CRATES", "VERSION")

# The features that change the library. The others are of the command.
LIBRARY_FEATURES = [
    "loopback",
    "metrics",
    "redis",
    "relay",
    "runtime",
    "test-util",
    "toml",
    "zstd",
]

_INCOMPATIBLE = ["@platforms//:incompatible"]

def _with(feature, name = None):
    return "//:with_{}{}".format(feature, "_on_unix" if name in UNIX_CRATES else "")

def feature_flags():
    """`--@actix_responses//:FEATURE=false` for each feature of the library; all are there by default."""
    for feature in LIBRARY_FEATURES:
        bool_flag(
            name = feature,
            build_setting_default = True,
            visibility = ["//visibility:public"],
        )
        native.config_setting(
            name = "with_" + feature,
            # Without a feature that it needs there is none.
            flag_values = {":" + needed: "true" for needed in FEATURES[feature]},
        )
        selects.config_setting_group(
            name = "with_{}_on_unix".format(feature),
            match_all = [
                ":with_" + feature,
                "//third_party/crates/platforms:unix",
            ],
        )

def library_features():
    """Those of the library that the flags leave."""
    chosen = []
    for feature in LIBRARY_FEATURES:
        chosen += select({
            _with(feature): [feature],
            "//conditions:default": [],
        })
    return chosen

def _label(name):
    return "@actix_responses_crates//:" + name

def library_crates():
    """What the library needs with these features."""
    chosen = [_label(name) for name in CRATES]
    optional = {name: True for feature in LIBRARY_FEATURES for name in FEATURE_CRATES[feature]}
    for name in sorted(optional):
        chosen += select({
            _with(feature, name): [_label(name)]
            for feature in LIBRARY_FEATURES
            if name in FEATURE_CRATES[feature]
        } | {"//conditions:default": []})
    return chosen

def crates(*lists):
    """Labels of the crates in any of these lists."""
    names = {name: True for names in lists for name in names}
    chosen = [_label(name) for name in sorted(names) if name not in UNIX_CRATES]
    for name in sorted(names):
        if name in UNIX_CRATES:
            chosen += select({
                "//third_party/crates/platforms:unix": [_label(name)],
                "//conditions:default": [],
            })
    return chosen

def needs(features):
    """For targets that are left out, as with Cargo, where the library is built without one of these features."""
    compatible = []
    for feature in LIBRARY_FEATURES:
        if feature in [needed for name in features for needed in FEATURES[name]]:
            compatible += select({
                _with(feature): [],
                "//conditions:default": _INCOMPATIBLE,
            })
    return compatible

# Of the command, tests and examples, which are built with all features or not at all.
CARGO = {
    "crate_features": FEATURES["default"],
    "edition": EDITION,
    "version": VERSION,
}

def cargo_binary(name, deps = [], **kwargs):
    """A program of Cargo.toml's."""
    rust_binary(
        name = name,
        target_compatible_with = needs(["default"]),
        deps = crates(CRATES, FEATURE_CRATES["default"], DEV_CRATES if kwargs.get("testonly") else []) + deps + ["//:actix_responses"],
        **(CARGO | kwargs)
    )

def cargo_test(name, deps = None, **kwargs):
    """A test or an example of Cargo.toml's. It takes seconds, and several times that on a busy machine."""
    if deps == None:
        deps = crates(CRATES, FEATURE_CRATES["default"], DEV_CRATES) + ["//:actix_responses"]
    rust_test(
        name = name,
        size = "small",
        timeout = "moderate",
        target_compatible_with = needs(["default"]),
        deps = deps,
        **(CARGO | kwargs)
    )

def runs_command(test):
    """Whether Cargo leaves this test out without the command."""
    return "cli" in REQUIRED_FEATURES.get(test, [])
