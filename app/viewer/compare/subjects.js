// What is compared: the photo, its ground truth and the methods, each a "subject" with its decoded planes.

const PLANES = ["labels", "entropy", "candidates", "candidateShares", "error"];
const NONE = 255; // label of pixels without a class

/** Decode all subjects of a bundle; those that are among the `known` ones already keep what was decoded. */
async function subjectsOf({ photo, truth, methods }, known) {
  const before = new Map(known.map((subject) => [subject.key, subject]));
  const named = [
    ...(truth ? [{ key: "truth", title: "Ground truth", kind: "truth", colour: "var(--text)", ...truth }] : []),
    ...methods.map((method) => ({ kind: "method", ...method })),
  ];
  const bare = { key: "photo", title: "Photo", kind: "photo", colour: "var(--quiet)", note: photo.name, overlays: new Map() };
  return [bare, ...(await Promise.all(named.map((source) => decoded(source, before.get(source.key)))))];
}

async function decoded(source, before) {
  const { key, title, kind, note, colour, stride = 1 } = source;
  if (before && ["labels", "error", "translated"].every((name) => before.source[name] === source[name])) {
    return Object.assign(before, { title, note, colour, source });
  }
  const names = PLANES.filter((name) => source[name]);
  const planes = Object.fromEntries(await Promise.all(names.map(async (name) => [name, await plane(source[name])])));
  return {
    key,
    title,
    kind,
    note,
    colour,
    source,
    ...Object.fromEntries(Object.entries(planes).map(([name, { data }]) => [name, data])),
    translated: source.translated ? await picture(source.translated) : null,
    grid: planes.candidates && { columns: planes.candidates.width, rows: planes.candidates.height, stride },
    confidence: planes.candidateShares?.data.filter((_, i) => i % 3 === 0),
    overlays: new Map(), // by layer, see painter.js
  };
}

/** The cell of the grid, on which all but labels is known, that an image pixel is in. */
function cellAt({ columns, rows, stride }, x, y) {
  return Math.min(Math.floor(y / stride), rows - 1) * columns + Math.min(Math.floor(x / stride), columns - 1);
}

/** What a subject says at an image pixel: its class, and for methods the likeliest classes and the entropy. */
function readAt({ labels, grid, candidates, candidateShares, entropy }, [x, y], width) {
  const label = labels[y * width + x];
  if (!grid) return { label }; // of the ground truth, and where labels alone are known
  const cell = cellAt(grid, x, y);
  const there = [0, 1, 2].map((i) => [candidates[3 * cell + i], candidateShares[3 * cell + i] / 255]);
  // Of large photos the grid has every second pixel. Beside a border, the pixel's own class may not be the first there.
  const own = there.find(([value]) => value === label) ?? [label, null];
  const ranked = [own, ...there.filter(([value]) => value !== label)].slice(0, 3);
  return { label, ranked, entropy: entropy[cell] / 255 };
}

/** What a subject says of the whole photo: its largest classes. */
function readWhole({ source }) {
  const ranked = source.shares
    .map((share, value) => [value, share])
    .sort((a, b) => b[1] - a[1])
    .slice(0, 3);
  return { ranked, entropy: source.meanEntropy ?? undefined };
}
