// A page in headless Chromium, over its debugging protocol: no other package is needed.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';

const TYPES = {
  '.html': 'text/html', '.js': 'text/javascript', '.mjs': 'text/javascript', '.wasm': 'application/wasm',
};

export async function until(what, seconds, ask) {
  for (const end = Date.now() + seconds * 1000; Date.now() < end; ) {
    const answer = await ask();
    if (answer) return answer;
    await new Promise((next) => setTimeout(next, 100));
  }
  throw new Error(`${what}: not within ${seconds} s`);
}

// Serves the files of some folders under their names, the first folder that has one, and opens `start`. `work`
// is given the page; its answer is returned.
export async function withPage(folders, start, work) {
  const server = createServer((request, answer) => {
    const name = basename(request.url === '/' ? 'index.html' : request.url.split('?')[0]);
    for (const folder of folders) {
      try {
        const bytes = readFileSync(join(folder, name));
        const type = TYPES[name.slice(name.lastIndexOf('.'))] ?? 'application/octet-stream';
        answer.writeHead(200, { 'content-type': type });
        answer.end(bytes);
        return;
      } catch {}
    }
    answer.writeHead(404).end();
  }).listen(0, '127.0.0.1');
  await new Promise((done) => server.once('listening', done));
  const address = `http://127.0.0.1:${server.address().port}`;

  const profile = mkdtempSync(join(tmpdir(), 'burn-compress-'));
  const chromium = spawn('chromium', [
    '--headless', '--no-sandbox', '--disable-gpu', '--no-first-run', '--remote-debugging-port=0',
    `--user-data-dir=${profile}`, 'about:blank',
  ]);
  let done = false;
  chromium.once('error', (error) => {
    throw error;
  });
  chromium.once('exit', () => {
    if (!done) throw new Error('Chromium ended');
  });

  try {
    // It tells where it listens, in a file whose name is its own.
    const port = await until('Chromium starts', 60, () => {
      try {
        return readFileSync(join(profile, 'DevToolsActivePort'), 'utf8').split('\n')[0];
      } catch {}
    });
    const pages = await (await fetch(`http://127.0.0.1:${port}/json/list`)).json();
    const socket = new WebSocket(pages.find((one) => one.type === 'page').webSocketDebuggerUrl);
    await new Promise((opened) => socket.addEventListener('open', opened));
    const waiting = new Map();
    const requests = [];
    socket.addEventListener('message', ({ data }) => {
      const message = JSON.parse(data);
      if (message.method === 'Network.requestWillBeSent') requests.push(message.params.request.url);
      waiting.get(message.id)?.(message);
      waiting.delete(message.id);
    });
    let count = 0;
    const call = (method, params = {}) => {
      const id = ++count;
      socket.send(JSON.stringify({ id, method, params }));
      return new Promise((answer, fail) =>
        waiting.set(id, ({ result, error }) => (error ? fail(new Error(error.message)) : answer(result))),
      );
    };
    const evaluate = async (expression) => {
      const { result, exceptionDetails } = await call('Runtime.evaluate', {
        expression, returnByValue: true, awaitPromise: true,
      });
      if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
      return result.value;
    };
    await call('Network.enable');
    await call('Page.navigate', { url: `${address}/${start}` });
    await until('the page loads', 60, () => evaluate("document.readyState === 'complete'"));
    return await work({ address, requests, call, evaluate });
  } finally {
    done = true;
    const gone = new Promise((gone) => chromium.once('exit', gone));
    if (chromium.exitCode === null && chromium.kill('SIGKILL')) await gone;
    server.close();
    rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  }
}
