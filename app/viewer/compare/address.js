const WRITING = 200; // milliseconds without a change until the address is written

/** The view in the page's address: read once, confirmed by what there is to show, and written whenever it changes. */
class Address {
  constructor(viewer) {
    this.viewer = viewer;
    this.unknown = []; // what is named and does not exist, in words
    this.missing = []; // that, and what is not here, as it was said
    // Named, and not confirmed yet: methods may still be on their way.
    this.asked = { keys: [], layers: [], hidden: [], pixel: null };
  }

  /** Take what can be taken into the settings. */
  read() {
    const named = new URLSearchParams(location.search);
    const { asked, unknown } = this;
    this.missing = [];
    const { settings: s } = this.viewer;
    for (const name of ["layer", "leftLayer", "rightLayer"]) {
      const layer = named.get(name);
      if (!layer) continue;
      if (LAYERS.some(([known]) => known === layer)) (asked.layers.push(layer), (s[name] = layer));
      else unknown.push(`layer “${layer}”`);
    }
    const mode = named.get("mode");
    if (MODES.some(([known]) => known === mode)) s.mode = mode;
    else if (mode) unknown.push(`arrangement “${mode}”`);
    for (const name of ["focus", "left", "right"]) {
      if (named.has(name)) (asked.keys.push(named.get(name)), (s[name] = named.get(name)));
    }
    for (const [name, low, high] of [
      ["zoom", 1, MAX_ZOOM],
      ["split", 0, 1],
      ["opacity", 0, 1],
      ["certainty", 0, 1],
    ]) {
      if (!named.has(name)) continue;
      const value = Number(named.get(name) || NaN);
      if (value >= low && value <= high) s[name] = value;
      else unknown.push(`${name} “${named.get(name)}”`);
    }
    const palette = named.get("palette");
    if (palette === "safe") s.safe = true;
    else if (palette) unknown.push(`palette “${palette}”`);
    asked.hidden = named.getAll("hide");
    if (asked.hidden.length) s.hiddenNames = new Set(asked.hidden);
    const pair = (name, fits) => {
      if (!named.has(name)) return null;
      const found = named.get(name).split(",").map((part) => Number(part || NaN));
      if (found.length === 2 && found.every(fits)) return found;
      unknown.push(`${name} “${named.get(name)}”`);
      return null;
    };
    s.centre = pair("at", (v) => v >= 0 && v <= 1) ?? s.centre;
    asked.pixel = pair("pixel", (v) => Number.isInteger(v) && v >= 0);
  }

  /** Hold the pixel that was asked for, and say what of the address is not here. */
  confirm() {
    const { viewer, asked } = this;
    const { bundle } = viewer;
    const { missing } = this;
    const told = missing.length; // what is found later is said beside it, for methods may still have been on their way
    missing.push(...this.unknown);
    const strange = asked.hidden.filter((name) => !bundle.classes.some((c) => c.name === name));
    missing.push(...strange.map((name) => `class “${name}”`));
    for (const name of strange) viewer.settings.hiddenNames.delete(name);
    this.unknown = [];
    asked.hidden = [];
    if (asked.layers.includes("error") && !bundle.truth && !bundle.waiting.length)
      missing.push("the errors, which need a ground truth");
    if (asked.layers.includes("translated") && !bundle.waiting.length && !viewer.offers("translated"))
      missing.push("the translation, which needs a run of CyCADA with its generator");
    if (!bundle.waiting.length) asked.layers = [];
    if (asked.pixel) {
      const inside = asked.pixel[0] < bundle.width && asked.pixel[1] < bundle.height;
      if (inside) viewer.pinned = asked.pixel;
      else missing.push(`pixel ${asked.pixel}, which lies outside this photo`);
      asked.pixel = null;
    }
    if (!bundle.waiting.length) {
      const gone = asked.keys.filter((key) => !viewer.find(key));
      missing.push(...gone.map((key) => `“${key}”`));
      for (const name of ["focus", "left", "right"]) if (gone.includes(viewer.settings[name])) viewer.settings[name] = null;
      asked.keys = [];
    }
    if (missing.length > told) {
      const [named, said] = [new Intl.ListFormat("en-GB").format(missing), missing.length > 1 ? "they are" : "it is"];
      viewer.note(`The address names ${named}; ${said} not shown here.`);
    }
  }

  /** Write the view, so that it can be shared, as soon as it rests; what is as it always is is left out. */
  write() {
    if (!/^(https?|file):$/.test(location.protocol)) return; // a preview in a frame has no address of its own
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      const { settings: s, pinned } = this.viewer;
      const parts = {
        layer: s.layer === "classes" ? null : s.layer,
        mode: s.mode,
        focus: s.mode === "focus" ? s.focus : null,
        left: s.left,
        right: s.right,
        leftLayer: s.leftLayer,
        rightLayer: s.rightLayer,
        split: s.split === 0.5 ? null : s.split.toFixed(2),
        zoom: s.zoom === 1 ? null : s.zoom.toFixed(2),
        at: s.zoom === 1 ? null : s.centre.map((v) => v.toFixed(4)).join(","),
        pixel: pinned?.join(","),
        opacity: s.opacity === OPACITY ? null : s.opacity.toFixed(2),
        certainty: s.certainty ? s.certainty.toFixed(2) : null,
        palette: s.safe ? "safe" : null,
      };
      const address = new URL(location.href);
      for (const [name, value] of Object.entries(parts)) {
        if (value == null) address.searchParams.delete(name);
        else address.searchParams.set(name, value);
      }
      address.searchParams.delete("hide");
      for (const name of s.hiddenNames) address.searchParams.append("hide", name);
      if (address.href !== location.href) history.replaceState(history.state, "", address);
    }, WRITING);
  }

  /** Copy the link to the view as it is. */
  async copy() {
    const { viewer } = this;
    try {
      await new Promise((done) => setTimeout(done, WRITING + 20)); // until the address says what is shown
      await navigator.clipboard.writeText(location.href);
      viewer.say("Link copied");
    } catch {
      viewer.say("This browser does not let a page copy; the link is in the address bar");
    }
  }

  stop() {
    clearTimeout(this.timer);
  }
}
