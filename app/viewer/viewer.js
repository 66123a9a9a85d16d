/**
 * The compare viewer: one photo, its ground truth and any number of methods, side by side on canvas.
 *
 *   const viewer = mount(element, bundle, { key });   viewer.update(bundle);   viewer.destroy();
 *
 * `bundle` is what app/content/panes.py packs. Class values travel as 8-bit PNG planes and are coloured here, so layer,
 * opacity, palette and classes change without asking anybody. Every pane shows the same view: zoom and centre are
 * kept once, in image coordinates. No framework, no network.
 */

const NONE = 255; // label of pixels without a class
const LAYERS = [
  ["classes", "Classes", "What each method sees"],
  ["entropy", "Entropy", "Where each method is unsure"],
  ["confidence", "Confidence", "How probable each method holds the class that it names"],
  ["error", "Errors", "Where each method is wrong, against the ground truth"],
  ["disagreement", "Disagreement", "Where the methods differ from each other"],
  ["photo", "Photo", "The photo alone"],
  ["translated", "Translated", "The photo as the method's generator gives it the target's look"],
];
const MODES = [
  ["grid", "grid", "All side by side (G)"],
  ["focus", "focus", "One large, the others small (O)"],
  ["swipe", "swipe", "Swipe between two (S)"],
  ["blink", "blink", "Blink between two (B)"],
];
const MAX_ZOOM = 32;
const OPACITY = 0.7; // of the overlay, until somebody changes it
const BLINK_SECONDS = 0.7; // per picture; far below the three flashes a second that harm some people
const CAPTION = 30; // height of a caption, as in the style sheet
const WIDE_PANE = 300; // CSS pixels that a pane's picture has at least where there is room for a rail
const RAIL = 264; // width of the readings in CSS pixels, as in viewer.css
const SVG = "http://www.w3.org/2000/svg";
const ICONS = {
  minus: "M5 12h14",
  plus: "M5 12h14M12 5v14",
  fit: "M4 9V5.5A1.5 1.5 0 0 1 5.5 4H9M15 4h3.5A1.5 1.5 0 0 1 20 5.5V9M20 15v3.5a1.5 1.5 0 0 1-1.5 1.5H15M9 20H5.5A1.5 1.5 0 0 1 4 18.5V15",
  grid: "M4 4h7v7H4zM13 4h7v7h-7zM4 13h7v7H4zM13 13h7v7h-7z",
  focus: "M4 4h16v10H4zM4 17h4v3H4zM10 17h4v3h-4zM16 17h4v3h-4z",
  blink: "M4 6h11v9H4zM9 15v3h11V9h-5",
  pause: "M9 6v12M15 6v12",
  play: "M8 5.5v13l10.5-6.5z",
  rail: "M4 5h16v14H4zM14.5 5v14",
  more: "M5 12h.01M12 12h.01M19 12h.01",
  link: "M10 13.5a4 4 0 0 0 6 .4l2.600-2.600a4 4 0 0 0-5.700-5.700l-1.300 1.300M14 10.500a4 4 0 0 0-6-.4l-2.600 2.600a4 4 0 0 0 5.700 5.700l1.300-1.300",
  swipe: "M12 3v18M8.5 8.5 5 12l3.5 3.5M15.5 8.5 19 12l-3.5 3.5",
  eye: "M2.5 12S6 5.5 12 5.5 21.5 12 21.5 12 18 18.5 12 18.5 2.5 12 2.5 12zM12 15a3 3 0 1 0 0-6 3 3 0 0 0 0 6z",
  palette:
    "M12 3.5a8.5 8.5 0 1 0 0 17c1.5 0 2-1 1.6-2.2-.5-1.5.4-2.800 2-2.8h2.1c1.7 0 2.8-1.3 2.8-3 0-5-3.8-9-8.5-9zM7.5 12.5h.01M9.5 8h.01M14.5 8h.01",
  screen: "M14 4h6v6M20 4l-6.5 6.5M10 20H4v-6M4 20l6.5-6.5",
  help: "M9.2 9.3a2.9 2.9 0 1 1 4 2.7c-.8.4-1.2 1-1.2 1.9v.3M12 17.5h.01M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18z",
  download: "M12 4v11M7.5 11 12 15.5 16.5 11M5 20h14",
  close: "M6 6l12 12M18 6 6 18",
};
const KEYS = [
  ["+ −", "zoom in, out"],
  ["0", "fit the photo"],
  ["← ↑ ↓ →", "move around when zoomed in"],
  ["double click", "zoom in there (Shift: out)"],
  ["click", "hold the reading at that pixel; again or Esc to let go"],
  ["Space, held", "show the bare photo"],
  ["H", "hide or show the overlay"],
  ["[ ]", "opacity"],
  ["1 … 7", "layer"],
  ["G O", "all side by side, one large"],
  ["S B", "swipe, blink between two; again: back"],
  ["← →", "one large: the one before, the next"],
  ["P", "colour-blind palette"],
  ["A", "all classes"],
  ["I", "readings and classes at the side"],
  ["F", "full screen"],
  ["?", "this list"],
];

/**
 * By key: the settings, so that a viewer that a page redraws comes back as it was left, and the request for which the address
 * was read. Between requests the address is an echo of the settings, at times an old one, as pages write it back as a whole.
 */
const remembered = new Map();

/**
 * Mount a viewer into `element` (an Element or ShadowRoot). `options.key` names what to remember; `options.request` counts how
 * often the page opened the viewer with a view of its own in the address.
 */
export function mount(element, bundle, options = {}) {
  const viewer = new Viewer(element, options);
  viewer.update(bundle);
  return { update: (next) => viewer.update(next), destroy: () => viewer.destroy() };
}

class Viewer {
  constructor(element, options) {
    this.options = options;
    const before = remembered.get(options.key);
    this.settings = before?.settings ?? {
      layer: "classes",
      mode: null, // the person's choice; until then the screen's width decides
      opacity: OPACITY,
      certainty: 0,
      safe: false,
      rail: true,
      hiddenNames: new Set(),
      focus: null,
      left: null,
      right: null,
      leftLayer: null, // null: the layer of all
      rightLayer: null,
      split: 0.5,
      zoom: 1,
      centre: [0.5, 0.5],
    };
    if (options.key) remembered.set(options.key, { settings: this.settings, request: options.request });
    const isEcho = before && before.request === options.request;
    this.asked = { unknown: [], keys: [], layers: [], hidden: [], pixel: null }; // by the address, and not confirmed by the bundle yet
    if (!isEcho) this.readAddress();
    this.subjects = [];
    this.panes = [];
    this.pointer = null; // [x, y] of the image pixel under the pointer
    this.pinned = null;
    this.peek = false; // overlay hidden for as long as a key or button is held
    this.off = false; // overlay switched off
    this.emphasis = null; // class that the legend points at
    this.blinked = "left"; // the side that blinking shows
    this.paused = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.frame = 0;
    this.turn = 0;
    this.build(element);
  }

  // ---- structure -----------------------------------------------------------------------------------------------

