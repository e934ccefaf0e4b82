//! The guide's page on axum, compiled and run. It is a package of its own for the sake of its dependencies, all of which are those of a
//! test: so building the workspace builds none of it.

#[cfg(test)]
mod service;
#[cfg(test)]
mod tests;
