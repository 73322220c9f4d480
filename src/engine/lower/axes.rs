//! What the axes of tensors are on vector blocks: channels, rows or columns.
//!
//! Convolutions have channels in front, `[N, C, H, W]`; tokens have them behind, `[N, T, C]`. Attention has heads,
//! `[N, h, T, d]`, which are channels too. Tensors that differ in the order of axes alone lie alike.

use crate::network::{Dim, MAX_RANK};

/// What an axis is on vector blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Role {
    /// The first axis.
    Batch,
    /// One of the axes of channels; the last one is the fastest.
    Channel,
    Row,
    Column,
}

/// The axes of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) struct Axes {
    rank: usize,
    roles: [Role; MAX_RANK],
    // Of one sample.
    lengths: [usize; MAX_RANK],
}

/// Elements of a sample between its parts.
pub(in crate::engine) struct Strides {
    /// The first element of each channel.
    pub channels: Vec<usize>,
    pub row: usize,
    pub column: usize,
}

const IMAGES: [&[Role]; 3] = [
    &[Role::Batch, Role::Channel],
    &[Role::Batch, Role::Channel, Role::Column],
    &[Role::Batch, Role::Channel, Role::Row, Role::Column],
];

const TOKENS: [&[Role]; 3] = [
    &[Role::Batch, Role::Channel],
    &[Role::Batch, Role::Column, Role::Channel],
    &[Role::Batch, Role::Row, Role::Column, Role::Channel],
];

impl Axes {
    /// None of dimensions that vector blocks cannot hold so.
    pub fn new(dims: &[Dim], roles: &[Role]) -> Option<Self> {
        let (Some((Dim::Batch(1), rest)), Some((Role::Batch, of_rest))) =
            (dims.split_first(), roles.split_first())
        else {
            return None;
        };
        let once = |role: Role| of_rest.iter().filter(|of| **of == role).count() <= 1;
        let fits = dims.len() == roles.len()
            && dims.len() <= MAX_RANK
            && !of_rest.contains(&Role::Batch)
            && once(Role::Row)
            && once(Role::Column);
        if !fits {
            return None;
        }
        let mut axes = Self {
            rank: dims.len(),
            roles: [Role::Channel; MAX_RANK],
            lengths: [1; MAX_RANK],
        };
        axes.roles[..roles.len()].copy_from_slice(roles);
        for (length, dim) in axes.lengths[1..].iter_mut().zip(rest) {
            match dim {
                Dim::Fixed(fixed) => *length = *fixed,
                Dim::Batch(_) => return None,
            }
        }
        Some(axes)
    }

    /// Channels in front: `[N, C]`, `[N, C, L]`, `[N, C, H, W]`.
    pub fn images(dims: &[Dim]) -> Option<Self> {
        Self::new(dims, IMAGES.get(dims.len().checked_sub(2)?)?)
    }

    /// Channels behind: `[N, T, C]`, `[N, A, B, C]`.
    pub fn tokens(dims: &[Dim]) -> Option<Self> {
        Self::new(dims, TOKENS.get(dims.len().checked_sub(2)?)?)
    }

    /// The left operand of a product of two activations, and its result: `[N, h, T, d]`.
    pub fn heads(dims: &[Dim]) -> Option<Self> {
        let mut roles = [Role::Channel; MAX_RANK];
        roles[0] = Role::Batch;
        *roles.get_mut(dims.len().checked_sub(2).filter(|&axis| axis > 0)?)? = Role::Column;
        Self::new(dims, roles.get(..dims.len())?)
    }

    pub fn rank(&self) -> usize {
        self.rank
    }

    pub fn role(&self, axis: usize) -> Role {
        self.roles[axis]
    }

    pub fn length(&self, axis: usize) -> usize {
        self.lengths[axis]
    }

    pub fn roles(&self) -> &[Role] {
        &self.roles[..self.rank]
    }

    fn product(&self, role: Role) -> usize {
        let axes = self.roles().iter().zip(&self.lengths);
        axes.filter(|(of, _)| **of == role)
            .map(|(_, length)| length)
            .product()
    }

    pub fn channels(&self) -> usize {
        self.product(Role::Channel)
    }

