//! The job file, as YAML from a user and as JSON from a client.

use ensemble::expand::expand;
use ensemble::job::Job;

/// Seven lists of nine aliases each: 4,782,969 numbers, were they all written out.
const ALIASES: &str = "
a: &a [1, 2, 3, 4, 5, 6, 7, 8, 9]
b: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]
c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b]
d: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c]
e: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d]
f: &f [*e, *e, *e, *e, *e, *e, *e, *e, *e]
name: [*f, *f, *f, *f, *f, *f, *f, *f, *f]
";

/// The example jobs, which together use most of the schema, and a file whose aliases would grow without bound.
pub fn samples() -> Vec<Vec<u8>> {
    let examples = [
        include_str!("../../../deploy/jobs/fashion-mnist.yaml"),
        include_str!("../../../deploy/jobs/cifar10-resnet18.yaml"),
        include_str!("../../../deploy/jobs/digits-mlp.yaml"),
        include_str!("../../../deploy/jobs/resnet50-images.yaml"),
        ALIASES,
    ];
    examples.into_iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// Reads a job from YAML, and goes on with it as `tutti run` and the coordinator would: to JSON and back, which loses
/// nothing, and into runs.
pub fn yaml(bytes: &[u8]) {
    let Ok(job) = Job::parse(&String::from_utf8_lossy(bytes), &[]) else { return };
    let again = Job::from_json(&job.to_json()).expect("a job that was accepted is accepted again");
    assert_eq!(again, job, "the JSON form says the same");
    // What is too large to be expanded is refused; it was no panic.
    let _ = expand(&job);
}

/// Reads a job from JSON.
pub fn json(bytes: &[u8]) {
    let Ok(job) = Job::from_json(&String::from_utf8_lossy(bytes)) else { return };
    let _ = expand(&job);
}

/// The samples' JSON forms.
pub fn json_samples() -> Vec<Vec<u8>> {
    let parsed = samples().into_iter().filter_map(|yaml| Job::parse(&String::from_utf8_lossy(&yaml), &[]).ok());
    parsed.map(|job| job.to_json().into_bytes()).collect()
}
