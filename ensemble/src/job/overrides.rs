//! Changes to a job from outside its file: `--set train.epochs=3`, or one point of a grid.

use super::document;
use super::problem::{JobFileError, Problem};
use serde_json::{Map, Value};
use std::str::FromStr;

/// One value put in place of another: a dotted path of keys, and what shall stand there.
#[derive(Clone, Debug, PartialEq)]
pub struct Override {
    path: String,
    value: Value,
}

impl Override {
    /// An override of the key at `path`, such as `train.learning_rate.max`.
    pub fn new(path: impl Into<String>, value: Value) -> Self {
        Self { path: path.into(), value }
    }

    /// Puts the value into the document. Maps on the way are made; a list's element is named by its number.
    ///
    /// A choice may be left out of the path: `train.learning_rate.max` reaches into
    /// `learning_rate: {cosine: {max: 0.1}}` as `train.learning_rate.cosine.max` does.
    pub(super) fn apply(&self, document: &mut Value) -> Result<(), JobFileError> {
        let mut place = document;
        let segments: Vec<_> = self.path.split('.').collect();
        for (depth, segment) in segments.iter().enumerate() {
            let parent = segments[..depth].join(".");
            place = child(place, segment).ok_or_else(|| {
                Problem::new(&self.path, format!("`{parent}` holds no `{segment}`"), "name a key of the job file")
            })?;
        }
        *place = self.value.clone();
        Ok(())
    }
}

fn child<'a>(place: &'a mut Value, segment: &str) -> Option<&'a mut Value> {
    if place.is_null() {
        *place = Value::Object(Map::new());
    }
    match place {
        Value::Object(map) => Some(entry(map, segment)),
        Value::Array(items) => segment.parse::<usize>().ok().and_then(|index| items.get_mut(index)),
        _ => None,
    }
}

/// The entry for `segment`, looked up one level deeper when the only entry here is a choice that holds it.
fn entry<'a>(map: &'a mut Map<String, Value>, segment: &str) -> &'a mut Value {
    let through_choice = !map.contains_key(segment)
        && map.len() == 1
        && map.values().all(|only| only.as_object().is_some_and(|choice| choice.contains_key(segment)));
    if through_choice {
        let choice = map.values_mut().next().and_then(Value::as_object_mut).expect("the choice was just looked into");
        return choice.entry(segment).or_insert(Value::Null);
    }
    map.entry(segment).or_insert(Value::Null)
}

impl FromStr for Override {
    type Err = JobFileError;

    /// Reads `path=value`, the value being YAML: `train.epochs=3`, `train.learning_rate={constant: {value: 0.1}}`.
    fn from_str(text: &str) -> Result<Self, JobFileError> {
        match text.split_once('=') {
            Some((path, value)) if !path.is_empty() => Ok(Self::new(path, document::from_yaml(value)?)),
            _ => {
                Err(Problem::new("", format!("`{text}` sets nothing"), "write KEY=VALUE, as in train.epochs=3").into())
            }
        }
    }
}
