import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FormatError, ValueError } from "../../src/core/errors.ts";
import { type Idx, type IdxSource, loadMnist, parseIdx, readIdx } from "../../src/data/index.ts";

/** An IDX file. */
function idx(type: number, shape: number[], body: Uint8Array | number[]): Uint8Array {
  const file = new Uint8Array(4 + 4 * shape.length + body.length);
  file[2] = type;
  file[3] = shape.length;
  const view = new DataView(file.buffer);
  shape.forEach((d, i) => view.setUint32(4 + 4 * i, d));
  file.set(body, 4 + 4 * shape.length);
  return file;
}

/** Bytes of numbers, written big-endian. */
function big(bytes: number, write: (view: DataView, at: number, v: number) => void, values: number[]): Uint8Array {
  const out = new Uint8Array(values.length * bytes);
  const view = new DataView(out.buffer);
  values.forEach((v, i) => write(view, i * bytes, v));
  return out;
}

const tiny = idx(0x08, [3, 2], [0, 1, 2, 127, 128, 255]);

describe("parseIdx", () => {
  it("reads every type", () => {
    const cases: [number, Uint8Array, Idx["dtype"], number[]][] = [
      [0x08, Uint8Array.of(0, 255), "uint8", [0, 255]],
      [0x09, Uint8Array.of(0x80, 0x7f), "int32", [-128, 127]],
      [0x0b, big(2, (v, at, x) => v.setInt16(at, x), [-32768, 258]), "int32", [-32768, 258]],
      [0x0c, big(4, (v, at, x) => v.setInt32(at, x), [-(2 ** 31), 16909060]), "int32", [-(2 ** 31), 16909060]],
      [0x0d, big(4, (v, at, x) => v.setFloat32(at, x), [-0.5, Number.NaN]), "float32", [-0.5, Number.NaN]],
      [0x0e, big(8, (v, at, x) => v.setFloat64(at, x), [0.1, 1e300]), "float32", [Math.fround(0.1), Infinity]],
    ];
    for (const [type, body, dtype, values] of cases) {
      const got = parseIdx(idx(type, [2], body));
      expect(got.dtype, `type ${type}`).toBe(dtype);
      expect(got.shape).toEqual([2]);
      expect([...got.data]).toEqual(values);
    }
  });

  it("reads any shape, zero rows and no axis too", () => {
    expect(parseIdx(tiny)).toEqual({ dtype: "uint8", shape: [3, 2], data: Uint8Array.of(0, 1, 2, 127, 128, 255) });
    expect(parseIdx(idx(0x0c, [0, 28, 28], []))).toEqual({
      dtype: "int32",
      shape: [0, 28, 28],
      data: new Int32Array(0),
    });
    expect(parseIdx(idx(0x08, [], [7])).data).toEqual(Uint8Array.of(7));
  });

  it("takes a view at any offset, and copies", () => {
    const wide = new Uint8Array(tiny.length + 9);
    wide.set(tiny, 5);
    for (const bytes of [wide.subarray(5, 5 + tiny.length), Buffer.from(wide.buffer, 5, tiny.length)]) {
      const { data } = parseIdx(bytes);
      wide.fill(9, 17);
      expect([...data]).toEqual([0, 1, 2, 127, 128, 255]);
      wide.set(tiny, 5);
    }
    const doubles = idx(
      0x0e,
      [1],
      big(8, (v, at, x) => v.setFloat64(at, x), [2.5]),
    );
    const odd = new Uint8Array(doubles.length + 3);
    odd.set(doubles, 3);
    expect([...parseIdx(odd.subarray(3)).data]).toEqual([2.5]);
    expect(parseIdx(tiny.buffer as ArrayBuffer).shape).toEqual([3, 2]);
  });

  it("says what is wrong", () => {
    const wrong = (bytes: Uint8Array) => () => parseIdx(bytes, "labels");
    expect(wrong(Uint8Array.of(1, 0, 8, 1, 0, 0, 0, 0))).toThrow(/^labels: not an IDX file: it starts with 0x01 0x00/);
    expect(wrong(Uint8Array.of(0x50, 0x4b, 3, 4))).toThrow(/0x50 0x4b/);
    expect(wrong(idx(0x0a, [1], [0]))).toThrow(/unknown element type 0x0a \(known: 0x08 uint8, .*0x0e float64\)/);
    expect(wrong(idx(0x08, [3, 2], [1, 2, 3]))).toThrow(
      "labels: truncated: shape [3, 2] of uint8 takes 18 bytes with its header, got 15",
    );
    expect(wrong(idx(0x0c, [1], [0, 0, 0, 1, 2]))).toThrow(
      "labels: 1 bytes too many: shape [1] of int32 takes 12 bytes with its header, got 13",
    );
    expect(wrong(Uint8Array.of(0, 0, 8, 3, 0, 0))).toThrow(
      "labels: truncated: the header takes 16 bytes or more, got 6",
    );
    expect(wrong(new Uint8Array(0))).toThrow("labels: truncated: the header takes 4 bytes or more, got 0");
  });

  it("refuses absurd extents before it allocates", () => {
    for (const shape of [[2 ** 30], [2 ** 32 - 1, 2 ** 32 - 1], new Array<number>(255).fill(2 ** 32 - 1), [2 ** 31, 0]])
      expect(() => parseIdx(idx(0x0e, shape, [])), String(shape)).toThrow(FormatError);
    expect(() => parseIdx(idx(0x08, [65536, 65536], []))).toThrow(/shape \[65536, 65536\] is absurd/);
    // Large, but possible: refused for what is missing.
    expect(() => parseIdx(idx(0x0e, [2 ** 30 - 1], []))).toThrow(/truncated/);
  });

  it("throws FormatError and nothing else, whatever the bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), fc.boolean(), (bytes, plausible) => {
        if (plausible && bytes.length > 3) bytes.set([0, 0, 8 + (bytes[2] % 8), bytes[3] % 4]);
        try {
          const { shape, data } = parseIdx(bytes);
          expect(shape.reduce((a, b) => a * b, 1)).toBe(data.length);
        } catch (error) {
          expect(error).toBeInstanceOf(FormatError);
        }
      }),
      { numRuns: 2000 },
    );
  });

  it("refuses what is not bytes with a ValueError", () => {
    for (const bad of [undefined, null, "0008", [0, 0, 8, 0], new Float32Array(2)])
      expect(() => parseIdx(bad as unknown as Uint8Array)).toThrow(ValueError);
  });
});

