//! Small damage to valid bytes.

use bolero::TypeGenerator;

/// No edited input becomes longer: what a target may allocate is judged by it.
pub const INPUT_BYTES_MAX: usize = 64 << 10;

/// Numbers at which arithmetic breaks.
const EDGES: [u64; 8] = [0, 1, 0x7f, 0xff, i32::MAX as u64, u32::MAX as u64, i64::MAX as u64, u64::MAX];

/// Text at which parsers of YAML and JSON break.
const TOKENS: [&str; 24] = [
    "[",
    "]",
    "{",
    "}",
    ": ",
    ",",
    "\n",
    "\"",
    "-",
    "&a ",
    "*a",
    "<<: *a",
    "!!binary ",
    "null",
    "true",
    "-1",
    "1e999",
    ".nan",
    "18446744073709551616",
    "\u{0}",
    "\u{202e}",
    "ü",
    "\t",
    "? ",
];

/// One change. Places are taken modulo the length, so that every edit hits.
#[derive(Clone, Debug, TypeGenerator)]
pub enum Edit {
    /// Turns one bit over.
    Flip(u32, u8),
    /// Puts one byte in another's place.
    Set(u32, u8),
    /// Writes a number at the edge of its type, of 1, 2, 4 or 8 bytes, in either byte order.
    Edge(u32, u8, u8, bool),
    /// Puts a token in.
    Token(u32, u8),
    /// Takes bytes out.
    Remove(u32, u8),
    /// Says bytes again, up to 256 times.
    Repeat(u32, u8, u8),
    /// Cuts the end off.
    Cut(u32),
    /// Puts arbitrary bytes at the end.
    Append(Vec<u8>),
}

/// A sample with all edits, in order.
pub fn edited(sample: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut bytes = sample.to_vec();
    for edit in edits {
        edit.apply(&mut bytes);
        bytes.truncate(INPUT_BYTES_MAX);
    }
    bytes
}

impl Edit {
    fn apply(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            bytes.push(0);
        }
        let length = bytes.len();
        let place = |at: u32| at as usize % length;
        match *self {
            Self::Flip(at, bit) => {
                let at = place(at);
                bytes[at] ^= 1 << (bit % 8);
            }
            Self::Set(at, value) => {
                let at = place(at);
                bytes[at] = value;
            }
            Self::Edge(at, edge, width, big) => overwrite(bytes, place(at), &edge_bytes(edge, width, big)),
            Self::Token(at, token) => {
                let (at, token) = (place(at), TOKENS[token as usize % TOKENS.len()]);
                bytes.splice(at..at, token.bytes());
            }
            Self::Remove(at, count) => {
                let at = place(at);
                bytes.drain(at..bytes.len().min(at + count as usize));
            }
            Self::Repeat(at, count, times) => {
                let at = place(at);
                let again = bytes[at..bytes.len().min(at + count as usize)].repeat(times as usize);
                bytes.splice(at..at, again);
            }
            Self::Cut(at) => bytes.truncate(place(at)),
            Self::Append(ref more) => bytes.extend_from_slice(more),
        }
    }
}

fn edge_bytes(edge: u8, width: u8, big: bool) -> Vec<u8> {
    let width = 1 << (width % 4);
    let number = EDGES[edge as usize % EDGES.len()];
    if big { number.to_be_bytes()[8 - width..].to_vec() } else { number.to_le_bytes()[..width].to_vec() }
}

fn overwrite(bytes: &mut [u8], at: usize, with: &[u8]) {
    let end = bytes.len().min(at + with.len());
    bytes[at..end].copy_from_slice(&with[..end - at]);
}
