//! How fields of the messages look in JSON (build.rs says which).

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Null is the default value.
pub(super) fn null<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Whether a field says nothing.
pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// In an order that does not change.
pub(super) fn sorted<S: Serializer>(map: &HashMap<String, String>, serializer: S) -> Result<S::Ok, S::Error> {
    map.iter().collect::<BTreeMap<_, _>>().serialize(serializer)
}

/// A role as a word: PLUGIN, OBSERVER, or none.
pub(super) mod role {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::wire::Role;

    pub(in crate::wire) fn serialize<S: Serializer>(role: &i32, serializer: S) -> Result<S::Ok, S::Error> {
        match Role::try_from(*role) {
            Ok(Role::Plugin) => serializer.serialize_str("PLUGIN"),
            Ok(Role::Observer) => serializer.serialize_str("OBSERVER"),
            _ => serializer.serialize_none(),
        }
    }

    pub(in crate::wire) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i32, D::Error> {
        match Option::<String>::deserialize(deserializer)?.as_deref() {
            None => Ok(Role::Unspecified.into()),
            Some("PLUGIN") => Ok(Role::Plugin.into()),
            Some("OBSERVER") => Ok(Role::Observer.into()),
            Some(_) => Err(D::Error::custom(
                "another word, expected PLUGIN or OBSERVER as role",
            )),
        }
    }
}
