//! Messages of the wire that are well formed and mean anything at all.

use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};
use std::sync::LazyLock;

/// How deep messages are nested, beyond which fields stay empty.
const DEPTH_MAX: usize = 5;

/// A job that is accepted.
pub const JOB: &str = r#"{"name": "shapes", "data": {"format": "idx", "path": "/data"}, "model": {"architecture": "mlp"},
    "train": {"epochs": 1}, "members": [{"seeds": {"count": 2}}]}"#;
/// The SHA-256 of `abc` (FIPS 180-2, appendix B.1).
pub const DIGEST_OF_ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

/// Words that some field somewhere understands.
const WORDS: [&str; 15] = [
    "",
    "shapes-1",
    "shapes-1/train/0",
    "shapes-1/train/1",
    "shapes-1/evaluate/2",
    "shapes-1/evaluate/4294967295",
    "w",
    "once",
    "ensemble",
    "member/0",
    "average/ema",
    "../../etc/passwd",
    "ü\u{0}\n",
    DIGEST_OF_ABC,
    JOB,
];

/// Everything that the services of the wire take, from their descriptors.
pub static WIRE: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(proto::DESCRIPTORS).expect("the committed descriptors are well formed"));

/// Bytes as a source of choices. When they are used up, every choice is the first.
#[derive(Debug)]
pub struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    /// Choices made by these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// A number below `count`.
    pub fn below(&mut self, count: usize) -> usize {
        self.byte() as usize % count
    }

    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// Small numbers, and those at the edges.
    fn number(&mut self) -> u64 {
        match self.byte() {
            small @ 0..0xf0 => u64::from(small % 16),
            0xf0..0xf4 => u64::MAX,
            0xf4..0xf8 => u64::from(u32::MAX),
            0xf8..0xfc => i64::MAX as u64,
            _ => u64::from_le_bytes(std::array::from_fn(|_| self.byte())),
        }
    }

    fn real(&mut self) -> f64 {
        [0.0, 1.0, -1.0, 0.5, f64::NAN, f64::INFINITY, f64::MIN_POSITIVE, f64::MAX][self.below(8)]
    }

    fn bytes(&mut self) -> Vec<u8> {
        let count = self.number().min(64) as usize;
        (0..count).map(|_| self.byte()).collect()
    }

    fn text(&mut self) -> String {
        match self.below(WORDS.len() + 2) {
            word if word < WORDS.len() => WORDS[word].to_owned(),
            _ => String::from_utf8_lossy(&self.bytes()).into_owned(),
        }
    }
}

/// A message of this kind.
pub fn grow(kind: &MessageDescriptor, choices: &mut Choices<'_>) -> DynamicMessage {
    message(kind, choices, 0)
}

fn message(kind: &MessageDescriptor, choices: &mut Choices<'_>, depth: usize) -> DynamicMessage {
    let mut grown = DynamicMessage::new(kind.clone());
    for choice in kind.oneofs() {
        let fields: Vec<_> = choice.fields().collect();
        let chosen = choices.below(fields.len() + usize::from(choice.is_synthetic()));
        if let Some(field) = fields.get(chosen) {
            set(&mut grown, field, choices, depth);
        }
    }
    for field in kind.fields().filter(|field| field.containing_oneof().is_none()) {
        set(&mut grown, &field, choices, depth);
    }
    grown
}

fn set(into: &mut DynamicMessage, field: &FieldDescriptor, choices: &mut Choices<'_>, depth: usize) {
    if field.is_map() {
        let entry = (MapKey::String(choices.text()), Value::String(choices.text()));
        into.try_set_field(field, Value::Map([entry].into())).ok();
    } else if field.is_list() {
        let values = (0..choices.below(4)).filter_map(|_| value(&field.kind(), choices, depth)).collect();
        into.set_field(field, Value::List(values));
    } else if let Some(value) = value(&field.kind(), choices, depth) {
        into.set_field(field, value);
    }
}

fn value(kind: &Kind, choices: &mut Choices<'_>, depth: usize) -> Option<Value> {
    Some(match kind {
        Kind::Message(_) if depth >= DEPTH_MAX => return None,
        Kind::Message(kind) => Value::Message(message(kind, choices, depth + 1)),
        Kind::Enum(kind) => Value::EnumNumber(choices.below(kind.values().len() + 1) as i32),
        Kind::String => Value::String(choices.text()),
        Kind::Bytes => Value::Bytes(choices.bytes().into()),
        Kind::Bool => Value::Bool(choices.below(2) == 1),
        Kind::Double => Value::F64(choices.real()),
        Kind::Float => Value::F32(choices.real() as f32),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(choices.number() as u32),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(choices.number()),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(choices.number() as i32),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(choices.number() as i64),
    })
}
