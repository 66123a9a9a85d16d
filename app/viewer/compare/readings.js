/** The rail beside the panes: what each method says at a pixel or of the whole photo, and the scale of the layer. */
class Readings {
  constructor(viewer) {
    this.viewer = viewer;
    this.probe = node("div", { class: "probe", role: "region", "aria-label": "Reading under the pointer" });
    this.scale = node("div", { class: "scale" });
    this.root = node("div", { class: "rail" }, this.probe, this.scale);
  }

  /** Describe the pixel that is held or pointed at, or the whole photo while there is none. */
  describe() {
    const { subjects, pinned, bundle, over, legend } = this.viewer;
    const at = this.viewer.reading();
    const rows = subjects
      .filter((subject) => subject.kind !== "photo")
      .map((subject) => this.row(subject, at ? readAt(subject, at, bundle.width) : readWhole(subject)));
    const [title, where] = at
      ? ["Pixel", `${pinned ? "held at" : "at"} ${at[0]}, ${at[1]}`]
      : ["Whole photo", `${matchMedia("(hover: none)").matches ? "tap" : "point at"} a pane to read a pixel`];
    this.probe.replaceChildren(
      node("div", { class: "head" }, node("span", { class: "title" }, title), node("span", { class: "where" }, where)),
      ...rows,
    );
    this.probe.setAttribute("aria-live", pinned ? "polite" : "off");
    const labels = (this.viewer.find(over)?.labels ?? this.viewer.find("truth")?.labels);
    legend.point(at && labels?.[at[1] * bundle.width + at[0]]);
  }

  row(subject, { label, ranked, entropy }) {
    const candidates = (ranked ?? [[label, null]]).map(([value, share]) =>
      node(
        "div",
        { class: "candidate" },
        node("span", { class: "swatch", style: `background:${this.colourOf(value)}` }),
        node("span", { class: "name" }, this.nameOf(value)),
        ...(share === null ? [] : [this.meter(value, share), node("span", { class: "share" }, percent(share))]),
      ),
    );
    const unsure = () =>
      node("span", { class: "share", title: "Entropy: 0 certain, 1 undecided" }, `entropy ${entropy.toFixed(2)}`);
    return node(
      "div",
      { class: "row", "data-key": subject.key },
      node(
        "div",
        { class: "who" },
        dot(subject.colour),
        node("span", { class: "title" }, subject.title),
        ...(entropy === undefined ? [] : [unsure()]),
      ),
      ...candidates,
    );
  }

  meter(value, share) {
    const filled = node("span", { style: `width:${100 * share}%;background:${this.colourOf(value)}` });
    return node("span", { class: "meter" }, filled);
  }

  /** The short reading in a pane's corner. */
  placeBadge({ key, badge }) {
    const { viewer } = this;
    if (key === "blink") {
      badge.hidden = false;
      const shown = viewer.find(viewer.side(viewer.panes.blinked));
      return badge.replaceChildren(dot(shown.colour), shown.title);
    }
    const at = viewer.reading();
    const subject = viewer.find(key);
    const absent = key === "swipe" ? null : viewer.absence(subject, viewer.settings.layer);
    badge.hidden = !absent && (!at || !subject?.labels);
    if (badge.hidden) return;
    if (absent) return badge.replaceChildren(absent);
    const { width } = viewer.bundle;
    const { label, ranked } = readAt(subject, at, width);
    const name = this.nameOf(label);
    const truth = viewer.find("truth");
    const expected = truth && subject.kind === "method" ? truth.labels[at[1] * width + at[0]] : NONE;
    const mark = expected === NONE ? "" : expected === label ? " ✓" : " ✗";
    badge.replaceChildren(
      node("span", { class: "swatch", style: `background:${this.colourOf(label)}` }),
      (ranked && ranked[0][1] !== null ? `${name} ${percent(ranked[0][1])}` : name) + mark,
    );
  }

  /** Explain the colours of the layer; those of the classes are in the legend. */
  showScale(layer) {
    const key = (colour, text) =>
      node("span", { class: "key" }, node("span", { class: "swatch", style: `background:${colour}` }), text);
    const bar = (title, low, high) => [
      node("div", { class: "head" }, node("span", { class: "title" }, title)),
      node("div", { class: "ramp", style: `background:linear-gradient(90deg,${heatStops()})` }),
      node("div", { class: "ends" }, node("span", {}, low), node("span", {}, high)),
    ];
    const parts =
      {
        entropy: () => bar("Entropy", "0 certain", "1 undecided"),
        confidence: () => bar("Probability of the named class", "0 %", "100 %"),
        disagreement: () => [
          ...bar("Methods that differ", "none", "nearly all"),
          node(
            "p",
            {},
            "On the photo: share of the methods that differ from the most common class. Beside it: what each says there.",
          ),
        ],
        error: () => [
          node(
            "div",
            { class: "keys" },
            key(css(WRONG), "wrong"),
            key("var(--veil)", "right"),
            key(css(UNSCORED), "not scored"),
          ),
        ],
      }[layer]?.() ?? [];
    this.scale.replaceChildren(...parts);
    this.scale.hidden = !parts.length;
  }

  nameOf(value) {
    return value === NONE ? "unlabelled" : (this.viewer.bundle.classes[value]?.name ?? "unknown");
  }

  colourOf(value) {
    const c = this.viewer.bundle.classes[value];
    return c ? (this.viewer.settings.safe ? c.safe : c.colour) : "transparent";
  }
}
