# small.onnx: a small convolutional network with gates and hard swish, random weights, batch free.
#   python small.py    (needs numpy and onnx)
import numpy as np
from onnx import TensorProto as T, helper as h, numpy_helper as nh, save

random = np.random.default_rng(1)
nodes, constants = [], []


def constant(values):
    name = f"c{len(constants)}"
    constants.append(nh.from_array(np.asarray(values), name))
    return name


def op(kind, *inputs, **attributes):
    name = f"{kind.lower()}{len(nodes)}"
    nodes.append(h.make_node(kind, inputs, [name], name=name, **attributes))
    return name


def conv(x, a, b, k, stride=1, group=1):
    weight = random.normal(0, (2 / (a // group * k * k)) ** 0.5, (b, a // group, k, k)).astype(np.float32)
    bias = random.normal(0, 0.1, b).astype(np.float32)
    pads = [k // 2] * 4
    return op("Conv", x, constant(weight), constant(bias), kernel_shape=[k, k], pads=pads, strides=[stride] * 2, group=group)


def hard_swish(x):
    gate = op("Clip", op("Add", x, constant(np.float32(3))), constant(np.float32(0)), constant(np.float32(6)))
    return op("Div", op("Mul", x, gate), constant(np.float32(6)))


def gated(x, c):
    mean = op("GlobalAveragePool", x)
    gate = op("HardSigmoid", conv(op("Relu", conv(mean, c, c // 4, 1)), c // 4, c, 1), alpha=1 / 6)
    return op("Mul", x, gate)


def block(x, a, b, stride):
    wide = hard_swish(conv(x, a, 4 * a, 1))
    wide = hard_swish(conv(wide, 4 * a, 4 * a, 3, stride, 4 * a))
    out = conv(gated(wide, 4 * a), 4 * a, b, 1)
    return op("Add", x, out) if (a, stride) == (b, 1) else out


x = hard_swish(conv("image", 3, 16, 3, 2))
for a, b, stride in [(16, 16, 1), (16, 24, 2), (24, 24, 1), (24, 32, 1)]:
    x = block(x, a, b, stride)
x = op("Flatten", op("GlobalAveragePool", x))
weight = random.normal(0, 0.2, (10, 32)).astype(np.float32)
x = op("Gemm", x, constant(weight), constant(np.zeros(10, np.float32)), transB=1)
graph = h.make_graph(
    nodes,
    "small",
    [h.make_tensor_value_info("image", T.FLOAT, ["N", 3, 32, 32])],
    [h.make_tensor_value_info(x, T.FLOAT, ["N", 10])],
    constants,
)
save(h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=8), "small.onnx")
