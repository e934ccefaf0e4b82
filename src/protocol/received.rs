//! The body that a prompt was read from, and whether the prompt still says what it says.

use std::{
    fmt,
    hash::{BuildHasher, Hasher},
    ops::Range,
    sync::Arc,
};

use bytes::Bytes;
use foldhash::quality::RandomState;
use smallvec::SmallVec;

use super::error::ApiError;

/// What a prompt was read from. It is how the prompt was written and not what it says: prompts are equal without it.
#[derive(Clone, Default)]
pub(crate) struct ReceivedBody {
    /// Of none that was changed elsewhere.
    pub(crate) as_it_came: Option<Arc<AsItCame>>,
    /// Why a member of it is not in the fields, which can't hold it. It goes out with the body as it came, or not at all.
    pub(crate) unread: Option<Box<ApiError>>,
}

impl ReceivedBody {
    /// Notes a member that the fields can't hold.
    pub(crate) fn leave_unread(&mut self, error: ApiError) {
        self.unread.get_or_insert_with(|| Box::new(error));
    }

    /// # Errors
    /// When a member is not in the fields, so that nothing can be written from them.
    pub(crate) fn is_read(&self) -> Result<(), ApiError> {
        let unread = self.unread.as_deref();
        unread.map_or(Ok(()), |error| Err(error.clone()))
    }
}

impl PartialEq for ReceivedBody {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl fmt::Debug for ReceivedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.as_it_came.as_ref().map(|came| came.body.len());
        write!(f, "{bytes:?}")
    }
}

/// A body that somebody else wrote.
pub(crate) struct AsItCame {
    pub(crate) body: Bytes,
    /// It is for Chat Completions.
    pub(crate) is_chat: bool,
    pub(crate) places: Places,
    /// The model that it names, which may be changed in it.
    model: Option<String>,
    /// What was read of it, but for the model. The fields of a prompt are open to everybody, so whether they were changed has to be seen in
    /// them; to keep them twice, or to read the body once more, would be dearer.
    said: u64,
    /// Nobody knows the seed, so nobody can write two prompts that are alike by it.
    seed: RandomState,
}

/// Where in a body stands what may be changed in it.
pub(crate) struct Places {
    /// The values of its members that are looked for, by their names; those of one name may be several.
    pub(crate) members: SmallVec<[(&'static str, Range<usize>); 3]>,
    /// Where the object's last brace is.
    pub(crate) end: usize,
    /// It has no members at all.
    pub(crate) is_empty: bool,
}

impl AsItCame {
    pub(crate) fn new(body: Bytes, is_chat: bool, places: Places, read: &impl Said) -> Self {
        let seed = RandomState::default();
        Self {
            body,
            is_chat,
            places,
            model: read.model().clone(),
            said: fingerprint(&seed, read),
            seed,
        }
    }

    /// Whether nothing of what was read has been changed, but perhaps the model.
    pub(crate) fn is_said_by(&self, prompt: &impl Said) -> bool {
        self.said == fingerprint(&self.seed, prompt)
    }

    /// Whether it names another model than `prompt`, or none.
    pub(crate) fn has_other_model(&self, prompt: &impl Said) -> bool {
        self.model != *prompt.model()
    }
}

fn fingerprint(seed: &RandomState, said: &impl Said) -> u64 {
    let mut hasher = seed.build_hasher();
    said.hash_all_but_model(&mut hasher);
    hasher.finish()
}

/// What is read from a body, and may be changed then.
pub(crate) trait Said {
    fn model(&self) -> &Option<String>;
    fn hash_all_but_model(&self, hasher: &mut impl Hasher);
}
