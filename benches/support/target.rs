//! Where results are kept.

use std::{
    env,
    path::{Path, PathBuf},
};

/// The build's target folder, in which this program lies.
pub fn target_folder() -> PathBuf {
    let program = env::current_exe().expect("the program's path");
    let deps = program.parent().filter(|folder| folder.ends_with("deps"));
    let profile = deps.and_then(Path::parent);
    profile
        .and_then(Path::parent)
        .map_or_else(|| PathBuf::from("target"), Path::to_owned)
}
