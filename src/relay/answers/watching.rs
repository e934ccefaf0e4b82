//! What a store that nodes share says to the writer of an answer.

use std::sync::Arc;

use super::{Answer, Answers, ReadError};
use crate::store::recorder::RecorderState;

impl Answers {
    /// Does what the store says to the writer of an answer, for as long as it is written.
    pub(super) fn watch(&self, answer: &Arc<Answer>) {
        let Some(recording) = answer.recording() else {
            return;
        };
        let recorder = recording.recorder();
        let (finished, cancelled) = (recorder.finished(), recorder.cancelled());
        let recorder = recorder.clone();
        let writing = self.inner.storage.begin_writing();
        let (answers, answer) = (self.clone(), answer.clone());
        tokio::spawn(async move {
            let _writing = writing;
            let stops = async {
                cancelled.await;
                answer.stop();
                std::future::pending::<()>().await;
            };
            tokio::select! {
                () = finished => {}
                () = stops => {}
            }
            if recorder.state() == RecorderState::Lost {
                tracing::warn!(id = answer.id(), "another node has taken an answer over");
                // From now on it is one of another node's.
                answer.leave(ReadError::Lost);
                answers.forget(&answer);
            }
        });
    }
}
