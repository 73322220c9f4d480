// A network in WebAssembly: load it from bytes, run it on numbers.
class Network {
  static async from(moduleBytes, fileBytes) {
    const { instance } = await WebAssembly.instantiate(moduleBytes, {});
    const network = new Network();
    network.calls = instance.exports;
    const { memory, room, load, sample } = network.calls;
    const at = room(fileBytes.byteLength);
    new Uint8Array(memory.buffer, at, fileBytes.byteLength).set(new Uint8Array(fileBytes));
    network.numbers = network.checked(load());
    return network;
  }

  // The scores of a sample.
  run(values) {
    if (values.length !== this.numbers) {
      throw new Error(`a sample has ${this.numbers} numbers, not ${values.length}`);
    }
    const { memory, sample, run, scores } = this.calls;
    new Float32Array(memory.buffer, sample(), this.numbers).set(values);
    const count = this.checked(run());
    // A copy: memory may grow.
    return Float32Array.from(new Float32Array(memory.buffer, scores(), count));
  }

  checked(count) {
    if (count === 0) {
      const { memory, message, message_length } = this.calls;
      const bytes = new Uint8Array(memory.buffer, message(), message_length());
      throw new Error(new TextDecoder().decode(bytes));
    }
    return count;
  }
}

globalThis.Network = Network;
