//! Blocks, however the bytes are cut.