describe("readIdx", () => {
  const packed = new Uint8Array(gzipSync(tiny));
  const want = parseIdx(tiny);

  it("reads bytes, blobs and responses, plain and gzip", async () => {
    for (const bytes of [tiny, packed]) {
      const buffer = bytes.slice().buffer;
      for (const source of [bytes, buffer, Buffer.from(bytes), new Blob([buffer]), new Response(buffer)])
        expect(await readIdx(source)).toEqual(want);
    }
  });

  it("reads a file larger than any chunk", async () => {
    const body = Uint8Array.from({ length: 1_000_000 }, (_, i) => (i * 2654435761) >>> 24);
    const { data, shape } = await readIdx(new Uint8Array(gzipSync(idx(0x08, [1000, 1000], body))));
    expect(shape).toEqual([1000, 1000]);
    expect(Buffer.compare(data as Uint8Array, body)).toBe(0);
  });

  it("truncated anywhere, plain or gzip, it is a FormatError", async () => {
    for (const file of [tiny, packed, new Uint8Array(gzipSync(tiny, { level: 0 }))])
      for (let n = 0; n < file.length; n++) {
        const error = await readIdx(file.slice(0, n), "file").catch((e) => e);
        expect(error, `${n} of ${file.length} bytes`).toBeInstanceOf(FormatError);
        expect(error.message).toMatch(/^file: .*(truncated|corrupt)/);
      }
  });

  it("truncated within a large gzip file, it is a FormatError", async () => {
    const body = Uint8Array.from({ length: 300_000 }, (_, i) => (i * 2654435761) >>> 24);
    const file = new Uint8Array(gzipSync(idx(0x08, [300_000], body)));
    for (const part of [0.1, 0.5, 0.9, 0.99999]) {
      const error = await readIdx(file.slice(0, Math.floor(file.length * part))).catch((e) => e);
      expect(error).toBeInstanceOf(FormatError);
    }
  });

  it("with any bit of the gzip data flipped, it is a FormatError or the right values", async () => {
    for (let i = 0; i < packed.length * 8; i++) {
      const broken = packed.slice();
      broken[i >> 3] ^= 1 << (i & 7);
      const got = await readIdx(broken).catch((e) => e);
      if (!(got instanceof FormatError)) expect(got, `bit ${i}`).toEqual(want); // the header's time and system
    }
  });

  it("refuses gzip data with something behind it, and gzip data that holds something else", async () => {
    const longer = new Uint8Array([...packed, 1, 2, 3]);
    await expect(readIdx(longer)).rejects.toThrow(FormatError);
    const more = new Uint8Array(gzipSync(new Uint8Array([...tiny, 0])));
    await expect(readIdx(more)).rejects.toThrow(/too many/);
    await expect(readIdx(new Uint8Array(gzipSync("hello, world")))).rejects.toThrow(/not an IDX file/);
  });

  it("does not unpack more than the header announces", async () => {
    const bomb = new Uint8Array(gzipSync(idx(0x08, [4], new Uint8Array(64 * 2 ** 20))));
    expect(bomb.length).toBeLessThan(2 ** 17);
    const before = process.memoryUsage().arrayBuffers;
    const error = await readIdx(bomb).catch((e) => e);
    expect(error).toBeInstanceOf(FormatError);
    expect(error.message).toMatch(/too many bytes: its header announces 12, got/);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(32 * 2 ** 20);
  });

  it("names what a server answered", async () => {
    const missing = new Response("not found", { status: 404 });
    await expect(readIdx(missing, "labels")).rejects.toThrow("labels: the server answered with status 404");
    const used = new Response(tiny.slice().buffer);
    await used.arrayBuffer();
    await expect(readIdx(used)).rejects.toThrow(FormatError);
  });

  it("refuses what is no source with a ValueError", async () => {
    for (const bad of [undefined, null, "train.gz", 7, {}])
      await expect(readIdx(bad as unknown as IdxSource)).rejects.toThrow(ValueError);
  });
});

