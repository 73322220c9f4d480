// Draws on the page in headless Chromium. Writes the sample that the page made of it to NUMBERS and prints the
// bits of the page's scores: the program `scores` must print the same for them.
//
//     node --experimental-websocket examples/web/browser.mjs FOLDER NUMBERS
//
// FOLDER has web.wasm, best.bcm and original.bcm.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { until, withPage } from './chromium.mjs';

const [, , folder, numbers] = process.argv;
const here = dirname(fileURLToPath(import.meta.url));
await withPage([here, folder], '', async ({ address, requests, call, evaluate }) => {
  const loaded = 'Boolean(networks.best && networks.original)';
  await until('the networks load', 60, () => evaluate(loaded));
  assert.equal(await evaluate("document.getElementById('problem').textContent"), '');

  // A ring, in one stroke.
  const { x, y, width, height } = await evaluate("document.getElementById('canvas').getBoundingClientRect().toJSON()");
  const at = (turn) => ({
    x: x + width * (0.5 + 0.2 * Math.sin(turn)),
    y: y + height * (0.5 - 0.32 * Math.cos(turn)),
  });
  const mouse = (type, turn) =>
    call('Input.dispatchMouseEvent', { type, ...at(turn), button: 'left', buttons: 1, clickCount: 1 });
  await mouse('mousePressed', 0);
  for (let step = 1; step <= 24; step++) await mouse('mouseMoved', (step * Math.PI) / 12);
  await mouse('mouseReleased', 2 * Math.PI);
  const digit = await until('a digit is read', 30, () => evaluate("document.getElementById('digit').textContent"));

  const drawn = await evaluate('Array.from(sample())');
  const scores = await evaluate('Array.from(networks.best.run(sample()))');
  assert.equal(Number(digit), scores.indexOf(Math.max(...scores)), 'the digit shown has the highest score');
  assert.ok(drawn.some((share) => share > 0));
  for (const url of requests) assert.ok(url.startsWith(address), `the page asked for ${url}`);
  console.error(`read as ${digit}; ${await evaluate("document.getElementById('facts').innerText")}`);

  writeFileSync(numbers, drawn.join(' '));
  for (const score of scores) {
    const bits = new Uint32Array(Float32Array.of(score).buffer)[0];
    console.log(bits.toString(16).padStart(8, '0'));
  }
});
process.exit();
