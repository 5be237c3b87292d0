//! Reads a document into types, with errors that know where they happened.
//!
//! Serde's own errors are sentences; here they stay data. A [`Node`] deserializes a JSON value, and every error gathers
//! the keys it passes on its way out, so that it ends with the path of the key, the value, and the nearest valid name.

use super::problem::{JobFileError, Problem};
use serde::de::{self, DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::Value;
use std::fmt;

/// A job file larger than this is refused unread: people write kilobytes.
const JOB_FILE_BYTES_MAX: usize = 1 << 20;

/// Aliases may stand for so many values in all. A few lines could otherwise grow to fill the memory.
const ALIASED_VALUES_MAX: usize = 1_000;

/// Reads YAML into a plain document.
pub(super) fn from_yaml(yaml: &str) -> Result<Value, JobFileError> {
    if yaml.len() > JOB_FILE_BYTES_MAX {
        let message = format!("the job file has {} bytes", yaml.len());
        return Err(Problem::new("", message, format!("at most {JOB_FILE_BYTES_MAX} are read")).into());
    }
    let mut options = serde_saphyr::Options::default();
    options.alias_limits.max_total_replayed_events = ALIASED_VALUES_MAX;
    let read = serde_saphyr::from_str_with_options(yaml, options);
    read.map_err(|error| Problem::unreadable(format!("not valid YAML: {error}")).into())
}

/// Reads a value of type `T` from a document.
pub(super) fn read<T: DeserializeOwned>(document: &Value) -> Result<T, JobFileError> {
    T::deserialize(Node(document)).map_err(|error| error.into_problem().into())
}

/// A place in a document, as a serde deserializer.
struct Node<'de>(&'de Value);

impl<'de> Deserializer<'de> for Node<'de> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(flag) => visitor.visit_bool(*flag),
            Value::Number(number) => visit_number(number, visitor),
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Array(items) => visitor.visit_seq(Items { items: items.iter(), index: 0 }),
            Value::Object(map) => visitor.visit_map(Entries { entries: map.iter(), current: None }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &str, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    /// A unit variant is its name; any other is a map with its name as the only key.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match self.0 {
            Value::String(name) => visitor.visit_enum(Variant { name, content: None }),
            Value::Object(map) if map.len() == 1 => {
                let (name, content) = map.iter().next().expect("the map has one entry");
                visitor.visit_enum(Variant { name, content: Some(content) })
            }
            other => {
                Err(ReadError::new(format!("`{other}` names no kind"))
                    .remedy(format!("write one of {}", listed(variants))))
            }
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

fn visit_number<'de, V: Visitor<'de>>(number: &serde_json::Number, visitor: V) -> Result<V::Value, ReadError> {
    if let Some(natural) = number.as_u64() {
        visitor.visit_u64(natural)
    } else if let Some(integer) = number.as_i64() {
        visitor.visit_i64(integer)
    } else {
        visitor.visit_f64(number.as_f64().unwrap_or(f64::NAN))
    }
}

struct Items<'de> {
    items: std::slice::Iter<'de, Value>,
    index: usize,
}

impl<'de> de::SeqAccess<'de> for Items<'de> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, ReadError> {
        let Some(item) = self.items.next() else { return Ok(None) };
        let index = self.index;
        self.index += 1;
        seed.deserialize(Node(item)).map(Some).map_err(|error| error.within(format!("[{index}]")))
    }
}

struct Entries<'de> {
    entries: serde_json::map::Iter<'de>,
    current: Option<(&'de String, &'de Value)>,
}

impl<'de> de::MapAccess<'de> for Entries<'de> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ReadError> {
        self.current = self.entries.next();
        let Some((key, _)) = self.current else { return Ok(None) };
        seed.deserialize(key.as_str().into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        let (key, value) = self.current.take().expect("serde asks for a key before its value");
        seed.deserialize(Node(value)).map_err(|error| error.within(key.clone()))
    }
}