    pub fn rows(&self) -> usize {
        self.product(Role::Row)
    }

    pub fn columns(&self) -> usize {
        self.product(Role::Column)
    }

    /// Whether both have the same roles, but for axes of one element.
    pub fn is_like(&self, other: &Self) -> bool {
        let alike = |axis: usize| {
            let [own, others] = [self, other].map(|of| (of.lengths[axis], of.roles[axis]));
            own == others || (own.0 == 1 && others.0 == 1)
        };
        self.rank == other.rank && (0..self.rank).all(alike)
    }

    /// Whether an operand's axes are these, but for some of one element.
    pub fn covers(&self, operand: &Self) -> bool {
        let alike = |axis: usize| {
            let [own, others] = [self, operand].map(|of| (of.lengths[axis], of.roles[axis]));
            others.0 == 1 || own == others
        };
        self.rank == operand.rank && (0..self.rank).all(alike)
    }

    /// Whether channels are in front.
    pub fn is_images(&self, dims: &[Dim]) -> bool {
        Self::images(dims).is_some_and(|images| self.is_like(&images))
    }

    /// Whether channels are behind.
    pub fn is_tokens(&self, dims: &[Dim]) -> bool {
        Self::tokens(dims).is_some_and(|tokens| self.is_like(&tokens))
    }

    /// Groups of channels, each of which is this axis, and their channels.
    pub fn groups_of(&self, axis: usize) -> Option<[usize; 2]> {
        if axis == 0 || axis >= self.rank {
            return None;
        }
        let length = self.lengths[axis];
        let inner = |axis: &usize| self.roles[*axis] == Role::Channel && self.lengths[*axis] > 1;
        let innermost = !(axis + 1..self.rank).any(|axis| inner(&axis));
        let channel = length == 1 || (inner(&axis) && innermost);
        channel.then(|| [self.channels() / length.max(1), length])
    }

    pub fn groups_of_last(&self) -> Option<[usize; 2]> {
        self.groups_of(self.rank - 1)
    }

    /// Whether it lies as the left operand of a product of two activations: `[N, h, T, d]`.
    pub fn is_heads(&self) -> bool {
        self.is_channels_but(2)
    }

    /// Whether it lies as such a one that was transposed: `[N, h, d, T]`.
    pub fn is_turned_heads(&self) -> bool {
        self.is_channels_but(1)
    }

    // Whether all axes are channels but this one from the end, which is columns.
    fn is_channels_but(&self, from_end: usize) -> bool {
        (1..self.rank).all(|axis| {
            let role = match axis + from_end == self.rank {
                true => Role::Column,
                false => Role::Channel,
            };
            self.lengths[axis] == 1 || self.roles[axis] == role
        })
    }

    /// The axes of channels, with their lengths.
    pub fn channel_axes(&self) -> Vec<usize> {
        (1..self.rank)
            .filter(|&axis| self.roles[axis] == Role::Channel)
            .collect()
    }

    /// The axis of rows or of columns.
    pub fn axis_of(&self, role: Role) -> Option<usize> {
        (1..self.rank).find(|&axis| self.roles[axis] == role)
    }

    /// The place on each axis of channels, of each channel.
    pub fn channel_places(&self) -> Vec<Vec<usize>> {
        let mut places = vec![Vec::new()];
        for axis in self.channel_axes() {
            let longer = |place: &Vec<usize>| {
                let place = place.clone();
                (0..self.lengths[axis]).map(move |at| [&place[..], &[at]].concat())
            };
            places = places.iter().flat_map(longer).collect();
        }
        places
    }

    pub fn strides(&self) -> Strides {
        let stride = |axis: usize| self.lengths[axis + 1..self.rank].iter().product::<usize>();
        let axes = self.channel_axes();
        let offset = |place: Vec<usize>| {
            let places = axes.iter().zip(place);
            places.map(|(&axis, at)| at * stride(axis)).sum()
        };
        let of = |role: Role| self.axis_of(role).map_or(1, stride);
        Strides {
            channels: self.channel_places().into_iter().map(offset).collect(),
            row: of(Role::Row),
            column: of(Role::Column),
        }
    }

