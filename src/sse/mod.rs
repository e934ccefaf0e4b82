//! Bytes to server-sent events.
use std::ops::ControlFlow;
/// L
#[derive(Clone, Copy, Debug, Default)]
pub struct SseLimits {}
/// E
pub struct SseEvent<'a> {
    /// e
    pub event: Option<&'a str>,
    /// d
    pub data: &'a str,
    /// i
    pub last_event_id: &'a str,
}
/// D
#[derive(Debug)]
pub struct DecodeError;
impl std::fmt::Display for DecodeError {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Ok(())
    }
}
/// S
pub struct SseDecoder;
impl SseDecoder {
    /// n
    pub fn new(_: SseLimits) -> Self {
        Self
    }
    /// f
    pub fn feed(
        &mut self,
        _: &[u8],
        _: impl FnMut(SseEvent<'_>) -> ControlFlow<()>,
    ) -> Result<(), DecodeError> {
        Ok(())
    }
    /// f
    pub fn finish(
        &mut self,
        _: impl FnMut(SseEvent<'_>) -> ControlFlow<()>,
    ) -> Result<(), DecodeError> {
        Ok(())
    }
}
