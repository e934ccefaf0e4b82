//! What is measured without criterion: one JSON file each, beside criterion's.

use std::{env, fs};

use serde_json::Value;

use super::target::target_folder;

/// Keeps a result for the report, and shows it.
pub fn write(name: &str, record: &Value) {
    let folder = target_folder().join("bench-records");
    fs::create_dir_all(&folder).expect("a folder for the records");
    fs::write(folder.join(format!("{name}.json")), record.to_string()).expect("a record");
    println!("{name:<50} {record}");
}

/// Whether the command line asks for what goes by this name: it names a part of it, or nothing at all.
pub fn is_wanted(name: &str) -> bool {
    let mut filters = env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with('-'))
        .peekable();
    filters.peek().is_none()
        || filters.any(|filter| name.contains(&filter) || filter.contains(name))
}

/// Whether everything is only tried once, as `cargo test --benches` does.
pub fn is_trial() -> bool {
    !env::args().any(|arg| arg == "--bench") || env::args().any(|arg| arg == "--test")
}
