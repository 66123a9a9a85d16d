// Numbers and colours; a pixel is one little-endian RGBA value.

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const percent = (share) => `${Math.round(100 * share)} %`;

/** One little-endian RGBA pixel. */
const pack = (r, g, b, a) => ((a << 24) | (b << 16) | (g << 8) | r) >>> 0;

/** "#rrggbb" or "rgb(r, g, b)" -> [r, g, b]. */
function rgb(colour) {
  if (colour.startsWith("#")) return [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
  return (colour.match(/[\d.]+/g) ?? [255, 255, 255]).slice(0, 3).map(Number);
}

const css = (pixel) => `rgba(${pixel & 255},${(pixel >> 8) & 255},${(pixel >> 16) & 255},${(pixel >>> 24) / 255})`;

const WRONG = pack(255, 70, 40, 255);
const UNSCORED = pack(120, 126, 138, 150);
const veilColour = (dark) => (dark ? pack(13, 17, 23, 190) : pack(255, 255, 255, 190));

function errorTable(dark) {
  const table = new Uint32Array(256).fill(UNSCORED);
  table[0] = veilColour(dark);
  table[1] = WRONG;
  return table;
}

function spread(pixels, values, table) {
  for (let i = 0; i < pixels.length; i++) pixels[i] = table[values[i]];
}

/** 256 colours from dark violet over red to pale yellow, with evenly rising lightness in the OKLCH space. */
const HEAT = Uint32Array.from({ length: 256 }, (_, i) => {
  const t = i / 255;
  const lightness = 0.16 + 0.81 * t;
  const chroma = 0.02 + 0.2 * Math.sin(Math.PI * Math.pow(t, 0.9)) ** 0.8;
  const hue = ((285 + 185 * t) * Math.PI) / 180;
  const [a, b] = [chroma * Math.cos(hue), chroma * Math.sin(hue)];
  // Björn Ottosson's OKLab matrices.
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  const linear = [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ];
  const [r, g, blue] = linear.map((v) =>
    Math.round(255 * clamp(v <= 0.0031308 ? 12.92 * v : 1.055 * v ** (1 / 2.4) - 0.055, 0, 1)),
  );
  return pack(r, g, blue, 255);
});

function heatStops() {
  return Array.from({ length: 17 }, (_, i) => css(HEAT[Math.round((255 * i) / 16)])).join(",");
}