  build(element) {
    const s = this.settings;
    this.layerButtons = LAYERS.map(([layer, label, title], i) =>
      node(
        "button",
        {
          type: "button",
          class: "segment",
          title: `${title} (${i + 1})`,
          "data-layer": layer,
          onclick: () => this.set({ layer }),
        },
        label,
      ),
    );
    this.opacity = slider("Opacity", s.opacity, (value) => this.set({ opacity: value }));
    this.certainty = slider(
      "Certainty",
      s.certainty,
      (value) => this.set({ certainty: value }),
      "Paint only pixels whose class is at least this probable",
    );
    this.modeButtons = MODES.map(([mode, icon, title]) => {
      const button = iconButton(icon, title, () => this.set({ mode }));
      button.dataset.mode = mode;
      return button;
    });
    this.eyeButton = iconButton("eye", "Hold to see the bare photo (Space)", null);
    hold(this.eyeButton, (held) => this.peekAt(held));
    this.safeButton = iconButton("palette", "Colour-blind palette (P)", () => this.set({ safe: !s.safe }));
    this.railButton = iconButton("rail", "Readings and classes (I)", () => this.set({ rail: !s.rail }));
    this.zoomText = node("output", { class: "zoom", title: "Zoom" }, "1×");
    this.screenButton = iconButton("screen", "Full screen (F)", () => this.fullScreen());
    this.moreButton = iconButton("more", "More controls", () => {
      const open = this.bar.classList.toggle("open");
      this.moreButton.setAttribute("aria-expanded", String(open));
    });
    this.moreButton.classList.add("more");
    this.moreButton.setAttribute("aria-expanded", "false");
    this.bar = node(
      "div",
      { class: "bar", role: "toolbar", "aria-label": "Viewer" },
      node("div", { class: "segments", role: "group", "aria-label": "Layer" }, ...this.layerButtons),
      node(
        "div",
        { class: "modes" },
        node("div", { class: "segments", role: "group", "aria-label": "Arrangement" }, ...this.modeButtons),
        this.eyeButton,
        this.moreButton,
      ),
      node(
        "div",
        { class: "extras" },
        this.opacity.root,
        node(
          "div",
          { class: "cluster" },
          iconButton("minus", "Zoom out (−)", () => this.zoomBy(1 / 1.5)),
          this.zoomText,
          iconButton("plus", "Zoom in (+)", () => this.zoomBy(1.5)),
          iconButton("fit", "Fit (0)", () => this.fit()),
        ),
        node(
          "div",
          { class: "cluster" },
          this.safeButton,
          iconButton("link", "Copy the link to this view", () => this.copyLink()),
          iconButton("download", "Save the comparison as one PNG", () => this.saveAll()),
          this.railButton,
          this.screenButton,
          iconButton("help", "Keys (?)", () => this.help.showModal()),
        ),
      ),
    );
    this.grid = node("div", { class: "grid" });
    this.scale = node("div", { class: "scale" });
    this.legend = node("div", { class: "legend", role: "group", "aria-label": "Classes" });
    this.legendHead = node(
      "div",
      { class: "head" },
      node("span", { class: "title" }, "Classes"),
      textButton("All", "Show every class (A)", () => this.showClasses(() => true)),
      textButton("None", "Hide every class", () => this.showClasses(() => false)),
    );
    this.probe = node("div", { class: "probe", role: "region", "aria-label": "Reading under the pointer" });
    this.rail = node("div", { class: "rail" }, this.probe, this.scale);
    const classes = node("div", { class: "classes" }, this.legendHead, this.legend, this.certainty.root);
    this.hint = node("div", { class: "hint", "aria-hidden": "true" });
    this.help = node(
      "dialog",
      { class: "help", "aria-label": "Keys" },
      node(
        "div",
        { class: "head" },
        node("span", { class: "title" }, "Keys"),
        iconButton("close", "Close", () => this.help.close()),
      ),
      node("dl", {}, ...KEYS.flatMap(([key, what]) => [node("dt", {}, key), node("dd", {}, what)])),
    );
    this.help.addEventListener("click", (event) => event.target === this.help && this.help.close());
    this.answer = node("p", { class: "answer", role: "status" });
    this.notice = node("div", { class: "notice", role: "status", hidden: "" });
    this.root = node(
      "div",
      { class: "viewer", tabindex: "0", "aria-label": "Comparison of segmentations; press ? for keys" },
      this.notice,
      this.answer,
      this.bar,
      node("div", { class: "body" }, node("div", { class: "stage" }, this.grid, this.hint), this.rail, classes),
      this.help,
    );
    element.append(this.root);

    this.abort = new AbortController();
    const { signal } = this.abort;
    this.root.addEventListener("keydown", (event) => this.onKey(event), { signal });
    this.root.addEventListener("keyup", (event) => event.key === " " && this.peekAt(false), { signal });
    this.root.addEventListener("pointerenter", () => (this.inside = true), { signal });
    this.root.addEventListener("pointerleave", () => (this.inside = false), { signal });
    // Keys work as soon as the pointer is over the viewer; nobody should have to guess that it needs a click first.
    document.addEventListener(
      "keydown",
      (event) => {
        if (this.inside && !this.root.contains(event.composedPath()[0]) && !isEditable(event)) this.onKey(event);
      },
      { signal },
    );
    document.addEventListener("keyup", (event) => event.key === " " && this.peekAt(false), { signal });
    document.addEventListener("fullscreenchange", () => this.layOut(), { signal });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.refresh(), { signal });
    window.addEventListener("resize", () => this.layOut(), { signal });
    this.observer = new ResizeObserver(() => this.layOut());
    this.observer.observe(this.root);
  }

  destroy() {
    this.abort.abort();
    this.observer.disconnect();
    cancelAnimationFrame(this.frame);
    clearInterval(this.blinking);
    clearTimeout(this.addressTimer);
    this.root.remove();
  }

  // ---- data ----------------------------------------------------------------------------------------------------

  /** Show another state of the page. Zoom and settings stay; of the same photo the held pixel too. */
  async update(bundle) {
    const turn = ++this.turn;
    this.root.setAttribute("aria-busy", "true");
    const known = new Map(this.subjects.map((subject) => [subject.key, subject]));
    const samePhoto = this.bundle?.photo.digest === bundle.photo.digest && this.bundle?.width === bundle.width;
    const photo = samePhoto ? this.photo : await picture(bundle.photo.image);
    const subjects = [{ key: "photo", title: "Photo", kind: "photo", colour: "var(--quiet)", note: bundle.photo.name, overlays: new Map() }];
    if (bundle.truth) {
      subjects.push(
        await this.subject(known, {
          key: "truth",
          title: "Ground truth",
          kind: "truth",
          colour: "var(--text)",
          ...bundle.truth,
        }),
      );
    }
    for (const method of bundle.methods) subjects.push(await this.subject(known, { kind: "method", ...method }));
    const differing = bundle.disagreement ? (await plane(bundle.disagreement)).data : null;
    if (turn !== this.turn) return; // a newer bundle overtook this one
    if (this.bundle && !samePhoto) this.pinned = this.pointer = null; // zoom stays, a pixel is another one
    Object.assign(this, { bundle, photo, subjects, differing });
    this.confirmAddress();
    this.answer.textContent = bundle.answer ?? "";
    const s = this.settings;
    for (const name of ["layer", "leftLayer", "rightLayer"]) {
      const lost =
        (s[name] === "error" && !bundle.truth) ||
        (["disagreement", "translated"].includes(s[name]) && !this.offers(s[name]) && !bundle.waiting.length);
      if (lost) s[name] = name === "layer" ? "classes" : null;
    }
    this.hidden = new Set(bundle.classes.flatMap((c, i) => (s.hiddenNames.has(c.name) ? [i] : [])));
    this.buildLegend();
    this.buildPanes();
    this.refresh();
    this.root.removeAttribute("aria-busy");
    this.writeAddress(); // the page may have written its own part of the address and dropped this one
  }

  /** Decode a subject's planes, or keep the decoded ones where the same subject was there before. */
  async subject(known, source) {
    const before = known.get(source.key);
    if (before && ["labels", "error", "translated"].every((name) => before.source[name] === source[name])) {
      return Object.assign(before, { title: source.title, note: source.note, colour: source.colour, source });
    }
    const names = ["labels", "entropy", "confidence", "candidates", "candidateShares", "error"].filter(
      (name) => source[name],
    );
    const planes = await Promise.all(names.map((name) => plane(source[name])));
    const decoded = Object.fromEntries(names.map((name, i) => [name, planes[i].data]));
    const columns = names.includes("candidates") ? planes[names.indexOf("candidates")].width : 0;
    return {
      key: source.key,
      title: source.title,
      kind: source.kind,
      note: source.note,
      colour: source.colour,
      source,
      ...decoded,
      translated: source.translated ? await picture(source.translated) : null,
      columns,
      stride: source.stride,
      overlays: new Map(),
    };
  }

  // ---- panes ---------------------------------------------------------------------------------------------------

  buildPanes() {
    const mode = this.mode();
    const one = mode === "swipe" || mode === "blink";
    const focus = this.focused();
    const all = this.subjects.map((subject) => subject.key);
    const wanted = one ? [mode] : mode === "focus" ? [focus, ...all.filter((key) => key !== focus)] : all;
    const empty = one ? [] : [...this.bundle.waiting.map((w) => ({ ...w, waiting: true })), ...this.bundle.failed];
    const before = new Map(this.panes.map((pane) => [pane.key, pane]));
    this.panes = wanted.map((key) => {
      const pane = before.get(key) ?? this.buildPane(key);
      pane.root.classList.toggle("large", mode === "focus" && key === focus);
      pane.root.classList.toggle("small", mode === "focus" && key !== focus);
      this.describe(pane);
      return pane;
    });
    const placeholders = empty.map((method) =>
      node(
        "figure",
        { class: `pane ${method.waiting ? "waiting" : "failed"}${mode === "focus" ? " small" : ""}` },
        node(
          "figcaption",
          {},
          dot(method.colour),
          node("span", { class: "title" }, method.title),
          node("span", { class: "note" }, method.note),
        ),
        node(
          "div",
          { class: "canvas", role: "status" },
          node("span", {}, method.waiting ? "Segmenting the photo …" : method.reason),
        ),
      ),
    );
    const children = [...this.panes.map((pane) => pane.root), ...placeholders];
    // Panes that stay are left in place: moving a canvas in the document would flicker.
    [...this.grid.children].forEach((child) => children.includes(child) || child.remove());
    children.forEach(
      (child, i) => this.grid.children[i] === child || this.grid.insertBefore(child, this.grid.children[i] ?? null),
    );
    clearInterval(this.blinking);
    if (mode === "blink" && !this.paused) this.blinking = setInterval(() => this.blink(), 1000 * BLINK_SECONDS);
    this.layOut();
  }

  /** How the panes stand: as chosen; until then a narrow screen swipes and a wide one shows all. */
  mode() {
    return this.settings.mode ?? (this.root.clientWidth < 560 ? "swipe" : "grid");
  }

  /** Key of the large pane: as chosen, else the last method. */
  focused() {
    return this.find(this.settings.focus) ? this.settings.focus : this.subjects.at(-1).key;
  }

  /** Show the other of the two. */
  blink() {
    this.blinked = this.blinked === "left" ? "right" : "left";
    this.drawNow();
  }

  /** Stop or go on blinking. */
  pause() {
    this.paused = !this.paused;
    this.buildPanes();
  }

  buildPane(key) {
    const canvas = node("canvas", { role: "img" });
    const badge = node("div", { class: "badge", hidden: "" });
    const pane = {
      key,
      canvas,
      badge,
      caption: node("figcaption"),
      frame: node("div", { class: "canvas" }, canvas, badge),
    };
    if (key === "swipe") {
      pane.handle = node("div", {
        class: "handle",
        role: "slider",
        tabindex: "0",
        "aria-label": "Swipe position",
        "aria-valuemin": "0",
        "aria-valuemax": "100",
      });
      pane.handle.addEventListener("keydown", (event) => {
        const step = { ArrowLeft: -0.02, ArrowRight: 0.02, Home: -1, End: 1 }[event.key];
        if (step) this.set({ split: clamp(this.settings.split + step, 0, 1) });
        if (step) (event.preventDefault(), event.stopPropagation());
      });
      pane.frame.append(pane.handle);
    }
    pane.root = node("figure", { class: "pane", "data-key": key }, pane.caption, pane.frame);
    this.listen(pane);
    return pane;
  }

  /** Write a pane's caption and text alternative. */
  describe(pane) {
    if (pane.key === "swipe" || pane.key === "blink") return this.describeTwo(pane);
    const subject = this.find(pane.key);
    const { source } = subject;
    const figures = [];
    if (subject.kind === "method") {
      if (source.meanIou != null)
        figures.push([
          `IoU ${(100 * source.meanIou).toFixed(1)}`,
          "Mean IoU of this image over the classes in it, not the data set's mIoU",
        ]);
      if (source.meanEntropy != null)
        figures.push([`entropy ${source.meanEntropy.toFixed(2)}`, "Mean entropy: 0 certain, 1 undecided"]);
    }
    const large = pane.root.classList.contains("large");
    pane.caption.replaceChildren(
      dot(subject.colour),
      node(
        "button",
        {
          type: "button",
          class: "title",
          title: large ? "Show all (G)" : [`Show ${subject.title} large`, source?.idea].filter(Boolean).join(": "),
          onclick: () => this.set(large ? { mode: "grid" } : { mode: "focus", focus: subject.key }),
        },
        subject.title,
      ),
      ...(this.options.cards && subject.kind === "method" ? [this.cardLink(subject)] : []),
      node("span", { class: "note", title: subject.note ?? "" }, subject.note ?? ""),
      ...figures.map(([text, title]) => node("span", { class: "figure", title }, text)),
      iconButton("download", `Save ${subject.title} as PNG`, () => this.save(subject)),
    );
    const shares = (source?.shares ?? [])
      .map((share, i) => [share, this.bundle.classes[i].name])
      .sort((a, b) => b[0] - a[0])
      .slice(0, 4);
    const parts = shares
      .filter(([share]) => share > 0.005)
      .map(([share, name]) => `${name} ${Math.round(100 * share)} %`);
    pane.canvas.setAttribute("aria-label", [subject.title, ...parts].join(", "));
  }

  /** The way to a method's card; in a tab of its own, because an own photo would be lost with this page. */
  cardLink({ key, title, source }) {
    return node(
      "a",
      {
        class: "card",
        href: this.options.cards + encodeURIComponent(key),
        target: "_blank",
        title: `${source.idea ?? ""} More on the card.`.trim(),
        "aria-label": `Card of ${title}`,
      },
      "i",
    );
  }

  /** Caption of the pane that shows two subjects: which, with which layer, on either side. */
  describeTwo(pane) {
    const choose = (side) => {
      const where = side === "left" ? "Left" : "Right";
      const select = (label, value, choices, onchange) => {
        const made = node(
          "select",
          { "aria-label": label, onchange: () => onchange(made.value) },
          ...choices.map(([key, title]) => node("option", { value: key, ...(key === value && { selected: "" }) }, title)),
        );
        return made;
      };
      return node(
        "div",
        { class: "side" },
        select(`${where} side`, this.side(side), this.subjects.map((subject) => [subject.key, subject.title]), (key) =>
          this.set({ [side]: key }),
        ),
        select(
          `${where} layer`,
          this.settings[`${side}Layer`] ?? "",
          [["", "same layer"], ...LAYERS.filter(([layer]) => this.offers(layer))],
          (layer) => this.set({ [`${side}Layer`]: layer || null }),
        ),
      );
    };
    const middle =
      pane.key === "swipe"
        ? node("span", { class: "note" }, "drag the line")
        : iconButton(this.paused ? "play" : "pause", this.paused ? "Go on blinking" : "Pause", () => this.pause());
    pane.caption.replaceChildren(choose("left"), middle, choose("right"));
    pane.canvas.setAttribute(
      "aria-label",
      pane.key === "swipe" ? "Two panes with a movable line between them" : "Two panes in turn",
    );
  }

  /** Whether there is anything to show in a layer. */
  offers(layer) {
    if (layer === "translated") return this.subjects.some((subject) => subject.translated);
    return layer === "error" ? !!this.bundle.truth : layer === "disagreement" ? !!this.differing : true;
  }

  /** Why a method has nothing to show in a layer; null where it has. */
  absence(subject, layer) {
    if (subject?.kind !== "method" || subject[layer]) return null;
    if (layer === "translated") return "No translation: this checkpoint has no generator";
    if (layer === "entropy" || layer === "confidence") return `No ${layer}: of these predictions only the labels are known`;
    return layer === "error" && this.bundle.truth ? "No errors: its classes are not those of the ground truth" : null;
  }

  find(key) {
    return this.subjects.find((subject) => subject.key === key);
  }

  /** What is on a side of the swipe: as chosen, else the last method and what it is compared with, else photo and truth. */
  side(name) {
    const chosen = this.settings[name];
    if (this.find(chosen)) return chosen;
    const methods = this.subjects.filter((subject) => subject.kind === "method");
    if (name === "right") return this.subjects.at(-1).key;
    const baseline = this.find(this.side("right"))?.source?.baseline;
    return this.find(baseline) ? baseline : methods.length > 1 ? methods[0].key : "photo";
  }

  /** Make the panes as large as they can be while all of them stay on the screen, but on a wide one never tiny. */
  layOut() {
    if (!this.bundle) return;
    const full = this.isFullScreen();
    const width = this.root.clientWidth;
    const narrow = width < 560;
    const before = this.root.dataset.mode;
    this.root.classList.toggle("wide", width >= 960);
    this.root.classList.toggle("railed", this.settings.rail);
    this.root.classList.toggle("narrow", narrow);
    this.root.classList.toggle("full", full);
    this.root.dataset.mode = this.mode();
    if (before && before !== this.root.dataset.mode) return this.buildPanes(); // the screen was turned
    const gap = narrow ? 6 : 10;
    this.root.style.removeProperty("--rail");
    const found = this.root.dataset.mode === "focus" ? this.measureFocus(gap) : this.measureGrid(gap);
    this.grid.style.setProperty("--columns", found.columns);
    this.grid.style.setProperty("--gap", `${gap}px`);
    this.grid.style.setProperty("--picture", `${Math.floor(found.tall * (this.bundle.width / this.bundle.height))}px`);
    this.grid.style.setProperty("--tall", `${Math.floor(found.tall)}px`);
    this.grid.style.setProperty("--thumb", `${Math.floor(found.thumb ?? 0)}px`);
    this.grid.style.setProperty("--short", `${Math.floor(found.short ?? 0)}px`);
    // What upright photos leave of the width goes to the rail.
    const used = found.columns * Math.floor(found.tall * (this.bundle.width / this.bundle.height) + gap) - gap;
    const left = this.root.dataset.mode === "grid" ? this.grid.clientWidth - used : 0;
    if (left > 24) this.root.style.setProperty("--rail", `${RAIL + Math.min(left, RAIL)}px`);
    const density = Math.min(3, window.devicePixelRatio || 1);
    for (const pane of this.panes) {
      const { clientWidth, clientHeight } = pane.frame;
      const [w, h] = [Math.max(1, Math.round(clientWidth * density)), Math.max(1, Math.round(clientHeight * density))];
      if (pane.canvas.width !== w || pane.canvas.height !== h) [pane.canvas.width, pane.canvas.height] = [w, h];
    }
    this.draw();
  }

  /** Height in CSS pixels from the top of the panes to the lower edge of the screen, were the page not scrolled. */
  heightLeft() {
    let top = this.grid.getBoundingClientRect().top;
    if (this.isFullScreen()) return this.root.clientHeight - (top + this.root.scrollTop) - 24;
    for (let at = this.grid; at; at = at.parentElement ?? at.getRootNode().host) top += at.scrollTop;
    return Math.max(380, window.innerHeight - top - 16);
  }

  measureGrid(gap) {
    const count = Math.max(1, this.grid.childElementCount);
    const [room, height, ratio] = [this.grid.clientWidth, this.heightLeft(), this.bundle.height / this.bundle.width];
    const narrow = this.root.classList.contains("narrow");
    const least = Math.min(this.root.classList.contains("wide") ? WIDE_PANE : 0, room);
    // A phone shows three and more in pairs, small but next to each other; there is the zoom.
    const [fewest, most] = narrow ? [count > 2 ? 2 : 1, 2] : [1, 6];
    let best = { area: -1 };
    for (let columns = fewest; columns <= Math.min(count, most); columns++) {
      const rows = Math.ceil(count / columns);
      const cell = (room - gap * (columns - 1)) / columns;
      if (cell < least && columns > fewest) break;
      const fitting = (height - rows * (CAPTION + gap)) / rows;
      const tall = Math.min(cell * ratio, Math.max(fitting, least * ratio, 40));
      const area = (tall * tall) / ratio;
      // Of nearly equal sizes the one with more columns wins: less empty ground, and everything is nearer.
      if (area > best.area * 0.85) best = { area: Math.max(area, best.area), columns, tall, cell, fitting };
    }
    // Upright photos: if the page must be scrolled anyway, the panes take the whole width.
    return best.tall > best.fitting ? { ...best, tall: best.cell * ratio } : best;
  }

  measureFocus(gap) {
    const [room, ratio] = [this.grid.clientWidth, this.bundle.height / this.bundle.width];
    const others = Math.max(1, this.grid.childElementCount - 1);
    const most = this.root.classList.contains("narrow") ? 3 : 12; // of the small ones in a row
    const columns = Math.min(others, most);
    const thumb = Math.min((room - gap * (columns - 1)) / columns, 190);
    const short = thumb * ratio;
    const tall = Math.min(room * ratio, this.heightLeft() - short - 2 * CAPTION - 2 * gap);
    return { columns: 1, tall: Math.max(tall, 160), thumb, short };
  }

  // ---- address -------------------------------------------------------------------------------------------------

  /** Take the view that the address names into the settings, and note in `asked` what only the bundle can confirm. */
  readAddress() {
    const named = new URLSearchParams(location.search);
    const { settings: s, asked } = this;
    const numbers = (name) => (named.get(name) ?? "").split(",").map(Number);
    for (const name of ["layer", "leftLayer", "rightLayer"]) {
      const layer = named.get(name);
      if (!layer) continue;
      if (LAYERS.some(([known]) => known === layer)) (asked.layers.push(layer), (s[name] = layer));
      else asked.unknown.push(`layer “${layer}”`);
    }
    const mode = named.get("mode");
    if (MODES.some(([known]) => known === mode)) s.mode = mode;
    else if (mode) asked.unknown.push(`arrangement “${mode}”`);
    for (const name of ["focus", "left", "right"]) {
      if (named.has(name)) (asked.keys.push(named.get(name)), (s[name] = named.get(name)));
    }
    for (const [name, low, high] of [
      ["zoom", 1, MAX_ZOOM],
      ["split", 0, 1],
      ["opacity", 0, 1],
      ["certainty", 0, 1],
    ]) {
      if (named.has(name) && Number.isFinite(numbers(name)[0])) s[name] = clamp(numbers(name)[0], low, high);
    }
    if (named.has("palette")) s.safe = named.get("palette") === "safe";
    asked.hidden = named.getAll("hide");
    if (asked.hidden.length) s.hiddenNames = new Set(asked.hidden);
    const [centre, pixel] = [numbers("at"), numbers("pixel")];
    if (centre.length === 2 && centre.every(Number.isFinite)) s.centre = centre.map((v) => clamp(v, 0, 1));
    if (pixel.length === 2 && pixel.every((v) => Number.isInteger(v) && v >= 0)) asked.pixel = pixel;
  }

  /** Say what of an address is not here; a method may still be on its way. */
  confirmAddress() {
    const { bundle, asked } = this;
    const missing = [...asked.unknown];
    missing.push(...asked.hidden.filter((name) => !bundle.classes.some((c) => c.name === name)).map((name) => `class “${name}”`));
    asked.unknown = asked.hidden = [];
    if (asked.layers.includes("error") && !bundle.truth && !bundle.waiting.length)
      missing.push("the errors, which need a ground truth");
    if (asked.layers.includes("translated") && !bundle.waiting.length && !this.offers("translated"))
      missing.push("the translation, which needs a run of CyCADA with its generator");
    if (!bundle.waiting.length) asked.layers = [];
    if (asked.pixel) {
      const inside = asked.pixel[0] < bundle.width && asked.pixel[1] < bundle.height;
      if (inside) this.pinned = asked.pixel;
      else missing.push(`pixel ${asked.pixel}, which lies outside this photo`);
      asked.pixel = null;
    }
    if (!bundle.waiting.length) {
      const gone = asked.keys.filter((key) => !this.find(key));
      missing.push(...gone.map((key) => `“${key}”`));
      for (const name of ["focus", "left", "right"])
        if (gone.includes(this.settings[name])) this.settings[name] = null;
      asked.keys = [];
    }
    if (missing.length) {
      const [named, said] = [new Intl.ListFormat("en-GB").format(missing), missing.length > 1 ? "they are" : "it is"];
      this.note(`The address names ${named}; ${said} not shown here.`);
    }
  }

  /** Write the view into the address, so that it can be shared; what is as it always is is left out. */
  writeAddress() {
    if (!/^(https?|file):$/.test(location.protocol)) return; // a preview in a frame has no address of its own
    clearTimeout(this.addressTimer);
    this.addressTimer = setTimeout(() => {
      const s = this.settings;
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
        pixel: this.pinned?.join(","),
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
    }, 200);
  }

  /** A sentence above the panes that stays until it is closed. */
  note(text) {
    this.notice.replaceChildren(
      node("span", {}, text),
      iconButton("close", "Close this note", () => (this.notice.hidden = true)),
    );
    this.notice.hidden = false;
  }

  // ---- settings ------------------------------------------------------------------------------------------------

  /** Change settings and redraw what depends on them. */
  set(changes) {
    Object.assign(this.settings, changes);
    if (["mode", "focus", "left", "right"].some((name) => name in changes)) {
      delete this.root.dataset.mode;
      this.buildPanes();
    }
    if ("rail" in changes) this.layOut();
    this.refresh();
  }

  /** Turn to a mode, or from it back to all side by side. */
  toggleMode(mode) {
    this.set({ mode: this.mode() === mode ? "grid" : mode });
  }

  /** One large: turn to the subject so many places on. Returns true: the key has been used. */
  focusNext(places) {
    const keys = this.subjects.map((subject) => subject.key);
    this.set({ focus: keys.at((keys.indexOf(this.focused()) + places) % keys.length) });
    return true;
  }

  /** Hide the overlay for as long as a key or button is held. Returns true: the key has been used. */
  peekAt(held) {
    this.peek = held;
    this.draw();
    return true;
  }

  /** Switch the overlay off or on. */
  hide(off) {
    this.off = off;
    this.draw();
  }

  showClasses(test) {
    this.hidden = new Set(this.bundle.classes.flatMap((c, i) => (test(i) ? [] : [i])));
    this.settings.hiddenNames = new Set([...this.hidden].map((i) => this.bundle.classes[i].name));
    this.refresh();
  }

  /** Bring controls, colours and canvases in line with the settings. */
  refresh() {
    if (!this.bundle) return;
    const s = this.settings;
    for (const button of this.layerButtons) {
      const layer = button.dataset.layer;
      button.setAttribute("aria-pressed", String(layer === s.layer));
      button.disabled = !this.offers(layer);
      button.hidden = layer === "translated" && button.disabled; // few checkpoints have it
      const place = LAYERS.findIndex(([name]) => name === layer);
      const missing = { error: "Errors need a ground truth", disagreement: "Disagreement needs two methods" }[layer];
      button.title = button.disabled ? missing : `${LAYERS[place][2]} (${place + 1})`;
    }
    this.opacity.show(s.opacity, `${Math.round(100 * s.opacity)} %`);
    this.certainty.show(s.certainty, s.certainty ? `≥ ${Math.round(100 * s.certainty)} %` : "any");
    this.certainty.root.classList.toggle("idle", s.layer !== "classes");
    for (const button of this.modeButtons)
      button.setAttribute("aria-pressed", String(button.dataset.mode === this.mode()));
    this.railButton.setAttribute("aria-pressed", String(s.rail));
    this.safeButton.setAttribute("aria-pressed", String(s.safe));
    this.root.dataset.layer = s.layer;
    this.bundle.classes.forEach((c, i) => {
      const row = this.legend.children[i];
      row.querySelector(".swatch").style.background = s.safe ? c.safe : c.colour;
      row.querySelector(".toggle").setAttribute("aria-pressed", String(!this.hidden.has(i)));
    });
    this.buildScale();
    this.repaint();
    this.describeProbe();
    this.draw();
  }

  /** Every overlay is painted anew when it is next drawn. */
  repaint() {
    for (const { overlays } of this.subjects) for (const overlay of overlays.values()) overlay.stale = true;
  }

  // ---- legend and scales ---------------------------------------------------------------------------------------

  buildLegend() {
    const all = this.subjects.flatMap((subject) => (subject.source?.shares ? [subject.source.shares] : []));
    const rows = this.bundle.classes.map((c, i) => {
      const share = all.length ? all.reduce((sum, shares) => sum + shares[i], 0) / all.length : 0;
      const present = all.some((shares) => shares[i] > 0);
      const toggle = node(
        "button",
        {
          type: "button",
          class: "toggle",
          title: `Hide or show ${c.name}; with Alt: this one alone`,
          onclick: (event) => (event.altKey ? this.solo(i) : this.toggleClass(i)),
          ondblclick: () => this.solo(i),
        },
        node("span", { class: "swatch" }),
        node("span", { class: "name" }, c.name),
        node("span", { class: "share", title: "Share of the pixels, mean over the panes" }, share >= 0.0005 ? `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)} %` : "–"),
      );
      return node(
        "div",
        {
          class: present ? "entry" : "entry absent",
          "data-class": c.name,
          onpointerenter: () => this.emphasise(i),
          onpointerleave: () => this.emphasise(null),
        },
        toggle,
        textButton("only", `Show ${c.name} alone`, () => this.solo(i)),
      );
    });
    this.legend.replaceChildren(...rows);
  }

  toggleClass(i) {
    this.showClasses((j) => this.hidden.has(j) === (j === i));
  }

  /** Show one class alone; asked again, show all. */
  solo(i) {
    const alone = this.hidden.size === this.bundle.classes.length - 1 && !this.hidden.has(i);
    this.showClasses((j) => alone || j === i);
  }

  emphasise(i) {
    if (this.emphasis === i) return;
    this.emphasis = i;
    this.repaint();
    this.draw();
  }

  buildScale() {
    const { layer } = this.settings;
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

  // ---- colours -------------------------------------------------------------------------------------------------

  /** A subject's overlay in a layer, painted where it is stale; null where the bare photo is shown. */
  overlayOf(subject, layer) {
    if (layer === "photo" || layer === "translated" || (subject.kind === "photo" && !(layer === "disagreement" && this.differing))) return null;
    if (this.absence(subject, layer)) return null;
    let overlay = subject.overlays.get(layer);
    if (!overlay) {
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [this.bundle.width, this.bundle.height];
      overlay = { canvas, stale: true };
      subject.overlays.set(layer, overlay);
    }
    if (overlay.stale) this.paint(subject, layer, overlay.canvas);
    overlay.stale = false;
    return overlay.canvas;
  }

  /** Colour a subject's values for a layer; nothing is asked of the server. */
  paint(subject, layer, canvas) {
    const context = canvas.getContext("2d");
    const image = context.createImageData(canvas.width, canvas.height);
    const pixels = new Uint32Array(image.data.buffer);
    if (subject.kind === "photo") spread(pixels, this.differing, this.differenceTable());
    else if (layer === "entropy" && subject.entropy) spread(pixels, subject.entropy, HEAT);
    else if (layer === "confidence" && subject.confidence) spread(pixels, subject.confidence, HEAT);
    else if (layer === "error" && subject.error) spread(pixels, subject.error, errorTable(this.isDark()));
    else this.paintClasses(subject, layer, pixels);
    context.putImageData(image, 0, 0);
  }

  paintClasses(subject, layer, pixels) {
    spread(pixels, subject.labels, this.classTable());
    const limit = Math.round(255 * this.settings.certainty);
    if (layer === "classes" && limit && subject.confidence) {
      for (let i = 0; i < pixels.length; i++) if (subject.confidence[i] < limit) pixels[i] = 0;
    }
    if (layer === "disagreement" && this.differing) {
      const veil = veilColour(this.isDark());
      for (let i = 0; i < pixels.length; i++) if (!this.differing[i]) pixels[i] = veil;
    }
  }

  classTable() {
    const table = new Uint32Array(256); // 255 and unknown values stay transparent
    this.bundle.classes.forEach((c, i) => {
      if (this.hidden.has(i)) return;
      const [r, g, b] = rgb(this.settings.safe ? c.safe : c.colour);
      table[i] = pack(r, g, b, this.emphasis === null || this.emphasis === i ? 255 : 50);
    });
    return table;
  }

  differenceTable() {
    const table = HEAT.slice();
    table[0] = veilColour(this.isDark());
    return table;
  }

  isDark() {
    const [r, g, b] = rgb(getComputedStyle(this.root).backgroundColor);
    return r + g + b < 384;
  }

  // ---- drawing -------------------------------------------------------------------------------------------------

  draw() {
    this.writeAddress();
    if (!this.frame) this.frame = requestAnimationFrame(() => ((this.frame = 0), this.drawNow()));
  }

  drawNow() {
    if (!this.bundle) return;
    const s = this.settings;
    this.clampView();
    for (const pane of this.panes) {
      const context = pane.canvas.getContext("2d");
      context.setTransform(1, 0, 0, 1, 0, 0);
      context.clearRect(0, 0, pane.canvas.width, pane.canvas.height);
      if (pane.key === "swipe") this.drawSwipe(pane, context);
      else if (pane.key === "blink") this.drawSide(pane, context, this.blinked, 0, pane.canvas.width);
      else this.drawSubject(pane, context, this.find(pane.key), s.layer, 0, pane.canvas.width);
      this.drawCrosshair(pane, context);
      this.placeBadge(pane);
      pane.frame.style.touchAction = s.zoom > 1.001 || pane.key === "swipe" ? "none" : "pan-y";
    }
    this.zoomText.textContent = `${s.zoom < 9.95 ? Number(s.zoom.toFixed(1)) : Math.round(s.zoom)}×`;
    this.root.dataset.zoom = s.zoom.toFixed(3);
    this.root.dataset.blinked = this.blinked;
  }

  /** Draw what one side of a swipe or a blink shows. */
  drawSide(pane, context, side, from, to) {
    const layer = this.settings[`${side}Layer`] ?? this.settings.layer;
    this.drawSubject(pane, context, this.find(this.side(side)), layer, from, to);
  }

  drawSubject(pane, context, subject, layer, from, to) {
    const { scale, x, y } = this.transform(pane);
    const { width, height } = this.bundle;
    context.save();
    context.beginPath();
    context.rect(from, 0, to - from, pane.canvas.height);
    context.clip();
    context.setTransform(scale, 0, 0, scale, x, y);
    context.imageSmoothingEnabled = scale < 4; // beyond that the pixels themselves are of interest
    context.imageSmoothingQuality = "high";
    context.drawImage(this.groundOf(subject, layer), 0, 0, width, height);
    const overlay = subject && !this.peek && !this.off && this.overlayOf(subject, layer);
    if (overlay) {
      context.imageSmoothingEnabled = false; // classes are never mixed
      context.globalAlpha = this.settings.opacity;
      context.drawImage(overlay, 0, 0, width, height);
    }
    context.restore();
  }

  /** What lies under a subject's overlay: the photo, or its translation. */
  groundOf(subject, layer) {
    const bare = layer !== "translated" || this.peek || this.off;
    return (bare ? null : subject?.translated) ?? this.photo;
  }

  drawSwipe(pane, context) {
    const s = this.settings;
    const { scale, x } = this.transform(pane);
    const [left, right] = this.spanOf(pane, scale, x);
    const at = left + s.split * (right - left);
    this.drawSide(pane, context, "left", 0, at);
    this.drawSide(pane, context, "right", at, pane.canvas.width);
    pane.handle.style.left = `${(100 * at) / pane.canvas.width}%`;
    pane.handle.setAttribute("aria-valuenow", String(Math.round(100 * s.split)));
  }

  /** Left and right edge of the visible picture, in canvas pixels. */
  spanOf(pane, scale, x) {
    return [Math.max(0, x), Math.min(pane.canvas.width, x + scale * this.bundle.width)];
  }

  drawCrosshair(pane, context) {
    const at = this.pinned ?? this.pointer;
    if (!at) return;
    const { scale, x, y } = this.transform(pane);
    const density = pane.canvas.width / pane.frame.clientWidth;
    const [px, py] = [x + (at[0] + 0.5) * scale, y + (at[1] + 0.5) * scale];
    for (const [colour, width] of [
      ["rgba(0,0,0,.65)", 3],
      ["#fff", 1.25],
    ]) {
      context.strokeStyle = colour;
      context.lineWidth = width * density;
      context.beginPath();
      for (const [dx, dy] of [
        [1, 0],
        [-1, 0],
        [0, 1],
        [0, -1],
      ]) {
        context.moveTo(px + dx * 4 * density, py + dy * 4 * density);
        context.lineTo(px + dx * 11 * density, py + dy * 11 * density);
      }
      if (this.pinned) context.rect(px - 2 * density, py - 2 * density, 4 * density, 4 * density);
      context.stroke();
    }
  }

  /** Scale and offset from image pixels to a pane's canvas pixels. */
  transform(pane) {
    const { width, height } = this.bundle;
    const [w, h] = [pane.canvas.width, pane.canvas.height];
    const { zoom, centre } = this.settings;
    const scale = Math.min(w / width, h / height) * zoom;
    return { scale, x: w / 2 - centre[0] * width * scale, y: h / 2 - centre[1] * height * scale };
  }

  /** Keep the picture in the panes: no wandering off, centred where it is smaller than its pane. */
  clampView() {
    const s = this.settings;
    const pane = this.panes[0];
    if (!pane) return;
    s.zoom = clamp(s.zoom, 1, MAX_ZOOM);
    const { scale } = this.transform(pane);
    const sides = [
      [pane.canvas.width, this.bundle.width],
      [pane.canvas.height, this.bundle.height],
    ];
    s.centre = s.centre.map((value, axis) => {
      const half = sides[axis][0] / (2 * scale * sides[axis][1]);
      return half >= 0.5 ? 0.5 : clamp(value, half, 1 - half);
    });
  }

  // ---- probe ---------------------------------------------------------------------------------------------------

  /** What a subject says at an image pixel: its class, and for methods the likeliest classes and the entropy. */
  readAt(subject, [x, y]) {
    const at = y * this.bundle.width + x;
    const label = subject.labels[at];
    if (!subject.candidates) return { label }; // of the ground truth, and where labels alone are known
    const column = Math.min(Math.floor(x / subject.stride), subject.columns - 1);
    const cell =
      3 *
      (Math.min(Math.floor(y / subject.stride), subject.candidates.length / 3 / subject.columns - 1) * subject.columns +
        column);
    const others = [0, 1, 2].map((i) => [subject.candidates[cell + i], subject.candidateShares[cell + i] / 255]);
    // Of large photos every second pixel's runners-up are kept; the class and its probability are exact everywhere.
    const ranked = [[label, subject.confidence[at] / 255], ...others.filter(([value]) => value !== label)].slice(0, 3);
    return { label, ranked, entropy: subject.entropy[at] / 255 };
  }

  /** The rail's reading: of the pixel under the pointer, or of the whole photo while there is none. */
  describeProbe() {
    const at = this.pinned ?? this.pointer;
    const rows = this.subjects
      .filter((subject) => subject.kind !== "photo")
      .map((subject) => {
        const { label, ranked, entropy } = at ? this.readAt(subject, at) : this.readWhole(subject);
        const candidates = (ranked ?? [[label, null]]).map(([value, share]) =>
          node(
            "div",
            { class: "candidate" },
            node("span", { class: "swatch", style: `background:${this.colourOf(value)}` }),
            node("span", { class: "name" }, this.nameOf(value)),
            ...(share === null
              ? []
              : [
                  node(
                    "span",
                    { class: "meter" },
                    node("span", { style: `width:${100 * share}%;background:${this.colourOf(value)}` }),
                  ),
                  node("span", { class: "share" }, percent(share)),
                ]),
          ),
        );
        return node(
          "div",
          { class: "row", "data-key": subject.key },
          node(
            "div",
            { class: "who" },
            dot(subject.colour),
            node("span", { class: "title" }, subject.title),
            ...(entropy === undefined
              ? []
              : [
                  node(
                    "span",
                    { class: "share", title: "Entropy: 0 certain, 1 undecided" },
                    `entropy ${entropy.toFixed(2)}`,
                  ),
                ]),
          ),
          ...candidates,
        );
      });
    const head = at
      ? ["Pixel", `${this.pinned ? "held at" : "at"} ${at[0]}, ${at[1]}`]
      : [
          "Whole photo",
          matchMedia("(hover: none)").matches ? "tap a pane to read a pixel" : "point at a pane to read a pixel",
        ];
    this.probe.replaceChildren(
      node(
        "div",
        { class: "head" },
        node("span", { class: "title" }, head[0]),
        node("span", { class: "where" }, head[1]),
      ),
      ...rows,
    );
    this.probe.setAttribute("aria-live", this.pinned ? "polite" : "off");
    const pointed =
      at && (this.find(this.over)?.labels ?? this.find("truth")?.labels)?.[at[1] * this.bundle.width + at[0]];
    [...this.legend.children].forEach((row, i) => row.classList.toggle("pointed", i === pointed));
  }

  /** What a subject says of the whole photo: its largest classes. */
  readWhole(subject) {
    const ranked = subject.source.shares
      .map((share, value) => [value, share])
      .sort((a, b) => b[1] - a[1])
      .slice(0, 3);
    return { ranked, entropy: subject.source.meanEntropy ?? undefined };
  }

  nameOf(value) {
    return value === NONE ? "unlabelled" : (this.bundle.classes[value]?.name ?? "unknown");
  }

  colourOf(value) {
    const c = this.bundle.classes[value];
    return c ? (this.settings.safe ? c.safe : c.colour) : "transparent";
  }

  /** The short reading in a pane's corner. */
  placeBadge(pane) {
    const at = this.pinned ?? this.pointer;
    if (pane.key === "blink") {
      pane.badge.hidden = false;
      const shown = this.find(this.side(this.blinked));
      return pane.badge.replaceChildren(dot(shown.colour), shown.title);
    }
    const subject = this.find(pane.key);
    const absent = pane.key === "swipe" ? null : this.absence(subject, this.settings.layer);
    pane.badge.hidden = !absent && (!at || !subject?.labels);
    if (pane.badge.hidden) return;
    if (absent) return pane.badge.replaceChildren(absent);
    const reading = this.readAt(subject, at);
    const name = this.nameOf(reading.label);
    const text = reading.ranked ? `${name} ${percent(reading.ranked[0][1])}` : name;
    const truth = this.find("truth");
    const expected = truth && subject.kind === "method" ? truth.labels[at[1] * this.bundle.width + at[0]] : NONE;
    const mark = expected === NONE ? "" : expected === reading.label ? " ✓" : " ✗";
    pane.badge.replaceChildren(
      node("span", { class: "swatch", style: `background:${this.colourOf(reading.label)}` }),
      text + mark,
    );
  }

  // ---- view ----------------------------------------------------------------------------------------------------

  fit() {
    Object.assign(this.settings, { zoom: 1, centre: [0.5, 0.5] });
    this.draw();
  }

  /** Zoom by a factor around `at`, an image position in [0,1]², or the pinned pixel, or the centre. */
  zoomBy(
    factor,
    at = this.pinned
      ? this.pinned.map((v, i) => (v + 0.5) / [this.bundle.width, this.bundle.height][i])
      : this.settings.centre,
  ) {
    const s = this.settings;
    const zoom = clamp(s.zoom * factor, 1, MAX_ZOOM);
    s.centre = s.centre.map((value, i) => at[i] + ((value - at[i]) * s.zoom) / zoom);
    s.zoom = zoom;
    this.draw();
  }

  /** Image position in [0,1]² under a pointer event, unclamped. */
  position(pane, event) {
    const box = pane.frame.getBoundingClientRect();
    const density = pane.canvas.width / box.width;
    const { scale, x, y } = this.transform(pane);
    return [
      ((event.clientX - box.left) * density - x) / (scale * this.bundle.width),
      ((event.clientY - box.top) * density - y) / (scale * this.bundle.height),
    ];
  }

  pixelAt([u, v]) {
    const [x, y] = [Math.floor(u * this.bundle.width), Math.floor(v * this.bundle.height)];
    return x >= 0 && y >= 0 && x < this.bundle.width && y < this.bundle.height ? [x, y] : null;
  }

  listen(pane) {
    const down = new Map(); // pointer id -> last [clientX, clientY]
    let moved = 0;
    let spread = 0;
    let lastTap = 0;
    let tapped = -1000; // time of the last double tap, which some browsers report as a double click too
    let sliding = false;
    const { frame } = pane;
    const { signal } = this.abort;
    const on = (type, handler, options = {}) => frame.addEventListener(type, handler, { signal, ...options });

    on(
      "wheel",
      (event) => {
        const s = this.settings;
        const out = event.deltaY > 0;
        const awake =
          event.ctrlKey || event.metaKey || this.isFullScreen() || this.root.matches(":focus-within") || s.zoom > 1;
        if (!awake) return this.say("Click, or hold Ctrl, to zoom with the wheel");
        if (out && s.zoom <= 1 && !event.ctrlKey) return; // nothing left to zoom out of: let the page scroll
        event.preventDefault();
        const step = event.deltaY * (event.deltaMode === 1 ? 16 : 1);
        this.zoomBy(Math.exp(-clamp(step, -120, 120) * (event.ctrlKey ? 0.01 : 0.003)), this.position(pane, event));
      },
      { passive: false },
    );

    on("pointerdown", (event) => {
      if (event.button > 0) return;
      this.root.focus({ preventScroll: true });
      down.set(event.pointerId, [event.clientX, event.clientY]);
      frame.setPointerCapture(event.pointerId);
      moved = 0;
      spread = 0;
      sliding = pane.key === "swipe" && (event.target === pane.handle || this.settings.zoom <= 1);
      if (event.pointerType === "mouse") event.preventDefault();
    });

    on("pointermove", (event) => {
      const last = down.get(event.pointerId);
      if (!last) {
        if (event.pointerType === "mouse" || event.pointerType === "pen") this.point(pane, event);
        return;
      }
      const [dx, dy] = [event.clientX - last[0], event.clientY - last[1]];
      moved += Math.abs(dx) + Math.abs(dy);
      down.set(event.pointerId, [event.clientX, event.clientY]);
      if (down.size === 2) {
        const [a, b] = [...down.values()];
        const distance = Math.hypot(a[0] - b[0], a[1] - b[1]);
        const middle = { clientX: (a[0] + b[0]) / 2, clientY: (a[1] + b[1]) / 2 };
        if (spread) this.zoomBy(distance / spread, this.position(pane, middle));
        spread = distance;
        this.pan(pane, dx / 2, dy / 2);
      } else if (sliding && moved > 2) {
        const box = frame.getBoundingClientRect();
        const density = pane.canvas.width / box.width;
        const { scale, x } = this.transform(pane);
        const [left, right] = this.spanOf(pane, scale, x);
        this.settings.split = clamp(((event.clientX - box.left) * density - left) / (right - left), 0, 1);
        this.draw();
      } else if (moved > 4) {
        this.pan(pane, dx, dy);
      }
    });

    const release = (event) => {
      if (!down.delete(event.pointerId)) return;
      if (event.type === "pointercancel" || moved > 4 || down.size) return;
      const touch = event.pointerType !== "mouse";
      if (touch && event.timeStamp - lastTap < 300) {
        tapped = event.timeStamp;
        this.zoomBy(2, this.position(pane, event));
      } else if (pane.root.classList.contains("small")) {
        this.set({ focus: pane.key });
      } else {
        const at = this.pixelAt(this.position(pane, event));
        this.over = pane.key;
        this.pinned = this.pinned && !touch ? null : at;
        this.pointer = at;
        this.describeProbe();
        this.draw();
      }
      lastTap = event.timeStamp;
    };
    on("pointerup", release);
    on("pointercancel", release);
    on("dblclick", (event) => {
      if (event.timeStamp - tapped < 600) return;
      this.pinned = null;
      this.zoomBy(event.shiftKey ? 0.5 : 2, this.position(pane, event));
    });
    on("pointerleave", () => {
      if (down.size) return;
      this.pointer = null;
      this.over = null;
      if (!this.pinned) this.describeProbe();
      this.draw();
    });
  }

  /** Release the held pixel. Returns true: the key has been used. */
  letGo() {
    this.pinned = null;
    this.describeProbe();
    this.draw();
    return true;
  }

  point(pane, event) {
    const at = this.pixelAt(this.position(pane, event));
    if (String(at) === String(this.pointer) && this.over === pane.key) return;
    this.pointer = at;
    this.over = pane.key;
    if (this.pinned) return;
    this.describeProbe();
    this.draw();
  }

  /** Move the view by CSS pixels of a pane. */
  pan(pane, dx, dy) {
    const { scale } = this.transform(pane);
    const density = pane.canvas.width / pane.frame.clientWidth;
    const [u, v] = this.settings.centre;
    this.settings.centre = [
      u - (dx * density) / (scale * this.bundle.width),
      v - (dy * density) / (scale * this.bundle.height),
    ];
    this.draw();
  }

  // ---- keys and the rest ---------------------------------------------------------------------------------------

  onKey(event) {
    if (isEditable(event) || event.ctrlKey || event.metaKey || event.altKey || this.help.open || !this.bundle) return;
    const s = this.settings;
    const onButton = event.composedPath()[0] instanceof HTMLButtonElement;
    const step = 0.12 / s.zoom;
    const move = (dx, dy) =>
      (s.zoom <= 1 && dx && this.mode() === "focus" && this.focusNext(dx)) ||
      s.zoom > 1 && ((s.centre = [s.centre[0] + dx * step, s.centre[1] + dy * step]), this.draw(), true);
    const actions = {
      "+": () => this.zoomBy(1.5),
      "=": () => this.zoomBy(1.5),
      "-": () => this.zoomBy(1 / 1.5),
      0: () => this.fit(),
      ArrowLeft: () => move(-1, 0),
      ArrowRight: () => move(1, 0),
      ArrowUp: () => move(0, -1),
      ArrowDown: () => move(0, 1),
      " ": () => !onButton && this.peekAt(true),
      h: () => this.hide(!this.off),
      "[": () => this.set({ opacity: clamp(s.opacity - 0.1, 0, 1) }),
      "]": () => this.set({ opacity: clamp(s.opacity + 0.1, 0, 1) }),
      g: () => this.set({ mode: "grid" }),
      o: () => this.toggleMode("focus"),
      s: () => this.toggleMode("swipe"),
      b: () => this.toggleMode("blink"),
      i: () => this.set({ rail: !s.rail }),
      p: () => this.set({ safe: !s.safe }),
      a: () => this.showClasses(() => true),
      f: () => this.fullScreen(),
      "?": () => this.help.showModal(),
      Escape: () => this.pinned !== null && this.letGo(),
    };
    LAYERS.forEach(([layer], i) => (actions[i + 1] = () => this.layerButtons[i].disabled || this.set({ layer })));
    const action = actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action || action() === false) return;
    event.preventDefault();
    event.stopPropagation();
  }

  isFullScreen() {
    return (this.root.getRootNode().fullscreenElement ?? document.fullscreenElement) === this.root;
  }

  fullScreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else this.root.requestFullscreen?.().catch(() => this.say("This browser does not allow full screen here"));
  }

  /** A short note over the panes. */
  say(text) {
    this.hint.textContent = text;
    this.hint.classList.add("shown");
    clearTimeout(this.hintTimer);
    this.hintTimer = setTimeout(() => this.hint.classList.remove("shown"), 1400);
  }

  /** One subject's picture at the photo's own size, as it looks now but whole. */
  wholePicture(subject) {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [this.bundle.width, this.bundle.height];
    const context = canvas.getContext("2d");
    context.drawImage(this.groundOf(subject, this.settings.layer), 0, 0, canvas.width, canvas.height);
    const overlay = this.off ? null : this.overlayOf(subject, this.settings.layer);
    if (overlay) {
      context.imageSmoothingEnabled = false;
      context.globalAlpha = this.settings.opacity;
      context.drawImage(overlay, 0, 0);
    }
    return canvas;
  }

  save(subject) {
    download(this.wholePicture(subject), `${subject.key}_${this.settings.layer}.png`);
  }

  /** Save all panes with their captions as one picture, fit for a slide. */
  saveAll() {
    const { width, height } = this.bundle;
    const columns = Math.ceil(Math.sqrt((this.subjects.length * height * 1.6) / width));
    const [gap, head] = [Math.round(width / 50), Math.round(width / 14)];
    const canvas = document.createElement("canvas");
    canvas.width = columns * (width + gap) + gap;
    canvas.height = Math.ceil(this.subjects.length / columns) * (height + head + gap) + gap;
    const context = canvas.getContext("2d");
    const style = getComputedStyle(this.root);
    context.fillStyle = style.backgroundColor;
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.textBaseline = "middle";
    this.subjects.forEach((subject, i) => {
      const [x, y] = [gap + (i % columns) * (width + gap), gap + Math.floor(i / columns) * (height + head + gap)];
      const iou = subject.source?.meanIou == null ? "" : `IoU ${(100 * subject.source.meanIou).toFixed(1)}`;
      context.fillStyle = style.color;
      context.font = `600 ${Math.round(head * 0.46)}px ${style.fontFamily}`;
      context.fillText(subject.title, x, y + head / 2, width * 0.72);
      context.textAlign = "right";
      context.font = `400 ${Math.round(head * 0.4)}px ${style.fontFamily}`;
      context.fillText(iou, x + width, y + head / 2);
      context.textAlign = "left";
      context.drawImage(this.wholePicture(subject), x, y + head);
    });
    download(canvas, `sim2street_${this.settings.layer}.png`);
  }

  async copyLink() {
    try {
      await new Promise((done) => setTimeout(done, 220)); // until the address says what is shown
      await navigator.clipboard.writeText(location.href);
      this.say("Link copied");
    } catch {
      this.say("This browser does not let a page copy; the link is in the address bar");
    }
  }
}

