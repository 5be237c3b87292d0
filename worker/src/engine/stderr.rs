//! What an engine writes: lines, cut to size, the last of which are kept.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

/// Longer lines are cut here. A line of C++ templates in a libtorch error is shorter.
const LINE_BYTES_MAX: usize = 4096;
/// The last lines, kept for the message of a failure …
const LINES_KEPT: usize = 200;
/// … which holds as many of them as have no more bytes than this.
const LINES_BYTES_MAX: usize = 60 << 10;

/// The last lines of an engine.
#[derive(Debug, Default)]
pub struct Tail {
    lines: Mutex<VecDeque<String>>,
}

impl Tail {
    /// Keeps a line, and forgets the oldest if there are too many.
    pub fn push(&self, line: String) {
        let mut lines = self.locked();
        if lines.len() == LINES_KEPT {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    /// Forgets all lines, for a new task begins.
    pub fn clear(&self) {
        self.locked().clear();
    }

    /// The lines that fit a message, oldest first, after words that lead up to them; nothing if there is none.
    pub fn text(&self) -> String {
        let lines = self.locked();
        let mut bytes = 0;
        let fits = |line: &&String| {
            bytes += line.len() + 1;
            bytes <= LINES_BYTES_MAX
        };
        let count = lines.iter().rev().take_while(fits).count();
        let last: Vec<&str> = lines.iter().skip(lines.len() - count).map(String::as_str).collect();
        if last.is_empty() { String::new() } else { format!("; its last lines:\n{}", last.join("\n")) }
    }

    fn locked(&self) -> MutexGuard<'_, VecDeque<String>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lines of a stream, none of them longer than the bound, whatever is written.
#[derive(Debug)]
pub struct Lines<R> {
    stream: BufReader<R>,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    /// The lines of `stream`.
    pub fn new(stream: R) -> Self {
        Self { stream: BufReader::new(stream) }
    }

    /// The next line, without its end; bytes that are no UTF-8 are replaced. None at the end or when the stream breaks.
    pub async fn next(&mut self) -> Option<String> {
        let mut line = Vec::new();
        loop {
            let available = self.stream.fill_buf().await.ok()?;
            if available.is_empty() {
                return if line.is_empty() { None } else { Some(text(&line)) };
            }
            let end = available.iter().position(|byte| *byte == b'\n');
            let part = &available[..end.unwrap_or(available.len())];
            line.extend_from_slice(&part[..part.len().min(LINE_BYTES_MAX - line.len())]);
            let used = end.map_or(available.len(), |end| end + 1);
            self.stream.consume(used);
            if end.is_some() {
                return Some(text(&line));
            }
        }
    }
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line).trim_end_matches('\r').to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    async fn lines_of(bytes: &[u8]) -> Vec<String> {
        let mut lines = Lines::new(bytes);
        let mut found = Vec::new();
        while let Some(line) = lines.next().await {
            found.push(line);
        }
        found
    }

    #[tokio::test]
    async fn lines_are_cut_and_never_lost() {
        assert_eq!(lines_of(b"one\r\n\ntwo\nlast").await, ["one", "", "two", "last"]);
        assert_eq!(lines_of(b"\xff\n").await, ["\u{fffd}"]);
        let long = [vec![b'x'; 3 * LINE_BYTES_MAX], b"\nnext\n".to_vec()].concat();
        assert_eq!(lines_of(&long).await, [&"x".repeat(LINE_BYTES_MAX), "next"]);
    }

    #[test]
    fn the_tail_keeps_the_last_lines() {
        let tail = Tail::default();
        for number in 0..LINES_KEPT + 3 {
            tail.push(number.to_string());
        }
        let text = tail.text();
        assert!(text.starts_with("; its last lines:\n3\n4\n"), "{text}");
        tail.clear();
        assert_eq!(tail.text(), "");
    }

    #[test]
    fn a_message_holds_the_last_of_many_bytes() {
        let tail = Tail::default();
        (0..100).for_each(|_| tail.push("x".repeat(1023)));
        assert_eq!(tail.text().lines().count() - 1, LINES_BYTES_MAX / 1024);
    }
}
