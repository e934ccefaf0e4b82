//! JSON objects that a `type` tells apart, and what no type here fits kept as it came.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The two fields that tell what an object is. Everything else is skipped, whatever its shape.
#[derive(Deserialize)]
pub(super) struct Tag<'a> {
    #[serde(rename = "type", borrow, default)]
    pub(super) name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) role: Option<Cow<'a, str>>,
}

impl<'a> Tag<'a> {
    /// `None` when the text is no object, or when one of the two is no string.
    pub(super) fn of(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

/// An object's fields behind its `type`.
#[derive(Serialize)]
pub(super) struct Tagged<'a, T> {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(flatten)]
    fields: &'a T,
}

impl<'a, T> Tagged<'a, T> {
    pub(super) fn new(name: Option<&'a str>, fields: &'a T) -> Self {
        Self { name, fields }
    }
}

/// What such a struct tells of itself, whichever it is.
pub(super) trait Object {
    fn id(&self) -> Option<&str>;
    fn call_id(&self) -> Option<&str>;
    fn extra(&self) -> &Map<String, Value>;
}

/// Defines structs for JSON objects: the required fields, then the optional ones, then `extra` for the fields that have no
/// name here, so that nothing is lost between reading and writing. `type` belongs to the enum that holds the struct.
macro_rules! objects {
    // The field of that name among those that follow.
    (@id $item:tt) => { None };
    (@id $item:tt required id $($rest:tt)*) => { Some(&$item.id) };
    (@id $item:tt optional id $($rest:tt)*) => { $item.id.as_deref() };
    (@call_id $item:tt) => { None };
    (@call_id $item:tt required call_id $($rest:tt)*) => { Some(&$item.call_id) };
    (@call_id $item:tt optional call_id $($rest:tt)*) => { $item.call_id.as_deref() };
    (@$name:ident $item:tt $need:ident $other:ident $($rest:tt)*) => { objects!(@$name $item $($rest)*) };
    ($(
        $(#[$meta:meta])*
        $name:ident {
            $( $(#[$required_meta:meta])* $required:ident: $required_type:ty, )*
        } optional {
            $( $(#[$optional_meta:meta])* $optional:ident: $optional_type:ty, )*
        }
    )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, Hash, PartialEq, serde::Serialize, serde::Deserialize)]
        #[non_exhaustive]
        pub struct $name {
            $( $(#[$required_meta])* pub $required: $required_type, )*
            $(
                $(#[$optional_meta])*
                #[serde(default, skip_serializing_if = "Option::is_none")]
                pub $optional: Option<$optional_type>,
            )*
            /// The fields without a name here. It must not repeat one that has.
            #[serde(flatten)]
            pub extra: serde_json::Map<String, serde_json::Value>,
        }

        impl $name {
            /// Makes one of its required fields; all others are absent.
            // Whether there are required fields is up to the struct, and a default would have to invent them.
            #[allow(clippy::new_without_default)]
            pub fn new($( $required: impl Into<$required_type> ),*) -> Self {
                Self {
                    $( $required: $required.into(), )*
                    $( $optional: None, )*
                    extra: serde_json::Map::new(),
                }
            }
        }

        impl $crate::protocol::item::tagged::Object for $name {
            fn id(&self) -> Option<&str> {
                objects!(@id self $(required $required)* $(optional $optional)*)
            }

            fn call_id(&self) -> Option<&str> {
                objects!(@call_id self $(required $required)* $(optional $optional)*)
            }

            fn extra(&self) -> &serde_json::Map<String, serde_json::Value> {
                &self.extra
            }
        }
    )*};
}

/// Defines an enum of such structs by the value of `type`, with `Unknown` for every other JSON value.
macro_rules! tagged {
    (
        $(#[$meta:meta])*
        $name:ident {
            $( $(#[$variant_meta:meta])* $variant:ident($fields:ty) = $tag:literal, )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Hash, PartialEq)]
        #[non_exhaustive]
        pub enum $name {
            $( $(#[$variant_meta])* $variant($fields), )*
            /// No `type`, one that is not known, or a known one whose fields do not fit: the JSON byte for byte.
            Unknown($crate::protocol::RawJson),
        }

        impl $name {
            /// The fields that have no name in the struct; absent of what is unknown.
            pub fn extra(&self) -> Option<&serde_json::Map<String, serde_json::Value>> {
                Some(self.object()?.extra())
            }

            /// The object of a typed variant.
            fn object(&self) -> Option<&dyn $crate::protocol::item::tagged::Object> {
                match self {
                    $( Self::$variant(fields) => Some(fields), )*
                    Self::Unknown(_) => None,
                }
            }

            /// Reads a JSON value that a parser has walked.
            pub(in crate::protocol) fn from_walked(raw: &serde_json::value::RawValue) -> Self {
                Self::typed(raw.get()).unwrap_or_else(|| Self::Unknown($crate::protocol::RawJson::from_raw(raw)))
            }

            /// The object with the given `type`, if it fits.
            fn parse(tag: &str, text: &str) -> Option<Self> {
                match tag {
                    $( $tag => {
                        let mut fields: $fields = serde_json::from_str(text).ok()?;
                        fields.extra.remove("type");
                        Some(Self::$variant(fields))
                    } )*
                    _ => None,
                }
            }

            /// The `type` of a typed variant.
            fn tag(&self) -> Option<&'static str> {
                match self {
                    $( Self::$variant(_) => Some($tag), )*
                    Self::Unknown(_) => None,
                }
            }

            /// Writes the fields behind the given `type`; what is unknown as it came.
            fn write<S: serde::Serializer>(
                &self,
                tag: Option<&str>,
                serializer: S,
            ) -> Result<S::Ok, S::Error> {
                match self {
                    $( Self::$variant(fields) => serde::Serialize::serialize(
                        &$crate::protocol::item::tagged::Tagged::new(tag, fields),
                        serializer,
                    ), )*
                    Self::Unknown(raw) => serde::Serialize::serialize(raw, serializer),
                }
            }
        }

        /// Only from serde_json's deserializers, for the sake of what is kept as it came. It never fails on valid JSON.
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let raw: Box<serde_json::value::RawValue> = serde::Deserialize::deserialize(deserializer)?;
                Ok(Self::from_walked(&raw))
            }
        }
    };
}

/// What an enum needs besides when nothing but `type` tells its variants apart.
macro_rules! tagged_by_type_alone {
    ($name:ident) => {
        impl $name {
            /// Reads a JSON value; what has no typed form is `Unknown`.
            pub fn from_raw(raw: $crate::protocol::RawJson) -> Self {
                Self::typed(raw.get()).unwrap_or(Self::Unknown(raw))
            }

            fn typed(text: &str) -> Option<Self> {
                $crate::json::tree::items_fit(text).then_some(())?;
                let tag = $crate::protocol::item::tagged::Tag::of(text)?;
                Self::parse(&tag.name?, text)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.write(self.tag(), serializer)
            }
        }
    };
}

pub(super) use {objects, tagged, tagged_by_type_alone};
