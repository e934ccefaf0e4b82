//! The properties that the fuzz targets check, and a count of what is allocated.

pub mod memory;
/// They lie with the tests, which check them too, with the inputs that once broke one.
#[path = "../../tests/fuzz_regressions/properties.rs"]
pub mod properties;
