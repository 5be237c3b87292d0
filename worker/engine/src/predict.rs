//! Models loaded to answer: equal architectures side by side as one pack, one grouped pass for all of them.

use std::path::{Path, PathBuf};

use ensemble::job::Precision;
use tch::{Device, Kind, Tensor};

use crate::data::{Data, Normalization};
use crate::error::TaskError;
use crate::model_file::{self, Interface, ModelFile};
use crate::nn::{InputShape, Mode, Network};
use crate::scoring;

/// Loads one model to work on a data set, which it must fit.
pub fn load_for(path: &Path, data: &Data, device: Device) -> Result<(Network, ModelFile), TaskError> {
    let file = model_file::read(path)?;
    let Interface { classes, shape, .. } = file.interface;
    if (classes, shape) != (data.classes, data.shape) {
        return Err(TaskError::Job(format!(
            "{}: it is made for {classes} classes and images of {shape}, but the data has {} and {}",
            path.display(),
            data.classes,
            data.shape
        )));
    }
    Ok((pack(&[&file], device)?, file))
}

/// A pack of models of one architecture.
fn pack(files: &[&ModelFile], device: Device) -> Result<Network, TaskError> {
    let Interface { model, classes, shape, .. } = &files[0].interface;
    let seeds = vec![0; files.len()];
    let mut network = Network::new(model, *shape, *classes, 0.0, &seeds, device, Precision::F32)?;
    for (place, file) in files.iter().enumerate() {
        network.arena_mut().load_state_of(place, &file.tensors)?;
    }
    Ok(network)
}

/// Models that answer together.
#[derive(Debug)]
pub struct Predictor {
    packs: Vec<Answering>,
}

/// A pack of members of one architecture.
#[derive(Debug)]
struct Answering {
    network: Network,
    shape: InputShape,
    normalizations: Vec<Normalization>,
    members: Vec<u32>,
}

/// What is asked: `[rows, C, H, W]`, u8 from 0 to 255 or f32 from 0 to 1.
#[derive(Debug)]
pub struct Question(Tensor);

/// What one member answers.
#[derive(Debug, Clone, PartialEq)]
pub struct MemberAnswer {
    /// The member.
    pub member: u32,
    /// `[rows, classes]`, row-major.
    pub logits: Vec<f32>,
    /// Classes.
    pub classes: u32,
}

impl Question {
    /// Takes pixels as they come over the wire: `data` is row-major and little-endian.
    pub fn new(shape: &[u32], data: &[u8], kind: Kind) -> Result<Self, TaskError> {
        let sizes: Vec<i64> = shape.iter().map(|&size| size.into()).collect();
        let bytes =
            shape.iter().try_fold(kind.elt_size_in_bytes() as u64, |bytes, &size| bytes.checked_mul(size.into()));
        if shape.len() != 4 || bytes != Some(data.len() as u64) || data.is_empty() {
            let (kind, length) = (format!("{kind:?}").to_lowercase(), data.len());
            let message = format!(
                "inputs of shape {shape:?} in {kind} do not go with {length} bytes; send [rows, channels, height, width]"
            );
            return Err(TaskError::Job(message));
        }
        Ok(Self(Tensor::f_from_data_size(data, &sizes, kind)?))
    }
}

impl Predictor {
    /// Loads the models of some members.
    pub fn load(models: &[(u32, PathBuf)], device: Device) -> Result<Self, TaskError> {
        let mut groups: Vec<Vec<(u32, ModelFile)>> = Vec::new();
        for (member, path) in models {
            let file = model_file::read(path)?;
            match groups.iter_mut().find(|group| goes_with(&group[0].1.interface, &file.interface)) {
                Some(group) => group.push((*member, file)),
                None => groups.push(vec![(*member, file)]),
            }
        }
        let packs = groups.iter().map(|group| Answering::new(group, device)).collect::<Result<_, _>>()?;
        Ok(Self { packs })
    }

    /// Every member's logits for every row.
    pub fn answer(&mut self, question: &Question) -> Result<Vec<MemberAnswer>, TaskError> {
        let mut answers = Vec::new();
        for pack in &mut self.packs {
            answers.extend(pack.answer(question)?);
        }
        answers.sort_by_key(|answer| answer.member);
        Ok(answers)
    }
}

fn goes_with(one: &Interface, other: &Interface) -> bool {
    (&one.model, one.classes, one.shape) == (&other.model, other.classes, other.shape)
}

impl Answering {
    fn new(group: &[(u32, ModelFile)], device: Device) -> Result<Self, TaskError> {
        let files: Vec<&ModelFile> = group.iter().map(|(_, file)| file).collect();
        Ok(Self {
            network: pack(&files, device)?,
            shape: files[0].interface.shape,
            normalizations: files.iter().map(|file| file.interface.normalization.clone()).collect(),
            members: group.iter().map(|(member, _)| *member).collect(),
        })
    }

    fn answer(&mut self, Question(inputs): &Question) -> Result<Vec<MemberAnswer>, TaskError> {
        let InputShape { channels, height, width } = self.shape;
        if inputs.size()[1..] != [channels, height, width] {
            let found = &inputs.size()[1..];
            let message =
                format!("inputs are images of {found:?}, but the models take {:?}", [channels, height, width]);
            return Err(TaskError::Job(message));
        }
        let rows = inputs.f_to_device(self.network.device())?.f_permute([0, 2, 3, 1])?.f_unsqueeze(0)?;
        let mut logits = Vec::new();
        for rows in rows.f_split(scoring::batch_size(self.network.width()), 1)? {
            let images = Normalization::apply_each(&self.normalizations, &rows)?.f_permute([0, 1, 4, 2, 3])?;
            logits.push(self.network.forward(&images, Mode::Evaluate)?);
        }
        let logits = Tensor::f_cat(&logits, 1)?;
        let classes = logits.size()[2] as u32;
        let answer = |(place, &member): (i64, &u32)| {
            let logits = logits.f_get(place)?.f_reshape([-1])?.f_to_device(Device::Cpu)?;
            Ok(MemberAnswer { member, logits: Vec::try_from(logits)?, classes })
        };
        (0..).zip(&self.members).map(answer).collect()
    }
}
