//! Where artifacts lie: a folder or a URL.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use url::Url;

/// Where artifacts lie. Its text has no secret: credentials come from the environment alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A folder, on a disk of this machine or shared by the network.
    Folder(PathBuf),
    /// A bucket of an object store, and a prefix in it.
    Remote(Url),
}

/// Text that names no place for artifacts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no place for artifacts: {problem}; name a folder, `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX` or `az://CONTAINER/PREFIX`"
)]
pub struct InvalidLocation {
    text: String,
    problem: String,
}

impl FromStr for Location {
    type Err = InvalidLocation;

    fn from_str(text: &str) -> Result<Self, InvalidLocation> {
        if text.is_empty() {
            return invalid(text, "it is empty");
        }
        if !text.contains("://") {
            return Ok(Self::Folder(text.into()));
        }
        let url = Url::parse(text).or_else(|error| invalid(text, &error.to_string()))?;
        match url.scheme() {
            "file" => url.to_file_path().map(Self::Folder).or_else(|()| invalid(text, "it is no path of this machine")),
            "s3" | "gs" | "az" => remote(text, url),
            other => invalid(text, &format!("no store speaks `{other}`")),
        }
    }
}

fn remote(text: &str, url: Url) -> Result<Location, InvalidLocation> {
    if !url.username().is_empty() || url.password().is_some() {
        return invalid(text, "credentials belong into the environment, not into the URL");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return invalid(text, "`?` and `#` have no meaning in it");
    }
    match url.host_str() {
        Some(bucket) if !bucket.is_empty() => Ok(Location::Remote(url)),
        _ => invalid(text, "it names no bucket"),
    }
}

/// Whoever put credentials into a URL does not want to read them in a log.
fn invalid<T>(text: &str, problem: &str) -> Result<T, InvalidLocation> {
    let text = match text.split_once("://") {
        Some((scheme, rest)) if rest.contains('@') => format!("{scheme}://…"),
        _ => text.to_owned(),
    };
    Err(InvalidLocation { text, problem: problem.into() })
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => path.display().fmt(f),
            Self::Remote(url) => url.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn folders_and_buckets_are_told_apart() {
        let parse = |text: &str| text.parse::<Location>().unwrap();
        assert_eq!(parse("state/artifacts"), Location::Folder("state/artifacts".into()));
        assert_eq!(parse("file:///var/tutti"), Location::Folder("/var/tutti".into()));
        for url in ["s3://bucket/a/b", "gs://bucket", "az://container/prefix"] {
            assert_eq!(parse(url).to_string(), url);
        }
    }

    #[test]
    fn what_is_no_place_is_refused_with_the_remedy_and_without_secrets() {
        for (text, word) in [
            ("", "empty"),
            ("http://bucket", "`http`"),
            ("s3:///prefix", "bucket"),
            ("s3://bucket?region=x", "`?`"),
            ("s3://key:hidden@bucket", "environment"),
            ("http://key:hidden@bucket", "`http`"),
        ] {
            let error = text.parse::<Location>().unwrap_err().to_string();
            assert!(error.contains(word) && error.contains("s3://BUCKET/PREFIX"), "{error}");
            assert!(!error.contains("hidden"), "{error}");
        }
    }
}
