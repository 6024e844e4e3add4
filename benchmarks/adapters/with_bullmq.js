// BullMQ: finished jobs removed, 50 at a time. The acts are those of common.py.
'use strict';
const fs = require('node:fs');
const { Queue, Worker } = require('bullmq');

const url = new URL(process.env.BENCH_URL);
const connection = { host: url.hostname, port: Number(url.port), maxRetriesPerRequest: null };
const TEXT = 'x'.repeat(89);
const RECORD = 16;
const WARM = 5;
const options = { removeOnComplete: true };

const wall = () => (performance.timeOrigin + performance.now()) / 1000;
const sleep = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));

let notes = null;
function note() {
  const record = Buffer.alloc(RECORD);
  record.writeDoubleLE(wall(), 0);
  record.writeBigInt64LE(BigInt(process.pid), 8);
  if (notes === null) notes = fs.openSync(process.env.BENCH_NOTES, 'a');
  fs.writeSync(notes, record);
}

async function one(queue, number) {
  await queue.add('noop', { text: TEXT }, options);
  const started = performance.now();
  for (let i = 1; i < number; i++) await queue.add('noop', { text: TEXT }, options);
  return (performance.now() - started) / 1000;
}

async function many(queue, number) {
  const started = performance.now();
  for (let left = number; left > 0; left -= 1000) {
    const batch = { name: 'noop', data: { text: TEXT }, opts: options };
    await queue.addBulk(Array(Math.min(1000, left)).fill(batch));
  }
  return (performance.now() - started) / 1000;
}

async function ran(number) {
  for (let tries = 0; tries < 15000; tries++) {
    const file = fs.statSync(process.env.BENCH_NOTES, { throwIfNoEntry: false });
    if (file && file.size >= number * RECORD) return;
    await sleep(0.002);
  }
  throw new Error(`job ${number} did not run within 30 s`);
}

async function ping(queue, number, low, high) {
  const sent = [];
  for (let nth = 0; nth < number + WARM; nth++) {
    await sleep(low + Math.random() * (high - low));
    sent.push(wall());
    await queue.add('noop', { text: TEXT }, options);
    await ran(nth + 1);
  }
  return sent.slice(WARM);
}

async function main([act, ...args]) {
  if (act === 'work') return new Worker('bench', async () => note(), { connection, concurrency: 50 });
  if (act === 'check') return console.log('{}');
  const queue = new Queue('bench', { connection });
  await queue.waitUntilReady();
  const [number, low, high] = args.map(Number);
  let answer;
  if (act === 'ping') answer = { sent: await ping(queue, number, low, high) };
  else if (act === 'one') answer = { seconds: await one(queue, number) };
  else if (act === 'fill') answer = { seconds: await many(queue, number) };
  else {
    await many(queue, 1000);
    answer = { seconds: await many(queue, number * 1000) };
  }
  console.log(JSON.stringify(answer));
  await queue.close();
}

main(process.argv.slice(2));
