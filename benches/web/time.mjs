// ResNet-20 in WebAssembly beside ONNX Runtime Web (its `wasm` backend, one thread): in Node and in headless
// Chromium, in turns, one image a call.
//
//     node --experimental-websocket benches/web/time.mjs FOLDER ORT_DIST [ROUNDS]
//
// FOLDER has web.wasm and {dense,block4}_{int8,float}.{bcm,onnx}; ORT_DIST is onnxruntime-web/dist.
import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import '../../examples/web/network.js';
import { withPage } from '../../examples/web/chromium.mjs';
import './measure.js';

const [, , folder, dist, rounds = 12] = process.argv;
const here = dirname(fileURLToPath(import.meta.url));
const MILLISECONDS = 150;

const ort = await import(pathToFileURL(join(resolve(dist), 'ort.node.min.mjs')));
ort.env.wasm.numThreads = 1;
const names = readdirSync(folder).filter((name) => /\.(wasm|bcm|onnx)$/.test(name));
const files = Object.fromEntries(names.map((name) => [name, new Uint8Array(readFileSync(join(folder, name)))]));
print(`Node ${process.version}`, await measure(ort, files, Number(rounds), MILLISECONDS));

const folders = [here, join(here, '../../examples/web'), folder, dist];
await withPage(folders, '', async ({ call, evaluate }) => {
  const { product } = await call('Browser.getVersion');
  print(product, await evaluate(`timed(${Number(rounds)}, ${MILLISECONDS})`));
});
process.exit();

function print(where, rows) {
  console.log(`\n${where}: milliseconds of an image, best and median turn of ${rounds}`);
  console.log('network       burn-compress   onnxruntime-web     times as fast (best, median)');
  for (const own of rows.filter(({ of }) => of === 'burn-compress')) {
    const peer = rows.find(({ of, name }) => of === 'ort' && name === own.name);
    const two = ({ best, median }) => `${best.toFixed(3)} ${median.toFixed(3)}`.padEnd(16);
    const [best, median] = [peer.best / own.best, peer.median / own.median];
    console.log(`${own.name.padEnd(14)}${two(own)}${two(peer).padEnd(20)}${best.toFixed(2)} ${median.toFixed(2)}`);
  }
}
