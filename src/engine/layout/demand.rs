//! What each node needs of its operands' layouts, and the tensors that follow from it.

use super::lanes::{LaneMapping, tile};
use super::part::Part;
use super::{Fill, Halo, Layout};
use crate::engine::lower::node::{FusedNode, NodeWork, Pool, Weighted};
use crate::engine::lower::shape::Shape;
use crate::engine::lower::viewed::Viewed;
use crate::network::{Value, Window};

/// What a node needs of an operand.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::engine) struct Demand {
    pub grid: [usize; 2],
    pub tile: [usize; 2],
    pub halo: Halo,
    pub fill: Fill,
}

/// A tensor in vector blocks: as its node makes it, or a copy in other tiles.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::engine) struct BlockTensor {
    pub value: Value,
    pub layout: Layout,
    /// Whether its node makes it.
    pub is_own: bool,
}

/// All tensors that nodes have in vector blocks, with halos that suffice for all who read them.
#[derive(Debug, Default)]
pub(in crate::engine) struct Tensors {
    pub all: Vec<BlockTensor>,
}

impl Tensors {
    pub fn of(part: Part<'_>) -> Self {
        let Part {
            model,
            nodes,
            lanes,
            ..
        } = part;
        let mut tensors = Self::default();
        // A node's own result first, so that copies are the exception.
        let on_blocks = nodes.iter().filter(|node| node.is_on_blocks());
        for node in on_blocks.clone() {
            tensors.own(model, Value::Node(node.output), lanes);
        }
        for node in on_blocks {
            for place in 0..node.inputs.len() {
                let demand = node.demand(model, place, lanes);
                tensors.own(model, node.inputs[place], lanes);
                tensors.meet(node.inputs[place], demand);
            }
        }
        tensors
    }

    /// The tensor as its node makes it.
    pub fn find_own(&self, value: Value) -> Option<usize> {
        let own = |tensor: &BlockTensor| tensor.value == value && tensor.is_own;
        self.all.iter().position(own)
    }

    /// The same; it is added where it is not there, and vector blocks can hold it.
    pub fn own(&mut self, model: &Viewed, value: Value, lanes: LaneMapping) -> Option<usize> {
        let known = self.find_own(value);
        if known.is_some() {
            return known;
        }
        let shape = Shape::of(model, value)?;
        let grid = lanes.grid(shape.size());
        self.all.push(BlockTensor {
            value,
            layout: Layout {
                lanes,
                shape,
                grid,
                tile: tile(grid, shape.size()),
                halo: Halo::default(),
                fill: Fill::Any,
                interleaved: None,
            },
            is_own: true,
        });
        Some(self.all.len() - 1)
    }

    // Makes sure that a tensor is there that meets a demand.
    fn meet(&mut self, value: Value, demand: Demand) {
        for tensor in self.all.iter_mut().filter(|tensor| tensor.value == value) {
            let fill = tensor.layout.fill.union(demand.fill);
            let layout = &tensor.layout;
            if let Some(fill) = fill
                && (layout.grid, layout.tile) == (demand.grid, demand.tile)
            {
                tensor.layout.fill = fill;
                tensor.layout.halo = tensor.layout.halo.union(demand.halo);
                return;
            }
        }
        let own = self
            .all
            .iter()
            .find(|tensor| tensor.value == value)
            .copied();
        if let Some(own) = own {
            self.all.push(BlockTensor {
                value,
                layout: Layout {
                    grid: demand.grid,
                    tile: demand.tile,
                    halo: demand.halo,
                    fill: demand.fill,
                    ..own.layout
                },
                is_own: false,
            });
        }
    }

    /// The tensor that meets a demand.
    pub fn find(&self, value: Value, demand: Demand) -> Option<usize> {
        self.all.iter().position(|tensor| {
            let layout = &tensor.layout;
            let fills = demand.fill == Fill::Any || layout.fill == demand.fill;
            let lies = (layout.grid, layout.tile) == (demand.grid, demand.tile);
            tensor.value == value && lies && fills
        })
    }
}

impl FusedNode<'_> {
    /// What it needs of an operand.
    pub fn demand(&self, model: &Viewed, place: usize, lanes: LaneMapping) -> Demand {
        let size = |value: Value| {
            let shape = Shape::of(model, value);
            shape.map_or([1, 1], |shape| shape.size())
        };
        let input = size(self.inputs[place]);
        let made = size(Value::Node(self.output));
        let (own, grid) = (lanes.grid(input), lanes.grid(made));
        let to = tile(grid, made);
        let plain = |grid: [usize; 2], size: [usize; 2]| Demand {
            grid,
            tile: tile(grid, size),
            halo: Halo::default(),
            fill: Fill::Any,
        };
        match &self.work {
            NodeWork::Product(Weighted { window, .. }) if place == 0 => {
                // One place that sees all lies in the first tile of any grid.
                let grid = if made == [1, 1] { own } else { grid };
                window_demand(window, input, (grid, to), lanes, Fill::Zero)
            }
            NodeWork::Pool(Pool {
                window: Some(window),
                sum,
                ..
            }) => {
                let fill = if sum.is_some() {
                    Fill::Zero
                } else {
                    Fill::Least
                };
                window_demand(window, input, (grid, to), lanes, fill)
            }
            // Lanes beyond the sample are added too.
            NodeWork::Pool(_) => Demand {
                fill: Fill::Zero,
                ..plain(own, input)
            },
            // One place that stands for all.
            NodeWork::Elementwise(_) if place == 1 && input == [1, 1] => plain(own, input),
            NodeWork::Product(_) | NodeWork::Elementwise(_) => plain(grid, made),
            // Codes and floats of the same places.
            NodeWork::Convert(_) => plain(grid, made),
            NodeWork::Quantize
            | NodeWork::Rearrange(_)
            | NodeWork::Assemble(_)
            | NodeWork::Resample(_)
            | NodeWork::Channels(_)
            | NodeWork::Matrix(_)
            | NodeWork::Constant(_)
            | NodeWork::Plain => plain(own, input),
        }
    }
}

fn window_demand(
    window: &Window,
    input: [usize; 2],
    (grid, to): ([usize; 2], [usize; 2]),
    lanes: LaneMapping,
    fill: Fill,
) -> Demand {
    let axis = |axis: usize| {
        let tile = match lanes {
            LaneMapping::Samples => input[axis],
            LaneMapping::Quarters | LaneMapping::Tiles => to[axis] * window.stride[axis],
        };
        let before = window.padding[axis].0;
        let extent = (to[axis].max(1) - 1) * window.stride[axis]
            + (window.kernel[axis] - 1) * window.dilation[axis]
            + 1;
        let after = extent.saturating_sub(before + tile);
        (tile, [before, after])
    };
    let ((rows, halo_rows), (columns, halo_columns)) = (axis(0), axis(1));
    let halo = Halo {
        rows: halo_rows,
        columns: halo_columns,
    };
    let outside = window.padding != [(0, 0), (0, 0)];
    Demand {
        grid,
        tile: [rows, columns],
        halo,
        fill: if outside { fill } else { Fill::Any },
    }
}
