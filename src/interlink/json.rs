//! JSON kept as the text that it came in.
//!
//! A pod passes through: of all that it says a few fields are read, and the whole goes on as it is. Its text is checked
//! once, as strictly as a tree of values would be, and no tree is built unless somebody asks for one.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned, de::Error as _};
use serde_json::{
    Value,
    value::{RawValue, to_raw_value},
};

use super::{BadBody, body, scan};

/// A JSON value. Cheap to clone; equal to what says the same in other words.
#[derive(Clone)]
pub struct Json(Arc<Kept>);

struct Kept {
    text: Text,
    /// Made for the first who asks.
    tree: OnceLock<Value>,
}

enum Text {
    /// As serde_json takes it, and writes it without a look.
    Raw(Box<RawValue>),
    /// As [`scan`] took it.
    Plain(Box<str>),
}

impl From<Box<RawValue>> for Text {
    fn from(text: Box<RawValue>) -> Self {
        Self::Raw(text)
    }
}

impl Json {
    /// Of a text that [`scan`] took.
    pub(super) fn plain(text: &str) -> Self {
        Self(Arc::new(Kept {
            text: Text::Plain(text.into()),
            tree: OnceLock::new(),
        }))
    }

    /// As it came.
    pub fn text(&self) -> &str {
        match &self.0.text {
            Text::Raw(text) => text.get(),
            Text::Plain(text) => text,
        }
    }

    /// As a tree of values.
    pub fn tree(&self) -> &Value {
        // What is not plain was read as a tree before it was let in.
        let read = || serde_json::from_str(self.text()).unwrap_or_default();
        self.0.tree.get_or_init(read)
    }

    /// Reads a few fields of an object. Gives also what they were read of: where one of these fields comes twice, the last
    /// one counts and goes on alone, so that nobody after this reads another.
    ///
    /// # Errors
    /// [`BadBody`] without line and column when a field has the wrong type; `kind` names what is no object.
    pub(super) fn views<V: DeserializeOwned>(self, kind: &str) -> Result<(Self, V), BadBody> {
        if self.text().starts_with('{')
            && let Ok(views) = serde_json::from_str(self.text())
        {
            return Ok((self, views));
        }
        let tree = self.tree().clone();
        match V::deserialize(&tree) {
            Ok(views) if tree.is_object() => Ok((tree.into(), views)),
            Ok(_) => Err(BadBody {
                what: format!("expected a {kind} object"),
                path: String::new(),
                line: 0,
                column: 0,
            }),
            // Read once more from text, only because that gives the place.
            Err(error) => {
                let text = tree.to_string();
                let error = serde_json::from_str::<V>(&text).err().unwrap_or(error);
                Err(BadBody {
                    line: 0,
                    column: 0,
                    ..body::bad_body(text.as_bytes(), &error)
                })
            }
        }
    }
}

impl From<Value> for Json {
    fn from(tree: Value) -> Self {
        // A tree can always be written: its keys are texts.
        let text = to_raw_value(&tree).unwrap_or_else(|_| RawValue::NULL.to_owned());
        Self(Arc::new(Kept {
            text: text.into(),
            tree: tree.into(),
        }))
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        if !scan::is_plain(text.get().as_bytes()) {
            let tree: Value = serde_json::from_str(text.get()).map_err(|error| {
                let bad = body::bad_body(text.get().as_bytes(), &error);
                D::Error::custom(body::inner_error(&bad))
            })?;
            return Ok(tree.into());
        }
        Ok(Self(Arc::new(Kept {
            text: text.into(),
            tree: OnceLock::new(),
        })))
    }
}

impl Serialize for Json {
    /// Meant for serde_json, which puts the text in as it is.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0.text {
            Text::Raw(text) => text.serialize(serializer),
            Text::Plain(text) => {
                let raw = serde_json::from_str::<&RawValue>(text).map_err(serde::ser::Error::custom)?;
                raw.serialize(serializer)
            }
        }
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text() || self.tree() == other.tree()
    }
}

impl fmt::Debug for Json {
    /// Without its text: that may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Json").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::interlink::parse;

    fn both(text: &str) -> (Result<Value, BadBody>, Result<Json, BadBody>) {
        (parse(text.as_bytes()), parse(text.as_bytes()))
    }

    #[test]
    fn what_is_good_goes_on_as_it_came() {
        let text = r#"{"z": 1.50, "a": ["\u003c\n", -0.5, 18446744073709551616, null], "é": {}}"#;
        let read: Json = parse(text.as_bytes()).unwrap();
        assert_eq!(read.text(), text);
        assert_eq!(
            serde_json::to_string(&vec![read.clone()]).unwrap(),
            format!("[{text}]")
        );
        assert_eq!(*read.tree(), serde_json::from_str::<Value>(text).unwrap());
        assert_eq!(serde_json::to_value(&read).unwrap(), *read.tree());
        assert_eq!(read, Json::from(read.tree().clone()));
        assert_ne!(read, Json::from(json!({})));
    }

    #[test]
    fn what_a_tree_refuses_is_refused() {
        let deep = |levels| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        for bad in [
            r#"{"a": "\ud800"}"#,
            r#"{"a": "\uDc00 x"}"#,
            r#"{"a": 1e999}"#,
            r#"{"a": -123e4567}"#,
            &format!(r#"{{"a": {}}}"#, "9".repeat(400)),
            &deep(128),
            &deep(100_000),
            r#"{"a": 01}"#,
            "{\"a\": \"\n\"}",
            r#"{"a": tru}"#,
            "{",
        ] {
            let (tree, kept) = both(bad);
            assert!(tree.is_err() && kept.is_err(), "{}", &bad[..bad.len().min(40)]);
        }
        for good in [
            r#"{"a": "\ud83d\ude00"}"#,
            r#"{"a": 1e3}"#,
            &deep(127),
            "3",
            "\"\\\\\"",
        ] {
            let (tree, kept) = both(good);
            assert_eq!(*kept.unwrap().tree(), tree.unwrap(), "{good}");
        }
        assert!(parse::<Json>(b"\"\xff\"").is_err());
    }

    #[test]
    fn a_bad_escape_is_told_with_its_path_and_without_its_value() {
        let body = br#"{"a": [{"b": "hunter2 \ud800"}]}"#;
        let bad = parse::<Json>(body).unwrap_err();
        assert!(
            bad.what.starts_with("not JSON: ") && !bad.to_string().contains("hunter2"),
            "{bad}"
        );
        assert_eq!(bad.path, "a[0].b");
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", Json::from(json!("hunter2"))), "Json { .. }");
    }

    proptest! {
        #[test]
        fn text_and_tree_take_the_same(text in r#"[\[\]{}",:0-9eE+.\\ud8a\-]{0,40}"#) {
            let (tree, kept) = both(&text);
            prop_assert_eq!(tree.is_ok(), kept.is_ok(), "{}", text);
            if let (Ok(tree), Ok(kept)) = (tree, kept) {
                prop_assert_eq!(kept.tree(), &tree);
            }
        }

        #[test]
        fn so_they_do_inside_of_texts_and_numbers(
            inside in r#"(\\u[dD][8-9a-f][0-9a-f]{2}|\\["\\/bnu0]|[a-z"]|é){0,8}"#, number in r"-?[0-9]{1,3}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,4})?",
        ) {
            let text = format!(r#"{{"a": ["{inside}", {number}]}}"#);
            let (tree, kept) = both(&text);
            prop_assert_eq!(tree.is_ok(), kept.is_ok(), "{}", text);
        }
    }
}
