//! Walks through a captured graph and ties the places of axes that must go together.

use std::collections::{HashMap, HashSet};

use super::Reason;
use super::reshape::{Modes, Site};
use super::slots::{Axis, Slots};
use crate::graph::{Graph, Node};
use crate::network::{Constant, Dim, Value};

/// What a walk has to know beside the graph.
#[derive(Default)]
pub(super) struct Settings {
    /// Layers whose fields can be set, by path.
    pub resizable: HashSet<String>,
    /// Whether norms over channels may be taken over fewer.
    pub renormalize: bool,
    /// Parameters that are one, by their indices in the graph.
    pub tied: Vec<(usize, usize)>,
    /// Parameters that stay as they are, by index, and why.
    pub whole: Vec<(usize, Reason)>,
    /// Weights whose output channels stay, by index, and why.
    pub outputs: HashMap<usize, Reason>,
}

/// The axes of all tensors of a graph.
pub(super) struct Flow<'a> {
    pub graph: &'a Graph,
    pub slots: Slots,
    pub sites: Vec<Site>,
    /// The axis of the output channels of each weight, as the pass reads it.
    pub outputs: HashMap<usize, usize>,
    /// The parameters that scale a norm's result.
    pub scales: HashSet<usize>,
    pub(super) settings: &'a Settings,
    pub(super) modes: Modes,
    axes: HashMap<Value, Vec<Axis>>,
    /// Whether places that went would be zero if they had stayed, of each axis.
    zeros: HashMap<Value, Vec<bool>>,
}

/// Walks through the whole graph.
pub(super) fn walk<'a>(graph: &'a Graph, settings: &'a Settings, modes: Modes) -> Flow<'a> {
    let mut flow = Flow {
        graph,
        slots: Slots::default(),
        sites: Vec::new(),
        outputs: HashMap::new(),
        scales: HashSet::new(),
        settings,
        modes,
        axes: HashMap::new(),
        zeros: HashMap::new(),
    };
    flow.leaves();
    for (index, node) in graph.nodes().iter().enumerate() {
        let (axes, zeros) = flow.operation(node);
        let value = Value::Node(index);
        flow.place(value, node, axes, zeros);
        flow.epilogue(value, node);
    }
    let output = flow.axes(graph.output());
    for axis in output {
        flow.slots.fix(&axis, &Reason::Output);
    }
    for (weight, reason) in &settings.outputs {
        if let Some(&axis) = flow.outputs.get(weight) {
            let places = flow.axes(Value::Parameter(*weight))[axis].clone();
            flow.slots.fix(&places, reason);
        }
    }
    flow
}

