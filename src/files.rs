//! Files: reading those that settings name, whole and never more than a limit, writing their bytes as text, and running out of those
//! that may be open.

use std::{
    fs::File,
    io::{self, Error, ErrorKind, Read},
    path::Path,
};

/// Reads a file of at most so many bytes.
///
/// # Errors
/// What the system says, or that the file is longer; neither names the file.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    // What has no length of its own, such as a pipe, has 0.
    check_length(file.metadata()?.len(), limit)?;
    read_all(file, limit)
}

/// The same of a file that holds text.
///
/// # Errors
/// As for [`read`], and when it is not UTF-8.
pub fn read_text(path: &Path, limit: u64) -> io::Result<String> {
    text(read(path, limit)?)
}

/// Reads to the end, which must come within so many bytes.
///
/// # Errors
/// As for [`read`].
pub fn read_all(reader: impl Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)?;
    check_length(bytes.len() as u64, limit)?;
    Ok(bytes)
}

/// Takes bytes for UTF-8.
///
/// # Errors
/// When they are not; it says where.
pub fn text(bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes).map_err(|error| {
        let place = error.utf8_error().valid_up_to();
        let message = format!("it is not UTF-8 text: see byte {place}");
        Error::new(ErrorKind::InvalidData, message)
    })
}

fn check_length(length: u64, limit: u64) -> io::Result<()> {
    if length <= limit {
        return Ok(());
    }
    let limit = match limit >> 20 {
        0 => format!("{limit} bytes"),
        mebibytes => format!("{mebibytes} MiB"),
    };
    let message =
        format!("it has more than {limit}, the most that is read of it: give a shorter one");
    Err(Error::new(ErrorKind::FileTooLarge, message))
}

/// Base64 with padding (RFC 4648, section 4).
pub fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let mut padded = [0; 3];
        padded[..group.len()].copy_from_slice(group);
        let bits = u32::from_be_bytes([0, padded[0], padded[1], padded[2]]);
        for place in 0..4 {
            let index = (bits >> (18 - 6 * place)) & 0x3f;
            let used = place <= group.len();
            text.push(if used {
                char::from(ALPHABET[index as usize])
            } else {
                '='
            });
        }
    }
    text
}

/// What this machine has too little of, files above all, if that is what an error of the system is about.
#[cfg(unix)]
pub fn local_limit(error: &Error) -> Option<String> {
    use rustix::{
        io::Errno,
        process::{Resource, getrlimit},
    };
    match Errno::from_io_error(error)? {
        Errno::MFILE => Some(match getrlimit(Resource::Nofile).current {
            Some(limit) => format!("too many open files (limit {limit})"),
            None => "too many open files".to_owned(),
        }),
        Errno::NFILE => Some("too many open files on this machine".to_owned()),
        Errno::NOBUFS => Some("no buffer of the kernel is free".to_owned()),
        _ => None,
    }
}

/// The same, where there is no such limit.
#[cfg(not(unix))]
pub fn local_limit(_: &Error) -> Option<String> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_longer_than_its_limit_is_refused() {
        assert_eq!(read_all(&b"four"[..], 4).unwrap(), b"four");
        for (error, said) in [
            (read_all(&b"five!"[..], 4).unwrap_err(), "more than 4 bytes"),
            (
                read_all(io::repeat(0), 1 << 20).unwrap_err(),
                "more than 1 MiB",
            ),
        ] {
            assert_eq!(error.kind(), ErrorKind::FileTooLarge);
            assert!(error.to_string().contains(said), "{error}");
        }
        let error = text(b"a\xff".to_vec()).unwrap_err();
        assert!(error.to_string().contains("see byte 1"), "{error}");
    }

    #[test]
    fn base64_matches_the_vectors_of_its_standard() {
        for (text, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(text.as_bytes()), encoded);
        }
    }
}
