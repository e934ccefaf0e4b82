//! Items that shape the context instead of adding to the conversation.

use super::{content::Content, tagged::objects};
use crate::protocol::RawJson;

objects! {
    /// A conversation up to here, or the context that a model works in, compacted and sealed by the server.
    CompactionItem {} optional {
        /// What is sealed.
        encrypted_content: String,
        /// The server's id.
        id: String,
    }

    /// What its type alone says, such as the wish for a compaction.
    MarkerItem {} optional {
        /// The server's id.
        id: String,
    }

    /// Stands for an item that the server has stored.
    ItemReferenceItem {
        /// The id of that item.
        id: String,
    } optional {}

    /// A message between agents.
    AgentMessageItem {} optional {
        /// What is said.
        content: Content,
        /// The server's id.
        id: String,
    }

    /// More tools from here on.
    AdditionalToolsItem {} optional {
        /// The tools: a JSON array.
        tools: RawJson,
        /// Whose message brings them.
        role: String,
        /// The server's id.
        id: String,
    }

    /// A state of the caller's files, which only the caller reads.
    GhostSnapshotItem {} optional {
        /// The commit that holds it.
        ghost_commit: RawJson,
        /// The caller's id.
        id: String,
    }
}
