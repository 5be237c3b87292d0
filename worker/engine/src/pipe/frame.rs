//! Messages on the pipe: each after its length, as protobuf's varint.

use std::io::{self, Read, Write};

use prost::Message;

/// No message is longer, as the worker has it too.
const FRAME_BYTES_MAX: usize = 64 << 20;
/// A length below 2^35 has at most this many bytes as a varint.
const LENGTH_BYTES_MAX: usize = 5;

/// Reads one message; none at the end of the stream.
pub fn read<M: Message + Default>(stream: &mut impl Read) -> io::Result<Option<M>> {
    let Some(length) = read_length(stream)? else { return Ok(None) };
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes)?;
    M::decode(bytes.as_slice()).map(Some).map_err(invalid)
}

fn read_length(stream: &mut impl Read) -> io::Result<Option<usize>> {
    let mut varint = Vec::with_capacity(LENGTH_BYTES_MAX);
    loop {
        let mut byte = [0];
        match stream.read_exact(&mut byte) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && varint.is_empty() => return Ok(None),
            read => read?,
        }
        varint.push(byte[0]);
        if byte[0] & 0x80 == 0 || varint.len() == LENGTH_BYTES_MAX {
            return bounded(prost::decode_length_delimiter(varint.as_slice()).map_err(invalid)?).map(Some);
        }
    }
}

fn bounded(length: usize) -> io::Result<usize> {
    if length <= FRAME_BYTES_MAX {
        return Ok(length);
    }
    Err(invalid(format!("a message of {length} bytes; at most {FRAME_BYTES_MAX} are allowed")))
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Writes one message.
pub fn write(stream: &mut impl Write, message: &impl Message) -> io::Result<()> {
    bounded(message.encoded_len())?;
    stream.write_all(&message.encode_length_delimited_to_vec())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proto::v1::EngineLog;

    fn read_all(mut bytes: &[u8]) -> io::Result<Vec<String>> {
        std::iter::from_fn(|| read::<EngineLog>(&mut bytes).transpose()).map(|read| read.map(|log| log.text)).collect()
    }

    #[test]
    fn messages_come_out_as_they_went_in_and_nothing_less() {
        let mut bytes = Vec::new();
        let texts = [String::new(), "short".to_owned(), "x".repeat(300)];
        texts.iter().for_each(|text| write(&mut bytes, &EngineLog { text: text.clone() }).unwrap());
        assert_eq!(read_all(&bytes).unwrap(), texts);
        let cut = read_all(&bytes[..bytes.len() - 1]).unwrap_err();
        assert_eq!(cut.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_length_beyond_the_bound_is_refused_before_anything_is_allocated() {
        for bytes in [&[0xff, 0xff, 0xff, 0xff, 0x7f][..], &[0xff; 8]] {
            assert_eq!(read_all(bytes).unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
    }
}
