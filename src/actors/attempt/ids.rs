//! What names a request and its subscriptions.

use std::{
    fmt,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    str::FromStr,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{
    json::excerpt::excerpt,
    protocol::error::{ApiError, ErrorKind},
};

/// Names a request, among all requests of all runtimes.
///
/// Its text is `request-` with the number of the runtime, which is drawn at its start, and that of the request within it. JSON has that
/// text.
///
/// ```
/// use actix_responses::actors::RequestId;
///
/// let id: RequestId = "request-00000000000000ff-7".parse()?;
/// assert_eq!(id.to_string(), "request-00000000000000ff-7");
/// assert_eq!(serde_json::to_value(id)?, "request-00000000000000ff-7");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId {
    pub(crate) runtime: u64,
    pub(crate) number: u64,
}

impl RequestId {
    /// The first one of a runtime.
    pub(crate) fn first() -> Self {
        Self {
            // The only source of randomness in the standard library, and enough to tell runtimes apart.
            runtime: RandomState::new().build_hasher().finish(),
            number: 1,
        }
    }

    pub(crate) fn next(self) -> Self {
        Self {
            number: self.number + 1,
            ..self
        }
    }
}

/// For tests of subscribers; a runtime gives its own numbers.
impl From<u64> for RequestId {
    fn from(number: u64) -> Self {
        Self { runtime: 0, number }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "request-{:016x}-{}", self.runtime, self.number)
    }
}

impl FromStr for RequestId {
    type Err = ApiError;

    /// # Errors
    /// [`ErrorKind::InvalidRequest`] for what is not the text of one.
    fn from_str(text: &str) -> Result<Self, ApiError> {
        let read = || {
            let (runtime, number) = text.strip_prefix("request-")?.split_once('-')?;
            Some(Self {
                runtime: u64::from_str_radix(runtime, 16).ok()?,
                number: number.parse().ok()?,
            })
        };
        read().filter(|id| id.to_string() == text).ok_or_else(|| {
            let message = format!("{:?} is no id of a request", excerpt(text));
            ApiError::new(ErrorKind::InvalidRequest, message)
        })
    }
}

impl Serialize for RequestId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RequestId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// Names a subscription within its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionId(pub(crate) u64);

impl fmt::Display for SubscriptionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "subscription-{}", self.0)
    }
}
