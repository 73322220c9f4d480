// Prints the bits of the scores of a sample, as the program `scores` does: both must be the same.
//
//     node examples/web/check.mjs web.wasm MODEL.bcm < NUMBERS
import { readFileSync } from 'node:fs';
import './network.js';

const [, , modulePath, filePath] = process.argv;
const numbers = readFileSync(0, 'utf8').split(/[ ,\n]/).filter((word) => word !== '').map(Number);
const network = await Network.from(readFileSync(modulePath), readFileSync(filePath));
for (const score of network.run(numbers)) {
  const bits = new Uint32Array(Float32Array.of(score).buffer)[0];
  console.log(bits.toString(16).padStart(8, '0'));
}
