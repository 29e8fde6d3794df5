// Runs ONNX models with onnxruntime-node: node run_onnx.js <folder with node_modules> <jobs.json>
//
// The jobs: [{name, model, input, type, shape, batch, optimization, out}, ...]. input is a file of little-endian numbers of the type, float32 or
// uint8, and of that shape; the model runs on batch samples at a time. Each output goes to a file of float32, <out>/<i>.bin, and their
// names and shapes of one sample, in the same order, to <out>/outputs.json.
'use strict';
const fs = require('fs');
const path = require('path');
const { createRequire } = require('module');

async function main() {
  const [folder, jobsFile] = process.argv.slice(2);
  const ort = createRequire(path.resolve(folder, 'node_modules', 'x.js'))('onnxruntime-node');
  for (const job of JSON.parse(fs.readFileSync(jobsFile, 'utf8'))) {
    await run(ort, job).catch((e) => { throw new Error(`${job.name}: ${e}`); });
  }
}

async function run(ort, job) {
  const session = await ort.InferenceSession.create(job.model, {
    graphOptimizationLevel: job.optimization, intraOpNumThreads: 2, logSeverityLevel: 3,
  });
  const bytes = fs.readFileSync(job.input);
  const buffer = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
  const x = job.type === 'uint8' ? new Uint8Array(buffer) : new Float32Array(buffer);
  const sample = job.shape.slice(1).reduce((a, b) => a * b, 1);
  const files = session.outputNames.map((_, i) => fs.openSync(path.join(job.out, i + '.bin'), 'w'));
  let shapes = [];
  for (let from = 0; from < job.shape[0]; from += job.batch) {
    const n = Math.min(job.batch, job.shape[0] - from);
    const input = new ort.Tensor(job.type, x.subarray(from * sample, (from + n) * sample), [n, ...job.shape.slice(1)]);
    const result = await session.run({ [session.inputNames[0]]: input });
    shapes = session.outputNames.map((name, i) => {
      const t = result[name];
      if (t.type !== 'float32' || t.dims[0] !== n) throw new Error(`output ${name}: ${t.type} ${t.dims} for a batch of ${n}`);
      fs.writeSync(files[i], new Uint8Array(t.data.buffer, t.data.byteOffset, t.data.byteLength));
      return t.dims.slice(1);
    });
  }
  await session.release();
  files.forEach((f) => fs.closeSync(f));
  fs.writeFileSync(path.join(job.out, 'outputs.json'), JSON.stringify({ names: session.outputNames, shapes }));
}

main().catch((e) => { console.error(e); process.exit(1); });
