//! The JSON Schema of `twofold.yaml`, for editors: what the readers themselves say that they take.
//!
//! Every reader is asked with a mapping, a list and a single value, and what it does with each is
//! written down instead of read: so the schema cannot say anything else than the readers do. Rules over
//! several fields are `check`'s alone.

use serde_json::{Map, Value, json};

use crate::fields::Read;
use crate::problem::Problems;
use crate::tree::{Kind, Node, Place};
use crate::v1::ConfigFile;

/// The dialect that it is written in.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// JSON Schema (draft 2020-12) of version 1.
#[must_use]
pub fn json_schema() -> Value {
    let mut problems = Problems::describing();
    let mut schema = describe(&mut problems, ConfigFile::read).expect("the file is a mapping");
    let head = schema.as_object_mut().expect("a mapping is an object");
    head.insert("$schema".into(), json!(DIALECT));
    head.insert("title".into(), json!("twofold.yaml, version 1"));
    schema
}

/// What `read` takes: one schema, or any of several; none where it takes nothing.
pub(crate) fn describe<T>(problems: &mut Problems, read: Read<T>) -> Option<Value> {
    let outer = problems.described.take();
    let mut taken: Vec<Value> = Vec::new();
    for kind in
        [Kind::Map(Vec::new()), Kind::List(Vec::new()), Kind::Scalar { text: String::new(), quoted: false }]
    {
        let node = Node { place: Place { line: 0, column: 0, path: String::new() }, kind };
        let _ = read(&node, problems);
        if let Some(schema) = problems.described.take().filter(|schema| !taken.contains(schema)) {
            taken.push(schema);
        }
    }
    problems.described = outer;
    match taken.len() {
        0 | 1 => taken.pop(),
        _ => Some(json!({ "anyOf": taken })),
    }
}

impl Problems {
    /// Takes no problems; readers say what they take.
    fn describing() -> Self {
        let mut problems = Self::default();
        problems.describing = true;
        problems
    }

    /// When readers are asked what they take: writes down `schema` where `node` is a single value. True when
    /// the reader is to end there.
    pub(crate) fn describes(&mut self, node: &Node, schema: impl FnOnce() -> Value) -> bool {
        if self.describing && matches!(node.kind, Kind::Scalar { .. }) {
            self.described = Some(schema());
        }
        self.describing
    }
}

/// A mapping with these fields and no others.
pub(crate) fn object(fields: Vec<(&'static str, Option<Value>, Need)>) -> Value {
    let required: Vec<&str> =
        fields.iter().filter(|(_, _, need)| *need == Need::Required).map(|(key, ..)| *key).collect();
    let properties: Map<String, Value> =
        fields.iter().filter_map(|(key, schema, _)| Some(((*key).to_owned(), schema.clone()?))).collect();
    let mut object = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !required.is_empty() {
        object["required"] = json!(required);
    }
    object
}

/// Whether a field may be absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    Optional,
    Required,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_says_what_the_readers_take() {
        let schema = json_schema();
        let at = |path: &str| schema.pointer(path).cloned().unwrap_or_else(|| panic!("{path} in {schema:#}"));
        assert_eq!(at("/required"), json!(["version", "cluster", "sites", "nodes"]));
        assert_eq!(at("/additionalProperties"), json!(false));
        assert_eq!(
            at("/properties/sites/additionalProperties/properties/role/enum"),
            json!(["data", "witness", "burst"])
        );
        let port = at("/properties/nodes/additionalProperties/properties/peer-port");
        assert_eq!((port["minimum"].as_u64(), port["maximum"].as_u64()), (Some(1), Some(65_535)));
        // A profile, or a mapping that starts from one.
        assert_eq!(at("/properties/timing/anyOf").as_array().map(Vec::len), Some(2));
        assert_eq!(at("/properties/zone/properties/records/type"), json!("array"));
        let name = at("/properties/names/additionalProperties/properties");
        assert!(name.get("bound").is_some() && name.get("pooled").is_some(), "{name:#}");
        let data = at("/properties/zone/properties/records/items/properties/data/anyOf");
        assert_eq!(data.as_array().map(Vec::len), Some(2), "one or a list: {data:#}");
        let server = at("/properties/databases/additionalProperties/properties/servers/additionalProperties");
        assert_eq!(server["required"], json!(["site", "address"]));
        let never = at("/properties/databases/additionalProperties/properties/admin/properties");
        assert!(never.get("password").is_none(), "a password does not stand in the file");
    }
}
