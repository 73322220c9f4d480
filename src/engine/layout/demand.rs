//! What each stage needs of its operands' layouts, and the tensors that follow from it.

use super::lanes::Sites;
use super::part::Part;
use super::{Fill, Halo, Layout};
use crate::engine::lower::node::{Pool, Stage, StageWork, Weighted};
use crate::engine::lower::shape::Shape;
use crate::network::Network;
use crate::network::{Value, Window};

/// What a stage needs of an operand.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::engine) struct Demand {
    pub tile: [usize; 2],
    pub halo: Halo,
    pub fill: Fill,
}

/// A tensor in cells: as its stage makes it, or a copy in other tiles.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::engine) struct CellTensor {
    pub value: Value,
    pub layout: Layout,
    /// Whether its stage makes it.
    pub is_own: bool,
}

/// All tensors that stages have in cells, with halos that suffice for all who read them.
#[derive(Debug, Default)]
pub(in crate::engine) struct Tensors {
    pub all: Vec<CellTensor>,
}

impl Tensors {
    pub fn of(part: Part<'_>) -> Self {
        let Part {
            model,
            stages,
            sites,
            ..
        } = part;
        let mut tensors = Self::default();
        // A stage's own result first, so that copies are the exception.
        let on_cells = stages.iter().filter(|stage| stage.is_on_cells());
        for stage in on_cells.clone() {
            tensors.own(model, Value::Node(stage.output), sites);
        }
        for stage in on_cells {
            for place in 0..stage.inputs.len() {
                let demand = stage.demand(model, place, sites);
                tensors.own(model, stage.inputs[place], sites);
                tensors.meet(stage.inputs[place], demand);
            }
        }
        tensors
    }

    /// The tensor as its stage makes it.
    pub fn find_own(&self, value: Value) -> Option<usize> {
        let own = |tensor: &CellTensor| tensor.value == value && tensor.is_own;
        self.all.iter().position(own)
    }

    /// The same; it is added where it is not there, and cells can hold it.
    pub fn own(&mut self, model: &Network, value: Value, sites: Sites) -> Option<usize> {
        let known = self.find_own(value);
        if known.is_some() {
            return known;
        }
        let shape = Shape::of(model, value)?;
        self.all.push(CellTensor {
            value,
            layout: Layout {
                sites,
                shape,
                tile: sites.tile([shape.rows, shape.columns]),
                halo: Halo::default(),
                fill: Fill::Any,
                by_line: None,
            },
            is_own: true,
        });
        Some(self.all.len() - 1)
    }

    // Makes sure that a tensor is there that meets a demand.
    fn meet(&mut self, value: Value, demand: Demand) {
        for tensor in self.all.iter_mut().filter(|tensor| tensor.value == value) {
            let fill = tensor.layout.fill.union(demand.fill);
            if let Some(fill) = fill
                && tensor.layout.tile == demand.tile
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
            self.all.push(CellTensor {
                value,
                layout: Layout {
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
            tensor.value == value && layout.tile == demand.tile && fills
        })
    }
}

impl Stage<'_> {
    pub fn is_on_cells(&self) -> bool {
        !matches!(self.work, StageWork::Plain)
    }

    /// What it needs of an operand.
    pub fn demand(&self, model: &Network, place: usize, sites: Sites) -> Demand {
        let size = |value: Value| {
            let shape = Shape::of(model, value);
            shape.map_or([1, 1], |shape| [shape.rows, shape.columns])
        };
        let input = size(self.inputs[place]);
        let to = sites.tile(size(Value::Node(self.output)));
        let plain = |tile: [usize; 2]| Demand {
            tile,
            halo: Halo::default(),
            fill: Fill::Any,
        };
        match &self.work {
            StageWork::Product(Weighted { window, .. }) if place == 0 => {
                window_demand(window, input, to, sites, Fill::Zero)
            }
            StageWork::Pool(Pool {
                window: Some(window),
                sum,
                ..
            }) => {
                let fill = if sum.is_some() {
                    Fill::Zero
                } else {
                    Fill::Least
                };
                window_demand(window, input, to, sites, fill)
            }
            // Sites beyond the image are added too.
            StageWork::Pool(_) => Demand {
                fill: Fill::Zero,
                ..plain(sites.tile(input))
            },
            StageWork::Product(_) | StageWork::Elementwise(_) => plain(to),
            StageWork::Quantize | StageWork::Rearrange(_) | StageWork::Plain => {
                plain(sites.tile(input))
            }
        }
    }
}

fn window_demand(
    window: &Window,
    input: [usize; 2],
    to: [usize; 2],
    sites: Sites,
    fill: Fill,
) -> Demand {
    let axis = |axis: usize| {
        let tile = match sites {
            Sites::Images => input[axis],
            Sites::Quarters | Sites::Tiles => to[axis] * window.stride[axis],
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
        tile: [rows, columns],
        halo,
        fill: if outside { fill } else { Fill::Any },
    }
}
