// Times networks in turns, in Node and in a browser. `files` holds the bytes of each file by its name.
async function measure(ort, files, rounds, milliseconds) {
  const input = Float32Array.from({ length: 3 * 32 * 32 }, (_, at) => Math.sin(at * 0.7));
  const contenders = [];
  for (const name of ['dense_int8', 'block4_int8', 'dense_float', 'block4_float']) {
    const network = await Network.from(files['web.wasm'], files[`${name}.bcm`]);
    contenders.push({ name, of: 'burn-compress', run: () => network.run(input) });
    const session = await ort.InferenceSession.create(new Uint8Array(files[`${name}.onnx`]), {
      executionProviders: ['wasm'], graphOptimizationLevel: 'all',
    });
    const fed = { x: new ort.Tensor('float32', input, [1, 3, 32, 32]) };
    contenders.push({ name, of: 'ort', run: async () => (await session.run(fed)).y.data });
  }
  for (const contender of contenders) {
    contender.times = [];
    for (let run = 0; run < 20; run++) contender.output = await contender.run();
    if (contender.output.length !== 10 || !contender.output.every(Number.isFinite)) {
      throw new Error(`${contender.of}, ${contender.name}: no ten numbers`);
    }
  }
  // A browser's clock is coarse: a time is the mean of the calls of a turn.
  for (let round = 0; round < rounds; round++) {
    for (const { of, run, times } of contenders) {
      const began = performance.now();
      let [calls, took] = [0, 0];
      for (; took < milliseconds; calls++, took = performance.now() - began) {
        // To wait for what is there already takes time, too.
        if (of === 'ort') await run();
        else run();
      }
      times.push(took / calls);
    }
  }
  return contenders.map(({ name, of, times }) => {
    times.sort((a, b) => a - b);
    return { name, of, best: times[0], median: times[Math.floor(times.length / 2)] };
  });
}

globalThis.measure = measure;
