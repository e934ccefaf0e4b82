//! JSON objects that a `type` tells apart, and what no type here fits kept as it came.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Serialize, de};
use serde_json::{Map, Value};
use smallvec::SmallVec;

use crate::{
    json::{
        lenient::text_of,
        members::{Member, Members, unescaped},
    },
    protocol::RawJson,
};

/// The members of an object, which are walked over once.
pub(super) struct Fields<'a> {
    json: &'a str,
    members: SmallVec<[Member<'a>; 12]>,
}

/// The two fields that tell what an object is.
pub(super) struct Tag<'a> {
    /// `type`.
    pub(super) name: Option<Cow<'a, str>>,
    pub(super) has_role: bool,
}

impl<'a> Fields<'a> {
    /// `None` of what is no object, and of one with half a surrogate pair in a name, which no field can have.
    pub(super) fn of(json: &'a str) -> Option<Self> {
        let mut members = Members::of(json);
        let fields = Self {
            json,
            members: members.by_ref().collect(),
        };
        let is_name = |member: &Member<'_>| {
            !member.name.contains('\\') || text_of(&format!("\"{}\"", member.name)).is_some()
        };
        (members.is_whole() && fields.members.iter().all(is_name)).then_some(fields)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Cow<'a, str>, &'a str)> {
        let json = self.json;
        let members = self.members.iter();
        members.map(move |member| (unescaped(member.name), &json[member.value.clone()]))
    }

    /// `None` when one of the two is no string, or there twice.
    pub(super) fn tag(&self) -> Option<Tag<'a>> {
        let (mut name, mut role) = (None, None);
        for (field, value) in self.iter() {
            let slot = match &*field {
                "type" => &mut name,
                "role" => &mut role,
                _ => continue,
            };
            let text = match value {
                "null" => None,
                text => Some(text_of(text)??),
            };
            slot.replace(text).is_none().then_some(())?;
        }
        Some(Tag {
            name: name.flatten(),
            has_role: role.flatten().is_some(),
        })
    }
}

impl<'a> Tag<'a> {
    /// The same of a text, which may be any JSON.
    pub(super) fn of(text: &'a str) -> Option<Self> {
        Fields::of(text)?.tag()
    }
}

/// What a field may hold.
pub(super) trait Field: Sized {
    /// Reads JSON that was walked over.
    fn read(json: &str) -> serde_json::Result<Self>;
}

impl Field for String {
    fn read(json: &str) -> serde_json::Result<Self> {
        let Some(Some(text)) = text_of(json) else {
            return serde_json::from_str(json);
        };
        let mut text = text.into_owned();
        // The room of the escapes.
        text.shrink_to_fit();
        Ok(text)
    }
}

impl Field for RawJson {
    fn read(json: &str) -> serde_json::Result<Self> {
        Ok(Self::from_walked(json))
    }
}

macro_rules! fields_of_serde {
    ($($field:ty),* $(,)?) => {$(
        impl Field for $field {
            fn read(json: &str) -> serde_json::Result<Self> {
                serde_json::from_str(json)
            }
        }
    )*};
}

fields_of_serde!(bool, u64, Vec<String>, BTreeMap<String, String>);

/// Sets a field, which may be there once.
pub(super) fn set<T: Field>(
    field: &mut Option<T>,
    name: &'static str,
    json: &str,
) -> serde_json::Result<()> {
    match field.replace(T::read(json)?) {
        None => Ok(()),
        Some(_) => Err(de::Error::duplicate_field(name)),
    }
}

/// The same of one that may be null.
pub(super) fn set_optional<T: Field>(
    field: &mut Option<Option<T>>,
    name: &'static str,
    json: &str,
) -> serde_json::Result<()> {
    let value = match json {
        "null" => None,
        json => Some(T::read(json)?),
    };
    match field.replace(value) {
        None => Ok(()),
        Some(_) => Err(de::Error::duplicate_field(name)),
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
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
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

            /// Reads one; its `type` is one of the fields without a name, or left out.
            pub(super) fn read(
                fields: &$crate::protocol::item::tagged::Fields<'_>,
                keeps_type: bool,
            ) -> serde_json::Result<Self> {
                $( let mut $required: Option<$required_type> = None; )*
                $( let mut $optional: Option<Option<$optional_type>> = None; )*
                let mut extra = serde_json::Map::new();
                for (name, json) in fields.iter() {
                    match &*name {
                        $( stringify!($required) => {
                            $crate::protocol::item::tagged::set(&mut $required, stringify!($required), json)?;
                        } )*
                        $( stringify!($optional) => {
                            $crate::protocol::item::tagged::set_optional(&mut $optional, stringify!($optional), json)?;
                        } )*
                        "type" if !keeps_type => {}
                        _ => _ = extra.insert(name.into_owned(), serde_json::from_str(json)?),
                    }
                }
                let missing = <serde_json::Error as serde::de::Error>::missing_field;
                // Not all have required fields.
                let _ = missing;
                Ok(Self {
                    $( $required: $required.ok_or_else(|| missing(stringify!($required)))?, )*
                    $( $optional: $optional.flatten(), )*
                    extra,
                })
            }
        }

        impl std::hash::Hash for $name {
            fn hash<H: std::hash::Hasher>(&self, hasher: &mut H) {
                $( self.$required.hash(hasher); )*
                $( self.$optional.hash(hasher); )*
                $crate::json::hashing::hash_members(&self.extra, hasher);
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

            /// Reads a JSON value; what has no typed form is `Unknown`, as is one over [`RawJson::MAX_TREE_BYTES`]($crate::protocol::RawJson::MAX_TREE_BYTES).
            pub fn from_raw(raw: $crate::protocol::RawJson) -> Self {
                let typed = $crate::json::tree::items_fit(raw.get()).then(|| Self::typed(raw.get()));
                typed.flatten().unwrap_or(Self::Unknown(raw))
            }

            /// Reads a JSON text that was walked over and whose values were counted.
            pub(crate) fn from_walked(text: &str) -> Self {
                Self::typed(text).unwrap_or_else(|| Self::Unknown($crate::protocol::RawJson::from_walked(text)))
            }

            /// The object with the given `type`, if it fits.
            fn parse(tag: &str, fields: &$crate::protocol::item::tagged::Fields<'_>) -> Option<Self> {
                match tag {
                    $( $tag => <$fields>::read(fields, false).ok().map(Self::$variant), )*
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
                Ok(match $crate::json::tree::items_fit(raw.get()) {
                    true => Self::from_walked(raw.get()),
                    false => Self::Unknown($crate::protocol::RawJson::from_raw(&raw)),
                })
            }
        }
    };
}

/// What an enum needs besides when nothing but `type` tells its variants apart.
macro_rules! tagged_by_type_alone {
    ($name:ident) => {
        impl $name {
            fn typed(text: &str) -> Option<Self> {
                let fields = $crate::protocol::item::tagged::Fields::of(text)?;
                Self::parse(&fields.tag()?.name?, &fields)
            }
        }

        impl $crate::protocol::item::tagged::Field for $name {
            fn read(json: &str) -> serde_json::Result<Self> {
                Ok(Self::from_walked(json))
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
