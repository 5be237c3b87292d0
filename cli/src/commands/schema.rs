//! `tutti schema`: the job file's JSON Schema.

use crate::output::print_json;
use anyhow::Result;

/// Print the JSON Schema of the job file, for editors.
///
/// With the schema in a file, the first line of a job file gives completion and checks in editors that know YAML
/// schemas: # yaml-language-server: $schema=schema.json
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Prints the schema.
pub fn execute(_: &Args) -> Result<()> {
    print_json(&ensemble::job::schema())
}