// ---- document -----------------------------------------------------------------------------------------------------

function node(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "style") made.style.cssText = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/** Hand a canvas to the person as a PNG file. */
function download(canvas, name) {
  canvas.toBlob((blob) => {
    const link = node("a", { href: URL.createObjectURL(blob), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }, "image/png");
}

function iconButton(icon, title, onclick) {
  const drawing = document.createElementNS(SVG, "svg");
  drawing.setAttribute("viewBox", "0 0 24 24");
  drawing.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[icon]);
  drawing.append(path);
  return node(
    "button",
    { type: "button", class: "icon", title, "aria-label": title, ...(onclick && { onclick }) },
    drawing,
  );
}

function textButton(text, title, onclick) {
  return node("button", { type: "button", class: "text", title, onclick }, text);
}

function dot(colour) {
  return node("span", { class: "dot", style: `background:${colour}` });
}

function slider(label, value, oninput, title = label) {
  const input = node("input", {
    type: "range",
    min: "0",
    max: "1",
    step: "0.01",
    value: String(value),
    "aria-label": label,
    oninput: () => oninput(Number(input.value)),
  });
  const output = node("output", {});
  const root = node("label", { class: "slider", title }, node("span", {}, label), input, output);
  return {
    root,
    show(now, text) {
      input.value = String(now);
      input.style.setProperty("--filled", `${100 * now}%`);
      output.textContent = text;
    },
  };
}

/** Call back with true while a button is pressed, by pointer or key, and with false after. */
function hold(button, change) {
  button.addEventListener("pointerdown", () => change(true));
  for (const type of ["pointerup", "pointerleave", "pointercancel", "blur", "keyup"])
    button.addEventListener(type, () => change(false));
  button.addEventListener("keydown", (event) => (event.key === "Enter" || event.key === " ") && change(true));
}

function isEditable(event) {
  const target = event.composedPath()[0];
  return (
    target.isContentEditable ||
    target.matches?.("textarea, select, input:not([type=range])") ||
    (target.matches?.("input") && event.key.startsWith("Arrow"))
  );
}

// ---- numbers and colours ------------------------------------------------------------------------------------------

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

// ---- decoding -----------------------------------------------------------------------------------------------------

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
