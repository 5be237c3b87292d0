//! Messages on an engine's standard input and output: each after its length, as protobuf's varint.

use prost::Message;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// No message is longer. The longest carry a batch of inputs (at most 4 MiB) or the answers of many members to one.
pub const FRAME_BYTES_MAX: usize = 64 << 20;
/// A length below 2^35 has at most this many bytes as a varint.
const LENGTH_BYTES_MAX: usize = 5;

/// Reads one message; none at the end of the stream.
///
/// # Errors
/// When the stream breaks or ends within a message, or the bytes are no such message, or too many.
pub async fn read<M: Message + Default>(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<M>> {
    let Some(length) = read_length(stream).await? else { return Ok(None) };
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await?;
    M::decode(bytes.as_slice()).map(Some).map_err(invalid)
}

async fn read_length(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<usize>> {
    let mut varint = Vec::with_capacity(LENGTH_BYTES_MAX);
    loop {
        match stream.read_u8().await {
            Ok(byte) => varint.push(byte),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && varint.is_empty() => return Ok(None),
            Err(error) => return Err(error),
        }
        let complete = varint.last().is_some_and(|byte| byte & 0x80 == 0);
        if complete || varint.len() == LENGTH_BYTES_MAX {
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
///
/// # Errors
/// When the stream breaks.
pub async fn write(stream: &mut (impl AsyncWrite + Unpin), message: &impl Message) -> io::Result<()> {
    stream.write_all(&message.encode_length_delimited_to_vec()).await?;
    stream.flush().await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proto::v1::EngineLog;

    async fn read_all(bytes: &[u8]) -> io::Result<Vec<String>> {
        let mut stream = bytes;
        let mut texts = Vec::new();
        while let Some(message) = read::<EngineLog>(&mut stream).await? {
            texts.push(message.text);
        }
        Ok(texts)
    }

    #[tokio::test]
    async fn messages_come_out_as_they_went_in() {
        let texts = [String::new(), "short".to_owned(), "x".repeat(300)];
        let mut bytes = Vec::new();
        for text in &texts {
            write(&mut bytes, &EngineLog { text: text.clone() }).await.unwrap();
        }
        assert_eq!(read_all(&bytes).await.unwrap(), texts);
    }

    #[tokio::test]
    async fn a_stream_that_ends_within_a_message_is_an_error() {
        let mut bytes = Vec::new();
        write(&mut bytes, &EngineLog { text: "x".repeat(300) }).await.unwrap();
        for length in [1, 2, 3, bytes.len() - 1] {
            assert_eq!(read_all(&bytes[..length]).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        }
    }

    #[tokio::test]
    async fn a_length_beyond_the_bound_is_refused_before_anything_is_allocated() {
        for bytes in [&[0xff, 0xff, 0xff, 0xff, 0x7f][..], &[0xff; 8]] {
            assert_eq!(read_all(bytes).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
    }
}
