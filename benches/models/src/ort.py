import sys, time
import numpy as np, onnxruntime as ort

print("ready", flush=True)
sessions = {}
for line in sys.stdin:
    model, data, seconds = line.rstrip("\n").split("\t")
    if model not in sessions:
        options = ort.SessionOptions()
        options.intra_op_num_threads = int(sys.argv[1])
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        session = ort.InferenceSession(model, options)
        sample = np.ascontiguousarray(np.load(data)[:1])
        sessions[model] = session, {session.get_inputs()[0].name: sample}
    session, feed = sessions[model]
    session.run(None, feed)
    least, end = 1e9, time.perf_counter() + float(seconds)
    while time.perf_counter() < end:
        start = time.perf_counter()
        session.run(None, feed)
        least = min(least, time.perf_counter() - start)
    print(least * 1e3, flush=True)
