//! JSON as text: walked over, taken apart, unescaped, and read where servers get it nearly right.

pub(crate) mod escapes;
pub(crate) mod excerpt;
pub(crate) mod hashing;
pub(crate) mod lenient;
pub(crate) mod members;
pub(crate) mod tree;
pub(crate) mod walk;