struct Variant<'de> {
    name: &'de str,
    content: Option<&'de Value>,
}

impl<'de> de::EnumAccess<'de> for Variant<'de> {
    type Error = ReadError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), ReadError> {
        let name: de::value::StrDeserializer<'de, ReadError> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> Variant<'de> {
    fn within(&self, error: ReadError) -> ReadError {
        error.within(self.name.to_owned())
    }
}

/// An empty map, so that `cosine` means `cosine: {}`: every option at its default.
static NO_OPTIONS: std::sync::LazyLock<Value> = std::sync::LazyLock::new(|| Value::Object(serde_json::Map::new()));

impl<'de> de::VariantAccess<'de> for Variant<'de> {
    type Error = ReadError;

    fn unit_variant(self) -> Result<(), ReadError> {
        match self.content {
            None => Ok(()),
            Some(content) if content.as_object().is_some_and(serde_json::Map::is_empty) => Ok(()),
            Some(content) => Err(self.within(ReadError::new(format!("takes no options, but has `{content}`")))),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, ReadError> {
        seed.deserialize(Node(self.content.unwrap_or(&NO_OPTIONS))).map_err(|error| self.within(error))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, ReadError> {
        Node(self.content.unwrap_or(&NO_OPTIONS)).deserialize_any(visitor).map_err(|error| self.within(error))
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &[&str], visitor: V) -> Result<V::Value, ReadError> {
        Node(self.content.unwrap_or(&NO_OPTIONS)).deserialize_any(visitor).map_err(|error| self.within(error))
    }
}

/// A problem on its way out of the document, its path growing from the inside.
#[derive(Debug)]
struct ReadError {
    segments: Vec<String>,
    message: String,
    remedy: Option<String>,
}

impl ReadError {
    fn new(message: String) -> Self {
        Self { segments: Vec::new(), message, remedy: None }
    }

    fn remedy(mut self, remedy: String) -> Self {
        self.remedy = Some(remedy);
        self
    }

    fn within(mut self, segment: String) -> Self {
        self.segments.push(segment);
        self
    }

    fn into_problem(self) -> Problem {
        let mut path = String::new();
        for segment in self.segments.iter().rev() {
            if !path.is_empty() && !segment.starts_with('[') {
                path.push('.');
            }
            path.push_str(segment);
        }
        Problem { path, message: self.message, remedy: self.remedy }
    }

    fn unknown(kind: &str, name: &str, valid: &'static [&'static str]) -> Self {
        Self::new(format!("unknown {kind} `{name}`")).remedy(match nearest(name, valid) {
            Some(near) => format!("did you mean `{near}`? Valid here: {}", listed(valid)),
            None => format!("valid here: {}", listed(valid)),
        })
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ReadError {}

impl de::Error for ReadError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn invalid_type(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(format!("{found} stands where {} belongs", in_plain_words(expected)))
    }

    fn invalid_value(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(format!("{found} is not {}", in_plain_words(expected)))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::unknown("key", field, expected)
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::unknown("name", variant, expected)
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(format!("the key `{field}` is missing")).remedy(format!("add `{field}:`"))
    }
}

/// What serde expects, without Rust's names for it.
fn in_plain_words(expected: &dyn de::Expected) -> String {
    match expected.to_string().as_str() {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number of at least 0".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a sequence" => "a list".to_owned(),
        text if text.starts_with("struct ") => "a map of keys and values".to_owned(),
        text => text.to_owned(),
    }
}

fn listed(names: &[&str]) -> String {
    names.join(", ")
}

/// The valid name that a misspelt one most likely meant.
fn nearest<'a>(name: &str, valid: &[&'a str]) -> Option<&'a str> {
    let similar = |candidate: &&&str| strsim::jaro_winkler(name, candidate) > 0.75;
    valid
        .iter()
        .filter(similar)
        .max_by(|a, b| strsim::jaro_winkler(name, a).total_cmp(&strsim::jaro_winkler(name, b)))
        .copied()
}