    /// The numbers of a tensor that broadcasts to these axes, one for each channel; none where they differ by
    /// position.
    pub fn by_channel(&self, dims: &[usize], values: &[f32]) -> Option<Vec<f32>> {
        if let [one] = values {
            return Some(vec![*one; self.channels()]);
        }
        let before = self.rank.checked_sub(dims.len())?;
        let fits = dims.iter().enumerate().all(|(axis, &length)| {
            let axis = axis + before;
            length == 1 || (self.roles[axis] == Role::Channel && self.lengths[axis] == length)
        });
        if !fits {
            return None;
        }
        let axes = self.channel_axes();
        let value = |place: Vec<usize>| {
            let mut at = 0;
            for (axis, &length) in dims.iter().enumerate() {
                let own = axes.iter().position(|&of| of == axis + before);
                let own = own.filter(|_| length > 1).map_or(0, |own| place[own]);
                at = at * length + own;
            }
            values.get(at).copied()
        };
        self.channel_places().into_iter().map(value).collect()
    }

    pub fn permuted(&self, axes: &[usize], dims: &[Dim]) -> Option<Self> {
        let roles: Option<Vec<Role>> = axes
            .iter()
            .map(|&axis| self.roles().get(axis).copied())
            .collect();
        Self::new(dims, &roles?)
    }

    /// Those of a tensor of which this is a permutation.
    pub fn unpermuted(&self, axes: &[usize], dims: &[Dim]) -> Option<Self> {
        let mut roles = vec![Role::Channel; axes.len()];
        for (&axis, role) in axes.iter().zip(self.roles()) {
            *roles.get_mut(axis)? = *role;
        }
        Self::new(dims, &roles)
    }

    /// The axes of the same elements in other dimensions, where channels stay channels; rows and columns may become
    /// columns alone, and the other way round.
    pub fn reshaped(&self, dims: &[Dim]) -> Option<Self> {
        let to: Option<Vec<usize>> = dims
            .get(1..)?
            .iter()
            .map(|dim| match dim {
                Dim::Fixed(length) => Some(*length),
                Dim::Batch(_) => None,
            })
            .collect();
        let to = to?;
        let long = |lengths: &[usize]| -> Vec<usize> {
            let all = lengths.iter().enumerate();
            all.filter(|(_, length)| **length != 1)
                .map(|(axis, _)| axis)
                .collect()
        };
        let from = &self.lengths[1..self.rank];
        let (of_own, of_others) = (long(from), long(&to));
        let (mut own, mut others) = (&of_own[..], &of_others[..]);
        let mut roles = vec![Role::Channel; to.len()];
        while !own.is_empty() || !others.is_empty() {
            // The fewest axes of both with as many elements.
            let (mut a, mut b) = (1, 1);
            let count = |of: &[usize], lengths: &[usize]| -> usize {
                of.iter().map(|&axis| lengths[axis]).product()
            };
            loop {
                let left = count(own.get(..a)?, from);
                let right = count(others.get(..b)?, &to);
                match left.cmp(&right) {
                    std::cmp::Ordering::Less => a += 1,
                    std::cmp::Ordering::Greater => b += 1,
                    std::cmp::Ordering::Equal => break,
                }
            }
            let before: Vec<Role> = own[..a].iter().map(|&axis| self.roles[axis + 1]).collect();
            let after: Vec<Role> = match (&before[..], b) {
                (all, b) if all.iter().all(|role| *role == Role::Channel) => {
                    vec![Role::Channel; b]
                }
                ([role], 1) => vec![*role],
                ([Role::Row, Role::Column], 1) => vec![Role::Column],
                ([Role::Column], 2) => vec![Role::Row, Role::Column],
                _ => return None,
            };
            for (&axis, role) in others[..b].iter().zip(after) {
                roles[axis] = role;
            }
            (own, others) = (&own[a..], &others[b..]);
        }
        let reshaped = Self::new(dims, &[&[Role::Batch], &roles[..]].concat())?;
        // Axes of one element may grow later: then they are what they are elsewhere.
        let mut usual = [Self::images(dims), Self::tokens(dims)]
            .into_iter()
            .flatten();
        Some(
            usual
                .find(|usual| usual.is_like(&reshaped))
                .unwrap_or(reshaped),
        )
    }
}
