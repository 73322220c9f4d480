//! Where the lanes of a tensor lie in samples.

use std::ops::Range;

use crate::kernel::{Element, Frame, InputGrid, KernelError, Kernels, Sink, Strided, VectorBlock};

/// Where the lanes of a tensor lie in samples.
#[derive(Debug)]
pub(in crate::engine) enum Places {
    /// Channels are in front.
    InFront(Frame),
    /// Anywhere else.
    Strided(Strided),
}

impl Places {
    /// Elements of a sample.
    pub fn sample(&self) -> usize {
        match self {
            Self::InFront(frame) => frame.sample,
            Self::Strided(strided) => strided.sample,
        }
    }

    /// Vector blocks of a plane.
    pub fn plane(&self) -> usize {
        match self {
            Self::InFront(frame) => frame.plane,
            Self::Strided(strided) => strided.planes.plane,
        }
    }

    /// Writes some planes. Tells whether all elements were finite.
    pub fn write(
        &self,
        kernels: Kernels,
        samples: &[f32],
        grid: Option<InputGrid>,
        planes: Range<usize>,
        blocks: &mut [VectorBlock],
    ) -> Result<bool, KernelError> {
        match self {
            Self::InFront(frame) => frame.write(kernels, samples, grid, planes, blocks),
            Self::Strided(strided) => strided.write(samples, grid, planes, blocks),
        }
    }

    /// Writes some lines of the first plane, where channels are in front.
    pub fn write_lines(
        &self,
        kernels: Kernels,
        samples: &[f32],
        grid: Option<InputGrid>,
        lines: Range<usize>,
        blocks: &mut [VectorBlock],
    ) -> Result<bool, KernelError> {
        match self {
            Self::InFront(frame) => frame.write_lines(kernels, samples, grid, lines, blocks),
            Self::Strided(_) => Err(KernelError::Memory),
        }
    }

    /// Whether channels are in front.
    pub fn is_in_front(&self) -> bool {
        matches!(self, Self::InFront(_))
    }

    /// Reads all elements, with their places.
    pub fn read(
        &self,
        blocks: &[VectorBlock],
        sink: Sink,
        emit: impl FnMut(usize, Element),
    ) -> Result<(), KernelError> {
        match self {
            Self::InFront(frame) => frame.read(blocks, sink, emit),
            Self::Strided(strided) => strided.read(blocks, sink, emit),
        }
    }
}
