//! Events as JSON lines.

use actix_responses::protocol::ResponseEvent;

use super::secrets::Secrets;

/// Appends the event as a line. Where a server's error may repeat a key, it is hidden.
pub(super) fn append_line(event: &ResponseEvent, secrets: &Secrets, lines: &mut Vec<u8>) {
    let start = lines.len();
    serde_json::to_writer(&mut *lines, event).expect("an event is JSON, and memory takes it");
    if matches!(
        event,
        ResponseEvent::Failed(_) | ResponseEvent::Restarted(_)
    ) {
        let line = String::from_utf8_lossy(&lines[start..]).into_owned();
        lines.truncate(start);
        lines.extend_from_slice(secrets.hide(&line).as_bytes());
    }
    lines.push(b'\n');
}