impl Flow<'_> {
    pub fn axes(&self, value: Value) -> Vec<Axis> {
        self.axes.get(&value).cloned().unwrap_or_default()
    }

    pub fn axis(&self, value: Value, axis: usize) -> Axis {
        let axes = self.axes.get(&value);
        axes.and_then(|axes| axes.get(axis))
            .cloned()
            .unwrap_or_default()
    }

    /// The places of a tensor along an axis that are not in `gone`, which holds roots; none where the
    /// axis can lose nothing.
    pub fn kept(&self, axis: &[usize], gone: &HashSet<usize>) -> Option<Vec<usize>> {
        let kept = |place: &usize| !gone.contains(&self.slots.root(axis[*place]));
        (!axis.is_empty()).then(|| (0..axis.len()).filter(kept).collect())
    }

    pub(super) fn zeros(&self, value: Value) -> Vec<bool> {
        self.zeros.get(&value).cloned().unwrap_or_default()
    }

    pub(super) fn dims(&self, value: Value) -> Vec<Dim> {
        self.graph.dims(value)
    }

    /// The path of the layer that holds a parameter.
    pub(super) fn layer_of(&self, value: Value) -> Option<String> {
        let Value::Parameter(index) = value else {
            return None;
        };
        let path = &self.graph.parameters()[index].path;
        let (layer, _) = path.rsplit_once('.').unwrap_or(("", path));
        Some(layer.to_string())
    }

    /// The layer where its fields can be set.
    pub(super) fn resizable(&self, value: Value) -> bool {
        let layer = self.layer_of(value);
        layer.is_some_and(|layer| self.settings.resizable.contains(&layer))
    }

    /// Places stay along the axes from this one on.
    pub(super) fn fix_positions(&mut self, value: Value, from: usize, reason: &Reason) {
        for axis in self.axes(value).iter().skip(from) {
            self.slots.fix(axis, reason);
        }
    }

    /// Why channels stay whose number a layer holds in a field.
    pub(super) fn field(&self, node: &Node, parameter: Value, field: &str) -> Reason {
        Reason::Field {
            layer: self
                .layer_of(parameter)
                .unwrap_or_else(|| node.layer.clone()),
            field: field.to_string(),
        }
    }

    /// Notes which axis of a weight makes channels.
    pub(super) fn output_axis(&mut self, weight: Value, axis: usize) {
        if let Value::Parameter(index) = weight {
            self.outputs.insert(index, axis);
        }
    }

    fn leaves(&mut self) {
        let graph = self.graph;
        let input = self.fresh_fixed(graph.input(), &Reason::Input);
        self.set(Value::Input, input, false);
        for index in 0..graph.parameters().len() {
            let value = Value::Parameter(index);
            let dims = self.dims(value);
            let axes = self.fresh(&dims);
            self.set(value, axes, true);
        }
        for &(one, other) in &self.settings.tied {
            let (one, other) = (self.own_axes(one), self.own_axes(other));
            let reason = Reason::Operation {
                layer: String::new(),
                op: "tying".into(),
            };
            for (one, other) in one.iter().zip(&other) {
                self.slots.tie(one, other, &reason);
            }
        }
        for (index, reason) in &self.settings.whole {
            for axis in self.axes(Value::Parameter(*index)) {
                self.slots.fix(&axis, reason);
            }
        }
        for (index, constant) in graph.constants().iter().enumerate() {
            let value = Value::Constant(index);
            let dims = self.dims(value);
            let axes = self.fresh(&dims);
            let reason = Reason::Constant {
                layer: constant_place(graph, value),
            };
            for (axis, places) in axes.iter().enumerate() {
                // What is the same everywhere the pass may have made to measure.
                if !uniform_along(constant, axis) {
                    self.slots.fix(places, &reason);
                }
            }
            let zero = constant.values.iter().all(|value| *value == 0.0);
            self.set(value, axes, zero);
        }
    }

    /// The axes of a parameter in the module's own order.
    pub fn own_axes(&self, index: usize) -> Vec<Axis> {
        let mut axes = self.axes(Value::Parameter(index));
        if self.graph.parameters()[index].transposed {
            axes.reverse();
        }
        axes
    }

    fn set(&mut self, value: Value, axes: Vec<Axis>, zero: bool) {
        self.zeros.insert(value, vec![zero; axes.len()]);
        self.axes.insert(value, axes);
    }

    fn fresh(&mut self, dims: &[Dim]) -> Vec<Axis> {
        let axis = |dim: &Dim| match dim {
            Dim::Fixed(length) if *length > 1 => self.slots.fresh(*length),
            _ => Axis::new(),
        };
        dims.iter().map(axis).collect()
    }

    pub(super) fn fresh_fixed(&mut self, dims: &[Dim], reason: &Reason) -> Vec<Axis> {
        let axes = self.fresh(dims);
        for axis in &axes {
            self.slots.fix(axis, reason);
        }
        axes
    }

    // A rule may leave axes of a result out, or give them another length: such stay.
    fn place(&mut self, value: Value, node: &Node, axes: Vec<Axis>, zeros: Vec<bool>) {
        let reason = operation_at(node);
        let mut placed = Vec::with_capacity(node.dims.len());
        for (index, dim) in node.dims.iter().enumerate() {
            let axis = axes.get(index).cloned().unwrap_or_default();
            let length = match dim {
                Dim::Fixed(length) if *length > 1 => *length,
                _ => 0,
            };
            placed.push(match axis.len() == length {
                true => axis,
                false => {
                    self.slots.fix(&axis, &reason);
                    self.slots.fresh_fixed(length, &reason)
                }
            });
        }
        let zero = |axis: usize| zeros.get(axis).copied().unwrap_or(false);
        self.zeros
            .insert(value, (0..placed.len()).map(zero).collect());
        self.axes.insert(value, placed);
    }

    fn epilogue(&mut self, value: Value, node: &Node) {
        let axis = node.op.channel_axis(node.dims.len());
        let reason = operation_at(node);
        let places = self.axis(value, axis);
        if let Some(bias) = node.epilogue.bias {
            self.tie_vector(&places, bias, &reason);
        }
        if let Some(norm) = &node.epilogue.norm {
            for vector in norm.operands() {
                self.tie_vector(&places, vector, &reason);
            }
            self.scale(norm.gamma);
        }
        let mut zeros = self.zeros(value);
        if node.epilogue.bias.is_some() || node.epilogue.norm.is_some() {
            let of_channels = zeros.get(axis).copied().unwrap_or(false);
            zeros.fill(false);
            if let Some(zero) = zeros.get_mut(axis) {
                *zero = of_channels;
            }
        }
        if let Some(add) = node.epilogue.add {
            let axes = self.broadcast(&[value, add], &node.dims, &reason);
            let other = self.spread_zeros(add, &node.dims);
            zeros
                .iter_mut()
                .zip(other)
                .for_each(|(zero, other)| *zero &= other);
            self.axes.insert(value, axes);
        }
        if let Some(activation) = node.epilogue.activation
            && activation.value(0.0) != 0.0
        {
            zeros.fill(false);
        }
        self.zeros.insert(value, zeros);
    }

    /// A parameter or constant of one number for each channel.
    pub(super) fn tie_vector(&mut self, places: &[usize], vector: Value, reason: &Reason) {
        let axes = self.axes(vector);
        let mut long = axes.iter().filter(|axis| !axis.is_empty());
        let (axis, more) = (long.next(), long.next().is_some());
        match (axis, more) {
            (Some(axis), false) => self.slots.tie(places, axis, reason),
            _ => {
                self.slots.fix(places, reason);
                axes.iter().for_each(|axis| self.slots.fix(axis, reason));
            }
        }
    }

    pub(super) fn scale(&mut self, gamma: Value) {
        if let Value::Parameter(index) = gamma {
            self.scales.insert(index);
        }
    }

    /// The axes of an operation on elements of several tensors; an axis of length 1 repeats.
    pub(super) fn broadcast(
        &mut self,
        operands: &[Value],
        dims: &[Dim],
        reason: &Reason,
    ) -> Vec<Axis> {
        let mut result: Vec<Axis> = vec![Axis::new(); dims.len()];
        for &operand in operands {
            let axes = self.axes(operand);
            let skip = dims.len().saturating_sub(axes.len());
            for (axis, places) in result.iter_mut().skip(skip).zip(axes) {
                match (axis.is_empty(), places.is_empty()) {
                    (_, true) => {}
                    (true, false) => *axis = places,
                    (false, false) => self.slots.tie(axis, &places, reason),
                }
            }
        }
        result
    }

    /// Whether places that went would be zero, of each axis of a result of these dimensions; not where an
    /// operand repeats along it.
    pub(super) fn spread_zeros(&self, operand: Value, dims: &[Dim]) -> Vec<bool> {
        let (axes, zeros) = (self.axes(operand), self.zeros(operand));
        let skip = dims.len().saturating_sub(axes.len());
        let zero = |axis: usize| {
            let own = axis.checked_sub(skip)?;
            Some(!axes.get(own)?.is_empty() && *zeros.get(own)?)
        };
        (0..dims.len())
            .map(|axis| zero(axis).unwrap_or(false))
            .collect()
    }
}

/// One axis alone.
pub(super) fn only(rank: usize, axis: usize) -> Vec<bool> {
    (0..rank).map(|one| one == axis).collect()
}

/// Why an operation's axis stays.
pub(super) fn operation_at(node: &Node) -> Reason {
    Reason::Operation {
        layer: node.layer.clone(),
        op: node.op.name().to_string(),
    }
}

fn constant_place(graph: &Graph, constant: Value) -> String {
    let uses = |node: &&Node| node.operands().any(|value| value == constant);
    let node = graph.nodes().iter().find(uses);
    node.map_or_else(|| "output".to_string(), |node| node.layer.clone())
}

// Whether a constant's elements are the same along an axis.
fn uniform_along(constant: &Constant, axis: usize) -> bool {
    let inner: usize = constant.dims[axis + 1..].iter().product();
    let run = (inner * constant.dims[axis]).max(1);
    constant.values.chunks(run).all(|part| {
        let (first, rest) = part.split_at(inner.min(part.len()));
        rest.chunks(inner.max(1)).all(|other| other == first)
    })
}
