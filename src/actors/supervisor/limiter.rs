//! The limiter, with what the supervisor needs to ask it.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::Arc,
    time::Duration,
};

use actix::SpawnHandle;
use http::{HeaderName, header};

use crate::{
    actors::attempt::spec::RequestSpec,
    retry::{Limiter, LimiterPolicy},
};

/// The limiter with its timer.
pub(super) struct Pacing {
    pub(super) limiter: Limiter,
    hasher: RandomState,
    /// When it goes off.
    pub(super) timer: Option<(Duration, SpawnHandle)>,
}

/// Headers that say who asks, where a request has its own.
const KEYS: [HeaderName; 5] = [
    header::AUTHORIZATION,
    HeaderName::from_static("api-key"),
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("openai-organization"),
    HeaderName::from_static("openai-project"),
];

impl Pacing {
    pub(super) fn new(policy: LimiterPolicy) -> Self {
        Self {
            limiter: Limiter::new(policy),
            hasher: RandomState::new(),
            timer: None,
        }
    }

    /// The number of a request's gate. The addresses of auths may be used again, which costs no more than what was known.
    pub(super) fn gate(&self, spec: &RequestSpec) -> u64 {
        let auth = &spec.provider.auth;
        // One without a size, as that which is none, holds no key of its own.
        let has_key = size_of_val(&**auth) > 0;
        let auth = has_key.then(|| Arc::as_ptr(auth).cast::<()>() as usize);
        let values = KEYS.map(|name| spec.headers.get(name).map(|value| value.as_bytes()));
        let own = (auth, values);
        self.hasher.hash_one((&spec.origin, &spec.model, own))
    }
}
