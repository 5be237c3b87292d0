/// Why a data set cannot be used. Every variant names the file, what was found and what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DatasetError {
    /// None of the files by which the format is recognized is there.
    #[error("none of {} is in the data folder; check `data.path` and `data.format`", .names.join(", "))]
    Missing {
        /// The names looked for.
        names: &'static [&'static str],
    },
    /// Some of the format's files are there, but not this one.
    #[error("{name} is missing, though {present} is there")]
    Incomplete {
        /// The file that is missing.
        name: String,
        /// The file that it belongs to.
        present: String,
    },
    /// The file is there but does not give its bytes.
    #[error("{file} cannot be read: {reason}")]
    Unreadable {
        /// The file.
        file: String,
        /// What the system said.
        reason: String,
    },
    /// The file is of another kind.
    #[error("{file} starts with {found:#010x}, not with {expected:#010x}: it is not an IDX file of {what}")]
    WrongMagic {
        /// The file.
        file: String,
        /// What it should hold.
        what: &'static str,
        /// Its first four bytes, big-endian.
        found: u32,
        /// What they should be.
        expected: u32,
    },
    /// The compressed stream is damaged or incomplete.
    #[error("{file} cannot be decompressed: {reason}; fetch it again")]
    Gzip {
        /// The file.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// The file has fewer bytes than its header accounts for.
    #[error("{file} is cut short: {expected} bytes of {what} were expected, {found} are there; fetch it again")]
    Truncated {
        /// The file.
        file: String,
        /// What is cut short.
        what: &'static str,
        /// Bytes that the header accounts for; at most this many could be there.
        expected: u64,
        /// Bytes that are there.
        found: u64,
    },
    /// The file goes on after what its header accounts for.
    #[error("{file} goes on after the {expected} bytes of {what} that its header accounts for")]
    TrailingBytes {
        /// The file.
        file: String,
        /// What should be the last thing in the file.
        what: &'static str,
        /// Bytes that the header accounts for.
        expected: u64,
    },
    /// The file's length is no multiple of its records'.
    #[error("{file} has {bytes} bytes, which is no multiple of its records' {record}; it may be cut short")]
    Ragged {
        /// The file.
        file: String,
        /// Its length.
        bytes: u64,
        /// The length of one record.
        record: u64,
    },
    /// Not every image has a label, or the other way about.
    #[error("{images_file} has {images} images, but {labels_file} has {labels} labels")]
    CountMismatch {
        /// The file with the images.
        images_file: String,
        /// Images in it.
        images: u64,
        /// The file with the labels.
        labels_file: String,
        /// Labels in it.
        labels: u64,
    },
    /// A label names no class.
    #[error("{file}: label {label} of sample {index} is not among the {classes} classes 0 to {}; check `data.classes`", .classes - 1)]
    LabelOutOfRange {
        /// The file.
        file: String,
        /// The sample, from 0.
        index: usize,
        /// The label.
        label: i64,
        /// The number of classes.
        classes: u32,
    },
    /// There is no sample, or samples have no pixels.
    #[error("{file} is empty: its header says {shape:?}")]
    Empty {
        /// The file.
        file: String,
        /// The sizes in its header.
        shape: Vec<u64>,
    },
    /// More than this program will take.
    #[error("{file} announces {bytes} bytes of {what}, more than the {limit} allowed")]
    TooLarge {
        /// The file.
        file: String,
        /// What there is too much of.
        what: &'static str,
        /// How much its header announces.
        bytes: u64,
        /// How much is allowed.
        limit: u64,
    },
    /// The safetensors header is damaged.
    #[error("{file}: {reason}")]
    Header {
        /// The file.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// A tensor is missing, or has another type or shape.
    #[error("{file}: tensor `{name}` is {found}; {expected} is expected")]
    WrongTensor {
        /// The file.
        file: String,
        /// The tensor.
        name: &'static str,
        /// What it is.
        found: String,
        /// What it should be.
        expected: &'static str,
    },
    /// A pixel is no number.
    #[error("{file}: value {index} of `x` is {value}; every pixel must be a finite number")]
    NotFinite {
        /// The file.
        file: String,
        /// The pixel's place in the flat tensor.
        index: usize,
        /// The value, as text.
        value: String,
    },
    /// Test images have another size than training images.
    #[error("images beside {file} are {found:?} (channels, height, width), but those for training are {expected:?}")]
    ShapesDiffer {
        /// The test labels' file.
        file: String,
        /// The training images' shape.
        expected: [usize; 3],
        /// The test images' shape.
        found: [usize; 3],
    },
}
