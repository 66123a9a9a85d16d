// Decoding what the server packs: a JPEG photo, and 8-bit planes of classes, shares and entropies as PNG.

function bytesOf(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

function picture(base64) {
  return createImageBitmap(new Blob([bytesOf(base64)], { type: "image/jpeg" }));
}

/**
 * Decode an 8-bit grey or RGB PNG to {width, height, channels, data}.
 *
 * Not through a canvas: browsers that guard against fingerprinting return slightly wrong pixels from one, and a
 * label that is off by one is another class.
 */
async function plane(base64) {
  const bytes = bytesOf(base64);
  const view = new DataView(bytes.buffer);
  const [width, height] = [view.getUint32(16), view.getUint32(20)];
  const channels = { 0: 1, 2: 3 }[bytes[25]];
  const chunks = [];
  for (let at = 8; at < bytes.length;) {
    const length = view.getUint32(at);
    if (String.fromCharCode(...bytes.subarray(at + 4, at + 8)) === "IDAT")
      chunks.push(bytes.subarray(at + 8, at + 8 + length));
    at += length + 12;
  }
  const stream = new Blob(chunks).stream().pipeThrough(new DecompressionStream("deflate"));
  const raw = new Uint8Array(await new Response(stream).arrayBuffer());
  const row = width * channels;
  const data = new Uint8Array(row * height);
  for (let y = 0; y < height; y++) {
    const filter = raw[y * (row + 1)];
    const from = y * (row + 1) + 1;
    const to = y * row;
    for (let x = 0; x < row; x++) {
      const left = x >= channels ? data[to + x - channels] : 0;
      const up = y ? data[to + x - row] : 0;
      let guess = 0;
      if (filter === 1) guess = left;
      else if (filter === 2) guess = up;
      else if (filter === 3) guess = (left + up) >> 1;
      else if (filter === 4) {
        const corner = y && x >= channels ? data[to + x - row - channels] : 0;
        const [a, b, c] = [Math.abs(up - corner), Math.abs(left - corner), Math.abs(left + up - 2 * corner)];
        guess = a <= b && a <= c ? left : b <= c ? up : corner;
      }
      data[to + x] = raw[from + x] + guess;
    }
  }
  return { width, height, channels, data };
}
