const HEATS = ["entropy", "confidence"]; // layers of values on the grid

/** Colours the values of subjects, a canvas for each layer; nothing is asked of the server. */
class Painter {
  constructor(viewer) {
    this.viewer = viewer;
  }

  /** Every overlay is painted anew when it is next drawn. */
  forget() {
    for (const { overlays } of this.viewer.subjects) for (const overlay of overlays.values()) overlay.stale = true;
  }

  /** A subject's overlay in a layer, painted where it is stale; null where the bare photo is shown. */
  overlayOf(subject, layer) {
    const { viewer } = this;
    if (layer === "photo" || layer === "translated") return null;
    if (subject.kind === "photo" && !(layer === "disagreement" && viewer.differing)) return null;
    if (viewer.absence(subject, layer)) return null;
    let overlay = subject.overlays.get(layer);
    if (!overlay) {
      const { columns: width, rows: height } = subject.grid ?? {};
      overlay = { canvas: canvasOf(HEATS.includes(layer) && width ? { width, height } : viewer.bundle), stale: true };
      subject.overlays.set(layer, overlay);
    }
    if (overlay.stale) this.paint(subject, layer, overlay.canvas);
    overlay.stale = false;
    return overlay.canvas;
  }

  /** What lies under a subject's overlay: the photo, or its translation. */
  groundOf(subject, layer) {
    const { photo, peek, off } = this.viewer;
    const bare = layer !== "translated" || peek || off;
    return (bare ? null : subject?.translated) ?? photo;
  }

  paint(subject, layer, canvas) {
    const context = canvas.getContext("2d");
    const image = context.createImageData(canvas.width, canvas.height);
    const pixels = new Uint32Array(image.data.buffer);
    if (subject.kind === "photo") spread(pixels, this.viewer.differing, this.differenceTable());
    else if (layer === "entropy" && subject.entropy) spread(pixels, subject.entropy, HEAT);
    else if (layer === "confidence" && subject.confidence) spread(pixels, subject.confidence, HEAT);
    else if (layer === "error" && subject.error) spread(pixels, subject.error, errorTable(this.isDark()));
    else this.paintClasses(subject, layer, pixels);
    context.putImageData(image, 0, 0);
  }

  paintClasses(subject, layer, pixels) {
    const { settings, differing } = this.viewer;
    spread(pixels, subject.labels, this.classTable());
    const limit = Math.round(255 * settings.certainty);
    const { grid, confidence } = subject;
    if (layer === "classes" && limit && confidence) {
      const { width } = this.viewer.bundle;
      for (let i = 0; i < pixels.length; i++)
        if (confidence[cellAt(grid, i % width, Math.floor(i / width))] < limit) pixels[i] = 0;
    }
    if (layer === "disagreement" && differing) {
      const veil = veilColour(this.isDark());
      for (let i = 0; i < pixels.length; i++) if (!differing[i]) pixels[i] = veil;
    }
  }

  classTable() {
    const { bundle, settings, legend } = this.viewer;
    const table = new Uint32Array(256); // 255 and unknown values stay transparent
    bundle.classes.forEach((c, i) => {
      if (legend.hidden.has(i)) return;
      const [r, g, b] = rgb(settings.safe ? c.safe : c.colour);
      table[i] = pack(r, g, b, legend.emphasis === null || legend.emphasis === i ? 255 : 50);
    });
    return table;
  }

  differenceTable() {
    const table = HEAT.slice();
    table[0] = veilColour(this.isDark());
    return table;
  }

  isDark() {
    const [r, g, b] = rgb(getComputedStyle(this.viewer.root).backgroundColor);
    return r + g + b < 384;
  }
}

/** Lay an overlay over an image of this size; values on a coarser grid are interpolated, classes never mixed. */
function drawOverlay(context, overlay, { width, height }) {
  context.imageSmoothingEnabled = overlay.width < width;
  context.drawImage(overlay, 0, 0, width, height);
}

/** An empty canvas of an image's size. */
function canvasOf({ width, height }) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  return canvas;
}
