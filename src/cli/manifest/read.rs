//! From text to objects.

use serde_json::Value;

use super::{ManifestError, Object};

/// The objects of a file in order; a `List` is taken apart. JSON objects may follow one another, as YAML documents do.
pub(super) fn objects(file: &str, text: &str) -> Result<Vec<Object>, ManifestError> {
    let documents = if text.trim_start().starts_with('{') {
        // YAML may begin so too; when it is neither, JSON is what was meant.
        json(file, text).or_else(|problem| yaml(file, text).map_err(|_| problem))
    } else {
        yaml(file, text)
    }?;
    let mut objects = Vec::new();
    for (index, document) in documents.into_iter().enumerate() {
        let place = format!("{file}: document {}", index + 1);
        if !document.is_object() {
            return Err(ManifestError::new(
                &place,
                "not an object with apiVersion, kind and metadata",
            ));
        }
        let is_list = document["kind"]
            .as_str()
            .is_some_and(|kind| kind.ends_with("List"));
        match document["items"].as_array().filter(|_| is_list) {
            Some(items) => objects.extend(items.iter().enumerate().map(|(item, value)| Object {
                place: format!("{place}, item {}", item + 1),
                value: value.clone(),
            })),
            None => objects.push(Object {
                place,
                value: document,
            }),
        }
    }
    if objects.is_empty() {
        return Err(ManifestError::new(file, "has no objects"));
    }
    Ok(objects)
}

fn json(file: &str, text: &str) -> Result<Vec<Value>, ManifestError> {
    serde_json::Deserializer::from_str(text)
        .into_iter()
        .collect::<Result<_, _>>()
        .map_err(|error| ManifestError::new(file, error.to_string()))
}

fn yaml(file: &str, text: &str) -> Result<Vec<Value>, ManifestError> {
    // 0644 is octal for Kubernetes; no snippets in errors, since files hold secrets.
    let options = serde_saphyr::options! { legacy_octal_numbers: true, with_snippet: false };
    serde_saphyr::from_multiple_with_options(text, options)
        .map_err(|error| ManifestError::new(file, error.without_snippet().to_string()))
}
