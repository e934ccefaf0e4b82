//! Files that a question is about, as parts of its message.

use std::path::{Path, PathBuf};

use actix_responses::{
    files::{self, base64},
    protocol::{ContentPart, item::InputFilePart},
};

use super::{files::unreadable, harmless::printable, usage_error::UsageError};

/// The most that all of them may have: servers take some 50 MB, and base64 makes a third more of it.
const MAX_BYTES: u64 = 32 << 20;
const PDF: &str = "application/pdf";
/// What a file may be beside text: how it begins, what that is called, and how such a file's name ends.
const KINDS: [(&[u8], &str, &[&str]); 6] = [
    (b"\x89PNG\r\n\x1a\n", "image/png", &["png"]),
    (b"\xff\xd8\xff", "image/jpeg", &["jpg", "jpeg"]),
    (b"GIF87a", "image/gif", &["gif"]),
    (b"GIF89a", "image/gif", &["gif"]),
    (b"RIFF", "image/webp", &["webp"]),
    (b"%PDF-", PDF, &["pdf"]),
];

/// Reads the files that `-f` names.
pub(super) fn parts(paths: &[PathBuf]) -> Result<Vec<ContentPart>, UsageError> {
    let mut left = MAX_BYTES;
    let mut parts = Vec::with_capacity(paths.len());
    for path in paths {
        let called = format!("-f {}", path.display());
        let bytes = files::read(path, MAX_BYTES).map_err(|error| unreadable(&called, &error))?;
        left = left.checked_sub(bytes.len() as u64).ok_or_else(|| {
            UsageError::new(format!(
                "-f: the files have more than {} MiB together, the most that is sent: leave some out",
                MAX_BYTES >> 20
            ))
        })?;
        let part = part(path, bytes).map_err(|wrong| UsageError::new(format!("{called} {wrong}")));
        parts.push(part?);
    }
    Ok(parts)
}

fn part(path: &Path, bytes: Vec<u8>) -> Result<ContentPart, String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = printable(&name);
    if let Some(kind) = kind(&bytes) {
        let url = format!("data:{kind};base64,{}", base64(&bytes));
        if kind != PDF {
            return Ok(ContentPart::input_image(url));
        }
        let mut file = InputFilePart::new();
        file.filename = Some(name);
        file.file_data = Some(url);
        return Ok(ContentPart::InputFile(file));
    }
    let ending = path.extension().unwrap_or_default().to_string_lossy();
    let ending = ending.to_ascii_lowercase();
    if let Some((_, kind, _)) = KINDS
        .iter()
        .find(|(_, _, endings)| endings.contains(&&*ending))
    {
        return Err(format!(
            "is called .{ending}, but what is in it is no {kind}"
        ));
    }
    match String::from_utf8(bytes) {
        Ok(text) if text.trim().is_empty() => Err("is empty: there is nothing to ask about".into()),
        // The name stands in the text, for a text has no other place for one.
        Ok(text) if !text.contains('\0') => Ok(ContentPart::input_text(format!(
            "<file name=\"{}\">\n{}\n</file>",
            name.replace('"', "'"),
            text.trim_end_matches(['\r', '\n'])
        ))),
        _ => Err("is neither text in UTF-8, an image (PNG, JPEG, GIF, WebP) nor a PDF".into()),
    }
}

fn kind(bytes: &[u8]) -> Option<&'static str> {
    let mut kinds = KINDS
        .iter()
        .filter(|(start, _, _)| bytes.starts_with(start));
    let (_, kind, _) = kinds.next()?;
    let is_other_riff = *kind == "image/webp" && bytes.get(8..12) != Some(b"WEBP");
    (!is_other_riff).then_some(*kind)
}
