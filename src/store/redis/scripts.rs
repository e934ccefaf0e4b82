//! What the server does at once.

/// Lua that the server runs. What the keys and arguments are stands in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Script {
    Claim,
    Append,
    Cancel,
    Remove,
}

impl Script {
    pub(super) const ALL: [Self; 4] = [Self::Claim, Self::Append, Self::Cancel, Self::Remove];

    pub(super) fn source(self) -> &'static str {
        match self {
            Self::Claim => concat!(
                include_str!("scripts/common.lua"),
                include_str!("scripts/claim.lua")
            ),
            Self::Append => concat!(
                include_str!("scripts/common.lua"),
                include_str!("scripts/append.lua")
            ),
            Self::Cancel => include_str!("scripts/cancel.lua"),
            Self::Remove => include_str!("scripts/remove.lua"),
        }
    }
}