describe("loadMnist", () => {
  const images = (n: number, side = 2): Uint8Array =>
    idx(
      0x08,
      [n, side, side],
      Uint8Array.from({ length: n * side * side }, (_, i) => (i * 17) & 255),
    );
  const labels = (...list: number[]): Uint8Array => idx(0x08, [list.length], list);

  it("delivers images from 0 to 1 with a channel axis, and int32 labels", async () => {
    const mnist = await loadMnist({
      trainImages: images(3),
      trainLabels: new Uint8Array(gzipSync(labels(0, 9, 5))),
      testImages: await readIdx(images(1)),
      testLabels: labels(1),
    });
    expect(mnist).toMatchObject({ imageShape: [1, 2, 2], classes: 10 });
    expect([mnist.train.length, mnist.test?.length]).toEqual([3, 1]);
    const [x, y] = await mnist.train.batch([2, 0]);
    expect([x.shape, x.dtype, y.shape, y.dtype]).toEqual([[2, 1, 2, 2], "float32", [2], "int32"]);
    expect(await x.data()).toEqual(Float32Array.from([8, 9, 10, 11, 0, 1, 2, 3], (i) => (i * 17) / 255));
    expect(await y.array()).toEqual([5, 0]);
  });

  it("delivers images as stored when asked to", async () => {
    const { train } = await loadMnist({ trainImages: images(3), trainLabels: labels(0, 9, 5) }, { raw: true });
    const [x] = await train.batch([1]);
    expect([x.shape, x.dtype]).toEqual([[1, 1, 2, 2], "uint8"]);
    expect([...(await x.data())]).toEqual([68, 85, 102, 119]);
  });

  it("takes other classes and other images", async () => {
    const letters = { trainImages: images(1), trainLabels: labels(25) };
    expect((await loadMnist(letters, { classes: 26 })).test).toBeNull();
    const floats = idx(
      0x0d,
      [1, 2],
      big(4, (v, at, x) => v.setFloat32(at, x), [0.25, -3]),
    );
    const { train, imageShape } = await loadMnist({ trainImages: floats, trainLabels: labels(0) });
    expect(imageShape).toEqual([2]);
    expect(await (await train.batch([0]))[0].array()).toEqual([[0.25, -3]]);
  });

  it("refuses files that do not fit each other", async () => {
    const good = { trainImages: images(2), trainLabels: labels(1, 2) };
    const refused = async (files: object, message: string | RegExp, options?: object): Promise<void> => {
      const error = await loadMnist({ ...good, ...files }, options).catch((e) => e);
      expect(error).toBeInstanceOf(FormatError);
      expect(error.message).toMatch(message);
    };
    await refused({ trainLabels: labels(1, 2, 3) }, /trainImages holds 2 images, trainLabels 3 labels/);
    await refused({ testImages: images(2), testLabels: labels(1) }, /testImages holds 2 images, testLabels 1 labels/);
    await refused({ trainLabels: labels(1, 10) }, /trainLabels: label 10 at position 1 is out of range for 10 classes/);
    await refused({}, /label 2 at position 1 is out of range for 2 classes/, { classes: 2 });
    await refused({ trainLabels: idx(0x09, [2], [255, 0]) }, /label -1 at position 0/);
    await refused({ trainLabels: idx(0x08, [2, 1], [0, 0]) }, /trainLabels is uint8 of shape \[2, 1\]/);
    await refused({ trainLabels: idx(0x0d, [2], new Uint8Array(8)) }, /trainLabels is float32/);
    await refused({ trainImages: labels(1, 2) }, /trainImages has shape \[2\]/);
    await refused({ testImages: images(1, 3), testLabels: labels(1) }, /\[1, 2, 2\], testImages of \[1, 3, 3\]/);
    await refused({ trainImages: images(2).slice(0, 20) }, /loadMnist: trainImages: truncated/);
  });

  it("refuses missing files and bad options with a ValueError", async () => {
    const good = { trainImages: images(1), trainLabels: labels(1) };
    const none = undefined as unknown as Uint8Array;
    await expect(loadMnist({ ...good, trainLabels: none })).rejects.toThrow("loadMnist: trainLabels is missing");
    await expect(loadMnist({ ...good, testImages: images(1) })).rejects.toThrow("loadMnist: testLabels is missing");
    await expect(loadMnist(good, { classes: 0 })).rejects.toThrow(ValueError);
  });
});
