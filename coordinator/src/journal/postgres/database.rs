//! Which database, and how it is reached.

use super::tls;
use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;
use tokio_postgres::Config;
use tokio_postgres::config::Host;
use tokio_postgres_rustls::MakeRustlsConnect;

/// How long to wait for a connection, and for a network that swallows what is sent. Both end in another attempt.
const NETWORK_TIMEOUT: Duration = Duration::from_secs(5);

/// A PostgreSQL database and how to reach it. Shown without its password.
#[derive(Clone)]
pub struct Database {
    pub(super) config: Config,
    pub(super) tls: MakeRustlsConnect,
    pub(super) name: String,
}

/// Why a database cannot be named so.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// It is no address of a PostgreSQL database.
    #[error(
        "the database's address is not understood: {0}; write postgres://USER:PASSWORD@HOST:5432/NAME?sslmode=require"
    )]
    Address(String),
    /// The certificates cannot be read.
    #[error("the database's certificates cannot be read: {0}; name a file of PEM certificates with --database-ca")]
    Certificates(String),
}

impl Database {
    /// A database by its URL. `sslmode` in it says whether the connection is encrypted: `disable`, `prefer` or `require`.
    /// The server's certificate is always checked, against the system's authorities or those of the file `authorities`.
    pub fn new(url: &str, authorities: Option<&Path>) -> Result<Self, DatabaseError> {
        let address = |error: tokio_postgres::Error| DatabaseError::Address(with_causes(&error));
        let mut config = Config::from_str(url).map_err(address)?;
        if config.get_hosts().is_empty() {
            return Err(DatabaseError::Address("it names no host".into()));
        }
        config.application_name("tutti-coordinator");
        config.connect_timeout(NETWORK_TIMEOUT).tcp_user_timeout(NETWORK_TIMEOUT).keepalives_idle(NETWORK_TIMEOUT);
        let name = name(&config);
        Ok(Self { config, tls: tls::connector(authorities)?, name })
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Database({})", self.name)
    }
}

impl fmt::Display for Database {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)
    }
}

fn name(config: &Config) -> String {
    let host = |host: &Host| match host {
        Host::Tcp(name) => name.clone(),
        Host::Unix(path) => path.display().to_string(),
    };
    let hosts: Vec<_> = config.get_hosts().iter().map(host).collect();
    let database = config.get_dbname().or(config.get_user()).unwrap_or("postgres");
    format!("{database} on {}", hosts.join(", "))
}

/// An error with what caused it: the driver's own messages say only what failed, not why.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_database_is_named_without_its_password() {
        let database = Database::new("postgres://me:secret@db.example:5432/tutti?sslmode=require", None).unwrap();
        assert_eq!(format!("{database} {database:?}"), "tutti on db.example Database(tutti on db.example)");
    }

    #[test]
    fn what_is_no_address_is_refused_with_an_example() {
        for url in ["mysql://host/db", "postgres://", "postgres://host/db?sslmode=perhaps"] {
            let error = Database::new(url, None).unwrap_err().to_string();
            assert!(error.contains("sslmode=require"), "{url}: {error}");
        }
        let error = Database::new("postgres://host/db", Some(Path::new("/no/such/file"))).unwrap_err().to_string();
        assert!(error.contains("--database-ca"), "{error}");
    }
}
