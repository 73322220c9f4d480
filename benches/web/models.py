"""ResNet-20 for ONNX Runtime: in floats and in 8 bits (QDQ, as its own quantizer makes it), dense and with 90 %
of the blocks of four input channels zero. Weights are random: they take as long as trained ones.
usage: models.py OUT"""
import os, sys, numpy as np, onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

out = sys.argv[1]
os.makedirs(out, exist_ok=True)


def prune(weight, share):
    o, i, *_ = weight.shape
    for block in range(0, i, 4):
        part = weight[:, block:block + 4]
        size = np.abs(part).sum(1)
        part *= (size > np.quantile(size, share))[:, None] if share else 1


def resnet20(share):
    random = np.random.RandomState(0)
    nodes, constants = [], []

    def constant(name, value):
        constants.append(numpy_helper.from_array(value, name))
        return name

    def node(op, inputs, name, **attributes):
        nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    # A batch norm is in the weights, as an exporter leaves it.
    def convolution(x, i, o, stride, name):
        weight = (random.randn(o, i, 3, 3) * np.sqrt(2 / (9 * i))).astype(np.float32)
        prune(weight, share)
        weight = constant(name + '.weight', weight)
        bias = constant(name + '.bias', (random.randn(o) * 0.1).astype(np.float32))
        return node('Conv', [x, weight, bias], name, kernel_shape=[3, 3], strides=[stride] * 2, pads=[1] * 4)

    x = node('Relu', [convolution('x', 3, 16, 1, 'conv1')], 'relu1')
    channels = 16
    for stage, wide in enumerate([16, 32, 64]):
        for block in range(3):
            name, stride = f'layer{stage}.{block}', 2 if stage and not block else 1
            y = node('Relu', [convolution(x, channels, wide, stride, name + '.conv1')], name + '.relu1')
            y = convolution(y, wide, wide, 1, name + '.conv2')
            if stride == 2:
                ends = [constant(f'{name}.{part}', np.array(values, np.int64)) for part, values in
                        [('starts', [0, 0]), ('ends', [1 << 30] * 2), ('axes', [2, 3]), ('steps', [2, 2])]]
                x = node('Slice', [x, *ends], name + '.slice')
                each = (wide - channels) // 2
                pads = constant(name + '.pads', np.array([0, each, 0, 0, 0, each, 0, 0], np.int64))
                x = node('Pad', [x, pads], name + '.pad')
            x = node('Relu', [node('Add', [y, x], name + '.add')], name + '.relu2')
            channels = wide
    x = node('Flatten', [node('GlobalAveragePool', [x], 'pool')], 'flat')
    weight = (random.randn(10, 64) * 0.1).astype(np.float32)
    prune(weight, share)
    node('Gemm', [x, constant('fc.weight', weight), constant('fc.bias', np.zeros(10, np.float32))], 'y', transB=1)
    value = lambda name, dims: helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)
    graph = helper.make_graph(nodes, 'resnet20', [value('x', [1, 3, 32, 32])], [value('y', [1, 10])], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 14)], ir_version=8)
    onnx.checker.check_model(model)
    return model


class Images(CalibrationDataReader):
    def __init__(self):
        random = np.random.RandomState(1)
        self.images = iter([{'x': random.randn(1, 3, 32, 32).astype(np.float32)} for _ in range(16)])

    def get_next(self):
        return next(self.images, None)


for name, share in [('dense', 0), ('block4', 0.9)]:
    path = f'{out}/{name}_float.onnx'
    onnx.save(resnet20(share), path)
    quant_pre_process(path, path + '.p')
    quantize_static(path + '.p', f'{out}/{name}_int8.onnx', Images(), quant_format=QuantFormat.QDQ, per_channel=True,
                    weight_type=QuantType.QInt8, activation_type=QuantType.QUInt8)
    os.remove(path + '.p')
